"use strict";
(() => {
  // For those who see the button and those who hear it.
  function say(text, button) {
    const status = document.getElementById("status");
    status.textContent = text;
    const { left, bottom } = button.getBoundingClientRect();
    status.style.left = `${Math.max(8, left)}px`;
    status.style.top = `${bottom + 6}px`;
    clearTimeout(say.timer);
    say.timer = setTimeout(() => (status.textContent = ""), 2500);
  }

  // Sorting, filter and hidden columns stand in the address; columns by their title, so that it outlives a new report.
  function remember(api, table) {
    const key = (what) => `${what}.${table.closest("article").id}`;
    const titles = api.columns().header().toArray().map((header) => header.dataset.full);
    let applying = false;

    function apply() {
      applying = true;
      const hidden = new Set(boardState.get(key("hide")));
      titles.forEach((title, index) => api.column(index).visible(!(index && hidden.has(title)), false));
      const order = boardState.get(key("sort")).flatMap((text) => {
        const [direction, index] = [text.split(" ", 1)[0], titles.indexOf(text.slice(text.indexOf(" ") + 1))];
        return index >= 0 && ["asc", "desc"].includes(direction) ? [[index, direction]] : [];
      });
      api.order(order).search((boardState.get(key("filter"))[0] || "").slice(0, 200)).columns.adjust().draw();
      applying = false;
    }

    const changed = (what, values) => applying || boardState.set(key(what), values);
    api.on("order.dt", () => changed("sort", api.order().filter(([, way]) => way).map(([index, way]) => `${way} ${titles[index]}`)));
    api.on("search.dt", () => changed("filter", api.search() ? [api.search()] : []));
    api.on("column-visibility.dt", () => changed("hide", titles.filter((_, index) => !api.column(index).visible())));
    if (["sort", "filter", "hide"].some((what) => boardState.get(key(what)).length)) apply();
    boardState.onChange(apply);
  }

  // While there is more to the right, the table's edge says so.
  function fade(box, api) {
    const look = () => box.parentElement.classList.toggle("more", box.scrollLeft + box.clientWidth < box.scrollWidth - 2);
    box.addEventListener("scroll", look, { passive: true });
    new ResizeObserver(look).observe(box);
    api.on("draw column-visibility", look);
    look();
  }

  // Cells over single columns, in their order: those that span two lines stand in the first.
  const headersOf = (table) => [...[...table.tHead.rows[0].cells].filter((cell) => cell.rowSpan > 1), ...table.tHead.rows[1].cells];

  // Tables: DataTables as itables ships it, a module that can only be imported from a URL.
  async function enhance() {
    const source = await boardData.inflated(document.getElementById("tables-bundle"));
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const { ITable, default: DataTable, set_or_remove_dark_class: followTheme } = await import(url);
    URL.revokeObjectURL(url);
    followTheme();
    for (const table of document.querySelectorAll("table.board")) {
      const [article, long] = [table.closest("article"), "long" in table.dataset];
      const paged = long ? boardRows.options(headersOf(table)) : {};
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
              ...boardCopy.buttons(say),
            ],
          },
          topEnd: "search",
          bottomStart: long ? "info" : null,
          bottomEnd: long ? "paging" : null,
        },
        language: { search: "Filter", ...boardRows.language },
        ...paged,
      });
      const api = new DataTable.Api(table);
      if (long) api.rows.add(await boardData.read(article.querySelector(".rows-data > script"))).draw();
      remember(api, table);
      if (long) boardRows.printMany(api);
      if (long) api.on("draw", boardInspector.follow(article, () => api.rows({ page: "current" }).indexes().toArray()));
      fade(table.parentElement, api);
      // The box that scrolls is now DataTables' own; it must be reachable with the keyboard.
      const [outer, inner] = [table.closest(".scroll"), table.parentElement];
      for (const name of ["role", "aria-label", "tabindex"]) {
        inner.setAttribute(name, outer.getAttribute(name));
        outer.removeAttribute(name);
      }
    }
    await boardInspector.ready();
    document.documentElement.dataset.tables = "ready";
    boardState.scroll();
  }
  enhance();
})();
