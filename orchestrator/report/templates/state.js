"use strict";
// What the reader chose stands in the address, after the #: sorting, filters, hidden columns, choices of charts, open details.
// Values are only ever compared with names that the page has, or handed on as plain text; others do nothing.
const boardState = (() => {
  const LONGEST = 8000;
  const listeners = [];
  let params = new URLSearchParams();
  let place = "";

  function read() {
    const text = location.hash.slice(1);
    if (text.length > LONGEST) return false;
    // A plain link inside the page: '#table-1'. What was chosen stays.
    if (text && !text.includes("=")) {
      place = text;
      return false;
    }
    params = new URLSearchParams(text);
    place = params.get("at") || "";
    params.delete("at");
    return true;
  }

  function write() {
    const text = new URLSearchParams(params);
    if (place && text.size) text.set("at", place);
    const hash = text.size ? text.toString() : place;
    if (hash !== location.hash.slice(1)) history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  }

  read();
  addEventListener("hashchange", () => {
    if (read()) listeners.forEach((listener) => listener());
    write();
  });
  return {
    get: (key) => params.getAll(key),
    set: (key, values) => {
      params.delete(key);
      values.forEach((value) => params.append(key, value));
      write();
    },
    // Called when somebody changed the address by hand.
    onChange: (listener) => listeners.push(listener),
    // Browsers find no element called 'at=table-1&...' by themselves.
    scroll: () => {
      const target = place && document.getElementById(place);
      if (target && params.size) target.scrollIntoView();
    },
    // Details that were open: everywhere, or in what was made just now.
    open: (within = document) => {
      const open = new Set(params.getAll("open"));
      within.querySelectorAll("details[data-open]").forEach((details) => (details.open = open.has(details.dataset.open)));
    },
  };
})();

boardState.open();
boardState.onChange(() => boardState.open());
// The event does not bubble, but it is there before it reaches its target.
document.addEventListener(
  "toggle",
  ({ target }) => {
    if (!target.dataset.open) return;
    const others = boardState.get("open").filter((name) => name !== target.dataset.open);
    const open = target.open ? [...others, target.dataset.open] : others;
    if (target.open !== (others.length < boardState.get("open").length)) boardState.set("open", open);
  },
  true,
);
