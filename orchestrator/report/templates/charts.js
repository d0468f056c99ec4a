"use strict";
// Charts. Several figures in one place: the reader chooses with the buttons above the chart.
(async () => {
  const charts = [...document.querySelectorAll(".chart")];
  const figures = new Map();
  for (const chart of charts) figures.set(chart, await boardData.read(chart.nextElementSibling));
  const chosen = new Map(charts.map((chart) => [chart, 0]));
  const axis = ({ grid, ink }) => ({ gridcolor: grid, linecolor: grid, zerolinecolor: ink });

  function draw(chart, how = {}) {
    const choice = chosen.get(chart);
    return pageTheme.draw(chart, figures.get(chart)[choice], { ...how, axis, revision: `keep ${choice}` });
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
  await pageTheme.drawAll(charts, draw, 680);
  boardState.scroll();
})();
