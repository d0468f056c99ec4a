"use strict";
// Legends with the keyboard: one of their names can be reached with Tab, the arrows go on, Enter or Space shows or hides.
const pageLegend = (() => {
  const names = (chart) => [...chart.querySelectorAll(".legend .legendtoggle")];
  const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

  // plotly makes its legend anew when it likes; what it makes is marked each time.
  function mark(chart) {
    const state = reached.get(chart);
    const found = names(chart);
    state.place = Math.min(state.place, found.length - 1);
    found.forEach((name, index) => {
      const trace = name.closest(".traces");
      name.setAttribute("role", "button");
      name.setAttribute("tabindex", index === state.place ? 0 : -1);
      name.setAttribute("aria-label", trace.textContent);
      name.setAttribute("aria-pressed", String(parseFloat(trace.style.opacity || "1") === 1));
    });
    if (state.focused && document.activeElement === document.body) found[state.place]?.focus();
  }

  function press(chart, event) {
    const found = names(chart);
    const here = found.indexOf(event.target);
    if (here < 0) return;
    const state = reached.get(chart);
    if (event.key in STEPS) {
      state.place = (here + STEPS[event.key] + found.length) % found.length;
      mark(chart);
      found[state.place].focus();
    } else if (event.key === "Enter" || event.key === " ") {
      // What a click does, so that plotly keeps it through changes of theme and axes.
      for (const kind of ["mousedown", "mouseup"]) event.target.dispatchEvent(new MouseEvent(kind, { bubbles: true }));
    } else return;
    event.preventDefault();
  }

  const reached = new Map();
  return {
    reach: (chart) => {
      if (reached.has(chart)) return;
      const state = { place: 0, focused: false };
      reached.set(chart, state);
      chart.addEventListener("focusin", ({ target }) => {
        const here = names(chart).indexOf(target);
        state.focused = here >= 0;
        if (here >= 0) state.place = here;
      });
      // Leaving for something else is not the same as an item that plotly removed.
      chart.addEventListener("focusout", ({ relatedTarget, target }) => (state.focused = !relatedTarget && !target.isConnected));
      chart.addEventListener("keydown", (event) => press(chart, event));
      chart.on("plotly_afterplot", () => mark(chart));
      mark(chart);
    },
  };
})();
