"use strict";
// A table as text, as the reader sees it: its order, its filter, its columns.
const boardCopy = (() => {
  const squeeze = (text) => text.replace(/\s+/g, " ").trim();

  // Cells as {text, best}; of each column its title, the heading over it and whether it is numeric.
  function content(api) {
    const shown = api.columns(":visible").indexes().toArray();
    const columns = shown.map((index) => {
      const header = api.column(index).header();
      return { title: header.dataset.short, group: header.dataset.over || "", full: header.dataset.full };
    });
    const rows = api.rows({ search: "applied", order: "applied" }).indexes().toArray();
    const long = "long" in api.table().node().dataset;
    const cells = rows.map((row) =>
      shown.map((index) => {
        // Cells of a long table that were not shown yet are data only.
        if (long) return boardRows.cell(api.row(row).data(), index);
        const cell = api.cell(row, index).node();
        return { text: squeeze(cell.textContent), best: cell.classList.contains("best") };
      }),
    );
    return { columns, cells };
  }

  const line = (cells) => `| ${cells.join(" | ")} |`;
  const markdownText = (text) => text.replace(/[\\`*_\[\]|#~<>&]/g, (sign) => `\\${sign}`);

  function markdown({ columns, cells }) {
    const bold = (cell) => (cell.best && cell.text ? `**${markdownText(cell.text)}**` : markdownText(cell.text));
    const rule = columns.map((_, index) => (index ? "--:" : ":--"));
    return [line(columns.map((c) => markdownText(c.full))), line(rule), ...cells.map((row) => line(row.map(bold)))].join("\n") + "\n";
  }

  function csv({ columns, cells }) {
    const quote = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    return [columns.map((c) => c.full), ...cells.map((row) => row.map((c) => c.text))].map((row) => row.map(quote).join(",")).join("\n") + "\n";
  }

  const LATEX = {
    "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}",
    "|": "\\textbar{}", "−": "$-$", "±": "$\\pm$", "–": "--", "…": "\\dots{}",
  };
  const latexText = (text) => text.replace(/[\\~^<>|−±–…&%$#_{}]/g, (sign) => LATEX[sign] || `\\${sign}`);

  // For booktabs: headings over their columns with a rule each, the numbers of a tie with the best in bold.
  function latex({ columns, cells }) {
    const groups = [];
    columns.forEach(({ group }) => {
      const last = groups[groups.length - 1];
      if (last && last.name === group) last.width += 1;
      else groups.push({ name: group, width: 1 });
    });
    const rules = [];
    let column = 1;
    groups.forEach(({ name, width }) => {
      if (name) rules.push(`\\cmidrule(lr){${column}-${column + width - 1}}`);
      column += width;
    });
    const heads = groups.map(({ name, width }) => `\\multicolumn{${width}}{c}{${latexText(name)}}`);
    const row = (texts) => `${texts.join(" & ")} \\\\`;
    const bold = (cell) => (cell.best && cell.text ? `\\textbf{${latexText(cell.text)}}` : latexText(cell.text));
    return [
      "% \\usepackage{booktabs}",
      `\\begin{tabular}{l${"r".repeat(columns.length - 1)}}`,
      "\\toprule",
      ...(rules.length ? [row(heads), rules.join(" ")] : []),
      row(columns.map((c) => latexText(c.title))),
      "\\midrule",
      // A row that begins with a bracket would be read as the length of the line break before it.
      ...cells.map((cellsOfRow) => row(cellsOfRow.map((cell, index) => (index ? bold(cell) : `{}${bold(cell)}`)))),
      "\\bottomrule",
      "\\end{tabular}",
    ].join("\n") + "\n";
  }

  // The newer interface is missing where a page is served without TLS; the older one works there.
  async function toClipboard(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  }

  const FORMATS = { Markdown: markdown, LaTeX: latex, CSV: csv };

  return {
    buttons: (say) =>
      Object.entries(FORMATS).map(([name, write]) => ({
        text: `Copy ${name}`,
        titleAttr: `Copy the table as ${name}, as it stands here`,
        action: async (_event, api, node) => {
          const done = await toClipboard(write(content(api)));
          say(done ? `Copied as ${name}` : `The browser did not let ${name} be copied`, node[0]);
        },
      })),
  };
})();
