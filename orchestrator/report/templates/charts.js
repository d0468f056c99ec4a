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

  function choose(chart, buttons, index) {
    chosen.set(chart, index);
    buttons.forEach((other, place) => other.setAttribute("aria-pressed", String(place === index)));
    chart.style.height = `${figures.get(chart)[index].layout.height}px`;
  }

  charts.forEach((chart) => {
    const buttons = [...chart.parentElement.querySelectorAll(".choices button")];
    buttons.forEach((button, index) =>
      button.addEventListener("click", () => {
        choose(chart, buttons, index);
        boardState.set(`show.${chart.id}`, index ? [button.textContent] : []);
        draw(chart);
      }),
    );
    const restore = () => {
      const wanted = boardState.get(`show.${chart.id}`)[0];
      choose(chart, buttons, Math.max(0, buttons.findIndex((button) => button.textContent === wanted)));
    };
    if (buttons.length) {
      restore();
      boardState.onChange(() => {
        restore();
        draw(chart);
      });
    }
  });

  // One chart after the other, so that a page with many stays responsive while they appear.
  function drawFrom(index) {
    if (index === charts.length) {
      document.documentElement.dataset.charts = "drawn";
      boardState.scroll();
      return;
    }
    draw(charts[index]).then(() => setTimeout(drawFrom, 0, index + 1));
  }
  drawFrom(0);
  dark.addEventListener("change", () => charts.forEach((chart) => draw(chart)));
  addEventListener("beforeprint", () => charts.forEach((chart) => draw(chart, LIGHT, 680)));
  addEventListener("afterprint", () => charts.forEach((chart) => draw(chart)));
})();
