"use strict";
// Charts. Several figures in one place: the reader chooses with the buttons above the chart.
(async () => {
  const charts = [...document.querySelectorAll(".chart")];
  const figures = new Map();
  for (const chart of charts) figures.set(chart, await boardData.read(chart.nextElementSibling));
  const chosen = new Map(charts.map((chart) => [chart, 0]));
  const axis = ({ grid, ink }) => ({ gridcolor: grid, linecolor: grid, zerolinecolor: ink });

  // Error bars of a figure, which a switch above it hides.
  const bars = new Map(charts.map((chart) => [chart, chart.parentElement.querySelector("button.bars")]));
  const shown = (button) => button.getAttribute("aria-pressed") === "true";
  function withoutBars(figure) {
    const hidden = { error_x: { visible: false }, error_y: { visible: false } };
    return { ...figure, data: figure.data.map((trace) => ({ ...trace, ...hidden })) };
  }

  async function draw(chart, how = {}) {
    const choice = chosen.get(chart);
    const [figure, button] = [figures.get(chart)[choice], bars.get(chart)];
    const drawn = button && !shown(button) ? withoutBars(figure) : figure;
    await pageTheme.draw(chart, drawn, { ...how, axis, revision: `keep ${choice}` });
    pageLegend.reach(chart);
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
  // The address says how a switch stands where that is not how it stood at first.
  bars.forEach((button, chart) => {
    if (!button) return;
    const [key, first] = [`bars.${chart.id}`, shown(button)];
    const restore = () => button.setAttribute("aria-pressed", String({ on: true, off: false }[boardState.get(key)[0]] ?? first));
    restore();
    button.addEventListener("click", () => {
      const now = !shown(button);
      button.setAttribute("aria-pressed", String(now));
      boardState.set(key, now === first ? [] : [now ? "on" : "off"]);
      draw(chart);
    });
    boardState.onChange(() => {
      restore();
      draw(chart);
    });
  });
  await pageTheme.drawAll(charts, draw, 680);
  boardState.scroll();
})();
