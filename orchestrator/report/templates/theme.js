"use strict";
// Figures come without colours of text and grid; these follow the reader's theme, and paper when printed.
const pageTheme = (() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const phone = matchMedia("(max-width: 640px)");
  const LIGHT = { ink: "#1b1d21", paper: "#fcfcfa", muted: "#8a8f97", grid: "#e3e3dc" };
  const DARK = { ink: "#e8e8e4", paper: "#15171a", muted: "#8a8f97", grid: "#2f343a" };
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

  // `axis`: colours of an axis -> what it looks like beyond its figure; `revision`: what a reader zoomed stays while it does.
  function draw(chart, figure, { colours = dark.matches ? DARK : LIGHT, width, revision = "keep", axis }) {
    const font = { color: colours.ink, family: "system-ui, sans-serif", size: 13 };
    // What a figure says instead where it has little room: shorter names beside its rows.
    const narrow = (!width && phone.matches && figure.layout.meta && figure.layout.meta.narrow) || {};
    const layout = {
      ...figure.layout,
      uirevision: revision,
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colours.muted, activecolor: colours.ink },
      font,
      hoverlabel: { ...figure.layout.hoverlabel, bgcolor: colours.paper, bordercolor: colours.ink, font },
      xaxis: { ...figure.layout.xaxis, ...narrow.xaxis, ...axis(colours) },
      yaxis: { ...figure.layout.yaxis, ...narrow.yaxis, ...axis(colours) },
      ...(width ? { width, autosize: false } : { autosize: true }),
    };
    const data = figure.data.map((trace) =>
      trace.meta && trace.meta.ink
        ? { ...trace, ...narrow.trace, marker: { ...trace.marker, color: colours.ink, line: { color: colours.paper, width: 1 } } }
        : { ...trace, ...narrow.trace },
    );
    return Plotly.react(chart, data, layout, config);
  }

  // One chart after the other, so that a page with many stays responsive while they appear; then in every theme.
  async function drawAll(charts, drawOne, printWidth) {
    for (const chart of charts) {
      await drawOne(chart);
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    document.documentElement.dataset.charts = "drawn";
    for (const query of [dark, phone]) query.addEventListener("change", () => charts.forEach((chart) => drawOne(chart)));
    addEventListener("beforeprint", () => charts.forEach((chart) => drawOne(chart, { colours: LIGHT, width: printWidth })));
    addEventListener("afterprint", () => charts.forEach((chart) => drawOne(chart)));
  }
  return { draw, drawAll };
})();
