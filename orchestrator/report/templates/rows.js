"use strict";
// Rows of long tables: data with which DataTables makes the cells of one page at a time. Names become text, never HTML.
const boardRows = (() => {
  const [UP, DOWN, BEST, ASIDE] = [1, 2, 4, 8];
  const [LABEL, OF, VARIANT, KIND, SEEDS, FIRST] = [0, 1, 2, 3, 4, 5];
  const [PAGE, PRINTED] = [100, 300];
  const muted = (text) => Object.assign(document.createElement("span"), { textContent: text });
  const name = (row) => row[LABEL] + (row[OF] ? ` of ${row[OF]}` : "") + (row[VARIANT] ? `, ${row[VARIANT]}` : "");

  // As templates/table.html.j2 writes them.
  function fillName(cell, row) {
    cell.scope = "row";
    cell.append(row[LABEL]);
    if (row[OF]) cell.append(" ", muted("of"), ` ${row[OF]}`);
    if (row[VARIANT]) cell.append(muted(`, ${row[VARIANT]}`));
  }

  function fill(cell, [, text, flags = 0, more = "", partial = ""]) {
    if (!text) {
      cell.classList.add("empty");
      cell.title = more;
      cell.textContent = partial;
      return;
    }
    const [mean, spread] = text.split(" ± ");
    cell.append(mean);
    if (spread) cell.append(" ", Object.assign(document.createElement("i"), { textContent: `± ${spread}` }));
    if (more && flags & ASIDE) cell.title = `95 % ${more}`;
    else if (more) cell.append(Object.assign(document.createElement("small"), { textContent: ` ${more}` }));
    for (const [flag, kind] of [[UP, "up"], [DOWN, "down"], [BEST, "best"]]) if (flags & flag) cell.classList.add(kind);
  }

  // What a cell says, for the filter and for copies.
  function text(row, index) {
    if (index === 0) return name(row);
    if (index === 1) return row[SEEDS];
    const [, shown, flags = 0, more = "", partial = ""] = row[FIRST + index - 2];
    return shown ? shown + (more && !(flags & ASIDE) ? ` ${more}` : "") : partial;
  }

  // DataTables reads what it filters by as HTML.
  const escaped = (plain) => plain.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

  function columns(headers) {
    return headers.map((header, index) => ({
      data: null,
      cellType: index ? "td" : "th",
      className: [...header.classList].filter((kind) => ["name", "first"].includes(kind)).join(" "),
      type: index > 1 ? "num" : "string",
      render: (row, kind) => {
        if (kind === "sort" || kind === "type") return index > 1 ? row[FIRST + index - 2][0] : text(row, index);
        return kind === "display" ? "" : escaped(text(row, index));
      },
      createdCell: (cell, _value, row) => {
        if (index === 0) fillName(cell, row);
        else if (index === 1) cell.textContent = row[SEEDS];
        else fill(cell, row[FIRST + index - 2]);
      },
    }));
  }

  // Paper has no pages to turn, and a printer that lays out thousands of rows seems to hang: the first ones, in the order and
  // with the filter that the reader chose.
  let printing = false;
  function printMany(api) {
    let page = 0;
    const show = (many, start) => {
      printing = many;
      api.page.len(many ? PRINTED : PAGE).page(start).draw("page");
    };
    addEventListener("beforeprint", () => {
      if (!printing) page = api.page();
      show(true, 0);
    });
    addEventListener("afterprint", () => show(false, page));
  }

  return {
    printMany,
    language: {
      info: "Rows _START_ to _END_ of _TOTAL_",
      infoEmpty: "No rows",
      infoFiltered: "(_MAX_ without the filter)",
    },
    // What DataTables needs for a table whose rows are added as data; `headers` in the order of the columns.
    options: (headers) => ({
      columns: columns(headers),
      paging: true,
      info: true,
      pageLength: PAGE,
      infoCallback: (_settings, _start, end, _all, total, text) => (printing && end < total ? `${text}; ${document.documentElement.dataset.stem}-rows.csv has all` : text),
      createdRow: (line, row) => line.classList.add(...row[KIND].split(" ")),
    }),
    cell: (row, index) => ({ text: text(row, index), best: index > 1 && Boolean((row[FIRST + index - 2][2] || 0) & BEST) }),
  };
})();
