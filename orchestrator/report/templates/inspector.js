"use strict";
// Rows in detail, made from data when a reader opens them. Names become text, never HTML.
const boardInspector = (() => {
  const make = (tag, set = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), set);
    element.append(...children);
    return element;
  };
  const scroll = (label, table) => {
    const box = make("div", { className: "scroll", tabIndex: 0 }, table);
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", label);
    return box;
  };
  const HEADS = ["seed", "status", "step", "seconds", "images", "peak memory", "attempts", "trial"];

  function seedLine(seed) {
    const trial = make("td", {}, make("code", {}, seed.id));
    if (seed.reason) trial.append(make("div", { className: "reason" }, seed.reason));
    if (seed.traceback) trial.append(make("pre", {}, seed.traceback));
    if (seed.log.length) trial.append(make("details", {}, make("summary", {}, "end of its log"), make("pre", {}, seed.log.join("\n"))));
    const cells = [seed.seed, seed.status, seed.step ?? "", seed.seconds, seed.images, seed.memory, seed.attempts || ""];
    const line = make("tr", {}, ...cells.map((text) => make("td", {}, String(text))), trial);
    line.cells[1].className = seed.status;
    return line;
  }

  function detail(row, key) {
    const words = make("dl", { className: "words" });
    const say = (what, ...value) => words.append(make("dt", {}, what), make("dd", {}, ...value));
    row.facts.forEach(([what, value]) => say(what, value));
    row.classes.forEach(([where, gains, losses]) =>
      say(`classes against zero-shot, ${where}`, `gain most: ${gains.join(", ") || "none"}`, make("br"), `lose most: ${losses.join(", ") || "none"}`),
    );
    if (row.command) say("run it again", make("code", {}, row.command));
    const heads = make("thead", {}, make("tr", {}, ...HEADS.map((head) => make("th", {}, head))));
    const seeds = make("table", { className: "list" }, heads, make("tbody", {}, ...row.seeds.map(seedLine)));
    const found = make("details", { className: "row" }, make("summary", {}, row.name), words, scroll(`Seeds of ${row.name}`, seeds));
    found.dataset.open = key;
    return found;
  }

  // Which rows: all of them, or of a long table those that stand on its page; `wanted` says so.
  const wanted = new Map();
  const read = new Map();

  async function show(inspector) {
    if (!read.has(inspector)) read.set(inspector, boardData.read(inspector.querySelector("script")));
    const rows = await read.get(inspector);
    const chosen = wanted.has(inspector) ? wanted.get(inspector)().map((index) => rows[index]) : rows;
    inspector.querySelector(".rows").replaceChildren(...chosen.map((row) => detail(row, `${inspector.dataset.open}/${row.name}`)));
    boardState.open(inspector.querySelector(".rows"));
  }

  const all = [...document.querySelectorAll("details.inspector")];
  const shown = new Set();
  async function refresh(inspector, again = false) {
    if (!inspector.open || (shown.has(inspector) && !again)) return;
    shown.add(inspector);
    await show(inspector);
  }
  all.forEach((inspector) => inspector.addEventListener("toggle", () => refresh(inspector)));
  return {
    // Rows of a long table change with its page, order and filter.
    follow: (article, indexes) => {
      const inspector = article.querySelector("details.inspector");
      if (inspector) wanted.set(inspector, indexes);
      return () => inspector && refresh(inspector, true);
    },
    ready: () => Promise.all(all.map((inspector) => refresh(inspector))),
  };
})();
