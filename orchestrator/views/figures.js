"use strict";
(() => {
  // Figures come without colours of text and grid; these follow the reader's theme, and paper when printed.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const LIGHT = { ink: "#1b1d21", paper: "#fcfcfa", muted: "#8a8f97", line: "#e3e3dc" };
  const DARK = { ink: "#e8e8e4", paper: "#15171a", muted: "#8a8f97", line: "#2f343a" };
  const charts = [...document.querySelectorAll(".chart")];
  const figures = new Map(charts.map((chart) => [chart, JSON.parse(chart.nextElementSibling.textContent)]));
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

  function draw(chart, colours = dark.matches ? DARK : LIGHT) {
    const { data, layout } = figures.get(chart);
    const font = { color: colours.ink, family: "system-ui, sans-serif", size: 13 };
    const axis = { showline: true, mirror: true, linecolor: colours.line };
    return Plotly.react(
      chart,
      data,
      {
        ...layout,
        autosize: true,
        uirevision: "keep",
        font,
        modebar: { bgcolor: "rgba(0,0,0,0)", color: colours.muted, activecolor: colours.ink },
        hoverlabel: { ...layout.hoverlabel, bgcolor: colours.paper, bordercolor: colours.ink, font },
        xaxis: { ...layout.xaxis, ...axis },
        yaxis: { ...layout.yaxis, ...axis },
      },
      config,
    );
  }

  // One chart after the other, so that the page stays responsive while they appear.
  function drawFrom(index) {
    if (index === charts.length) {
      document.documentElement.dataset.charts = "drawn";
      return;
    }
    draw(charts[index]).then(() => setTimeout(drawFrom, 0, index + 1));
  }
  drawFrom(0);
  dark.addEventListener("change", () => charts.forEach((chart) => draw(chart)));
  addEventListener("beforeprint", () => charts.forEach((chart) => draw(chart, LIGHT)));
  addEventListener("afterprint", () => charts.forEach((chart) => draw(chart)));
})();
