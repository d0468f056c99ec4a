"use strict";
(() => {
  // Charts. Figures come without colours of text and grid; these follow the reader's theme, and paper when printed.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const LIGHT = { ink: "#1b1d21", paper: "#fcfcfa", muted: "#8a8f97", grid: "#e3e3dc" };
  const DARK = { ink: "#e8e8e4", paper: "#15171a", muted: "#8a8f97", grid: "#2f343a" };
  const charts = [...document.querySelectorAll(".chart")];
  // Several figures in one place: the reader chooses with the buttons above the chart.
  const figures = new Map(charts.map((chart) => [chart, JSON.parse(chart.nextElementSibling.textContent)]));
  const chosen = new Map(charts.map((chart) => [chart, 0]));
  const config = {
    responsive: true,
    displaylogo: false,
    // plotly offers to upload a chart unless told not to, and complains that MathJax is absent when a name has dollars.
    showSendToCloud: false,
    plotlyServerURL: "",
    typesetMath: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    toImageButtonOptions: { format: "svg" },
  };

  function themed(figure, choice, colours, width) {
    const axis = { gridcolor: colours.grid, linecolor: colours.grid, zerolinecolor: colours.ink };
    const layout = {
      ...figure.layout,
      uirevision: `keep ${choice}`,
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colours.muted, activecolor: colours.ink },
      font: { color: colours.ink, family: "system-ui, sans-serif", size: 13 },
      hoverlabel: {
        ...figure.layout.hoverlabel,
        bgcolor: colours.paper,
        bordercolor: colours.ink,
        font: { color: colours.ink, family: "system-ui, sans-serif", size: 13 },
      },
      xaxis: { ...figure.layout.xaxis, ...axis },
      yaxis: { ...figure.layout.yaxis, ...axis },
      ...(width ? { width, autosize: false } : { autosize: true }),
    };
    const data = figure.data.map((trace) =>
      trace.meta && trace.meta.ink
        ? { ...trace, marker: { ...trace.marker, color: colours.ink, line: { color: colours.paper, width: 1 } } }
        : trace,
    );
    return [data, layout];
  }

  function draw(chart, colours = dark.matches ? DARK : LIGHT, width = undefined) {
    return Plotly.react(chart, ...themed(figures.get(chart)[chosen.get(chart)], chosen.get(chart), colours, width), config);
  }

  charts.forEach((chart) => {
    const buttons = [...chart.parentElement.querySelectorAll(".choices button")];
    buttons.forEach((button, index) =>
      button.addEventListener("click", () => {
        chosen.set(chart, index);
        buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
        chart.style.height = `${figures.get(chart)[index].layout.height}px`;
        draw(chart);
      }),
    );
  });

  // One chart after the other, so that a page with many stays responsive while they appear.
  function drawFrom(index) {
    if (index === charts.length) {
      document.documentElement.dataset.charts = "drawn";
      return;
    }
    draw(charts[index]).then(() => setTimeout(drawFrom, 0, index + 1));
  }
  drawFrom(0);
  dark.addEventListener("change", () => charts.forEach((chart) => draw(chart)));
  addEventListener("beforeprint", () => charts.forEach((chart) => draw(chart, LIGHT, 680)));
  addEventListener("afterprint", () => charts.forEach((chart) => draw(chart)));

  // Tables: DataTables as itables ships it, a module that can only be imported from a URL.
  async function enhance() {
    const source = Uint8Array.from(atob(document.getElementById("tables-bundle").textContent), (c) => c.charCodeAt(0));
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const { ITable, set_or_remove_dark_class: followTheme } = await import(url);
    URL.revokeObjectURL(url);
    followTheme();
    document.querySelectorAll("table.board").forEach((table) => {
      const lower = [...table.tHead.rows[1].cells].flatMap((cell, index) => (cell.classList.contains("lower") ? [index + 2] : []));
      // DataTables takes the text of a button as HTML.
      const fullTitle = (api, index) => {
        const [text, header] = [document.createElement("span"), api.column(index).header()];
        text.textContent = header.dataset.full || header.textContent;
        return text.innerHTML;
      };
      new ITable(table, {
        paging: false,
        info: false,
        autoWidth: false,
        order: [],
        // The first click puts the best first; cells without a number carry an order that puts them last then.
        columnDefs: [
          { targets: [0, ...lower], orderSequence: ["asc", "desc", ""] },
          { targets: "_all", orderSequence: ["desc", "asc", ""] },
        ],
        layout: {
          topStart: {
            buttons: [
              { extend: "colvis", text: "Columns", background: false, columns: ":gt(0)", columnText: fullTitle },
              { extend: "copy", text: "Copy" },
              { extend: "csv", text: "CSV" },
            ],
          },
          topEnd: "search",
          bottomStart: null,
          bottomEnd: null,
        },
        language: { search: "Filter" },
      });
      // The box that scrolls is now DataTables' own; it must be reachable with the keyboard.
      const [outer, inner] = [table.closest(".scroll"), table.parentElement];
      for (const name of ["role", "aria-label", "tabindex"]) {
        inner.setAttribute(name, outer.getAttribute(name));
        outer.removeAttribute(name);
      }
    });
    document.documentElement.dataset.tables = "ready";
  }
  enhance();
})();
