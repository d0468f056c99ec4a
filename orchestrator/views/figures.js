"use strict";
(async () => {
  const charts = [...document.querySelectorAll(".chart")];
  const figures = new Map();
  for (const chart of charts) figures.set(chart, await boardData.read(chart.nextElementSibling));
  const axis = ({ grid }) => ({ showline: true, mirror: true, linecolor: grid, gridcolor: grid });
  await pageTheme.drawAll(charts, async (chart, how = {}) => {
    await pageTheme.draw(chart, figures.get(chart), { ...how, axis });
    pageLegend.reach(chart);
  });
})();
