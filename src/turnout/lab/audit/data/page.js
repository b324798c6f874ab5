// What the audit's page does beyond being read: tips beside the pointer, tables that sort, snippets that copy.
(() => {
  "use strict";
  document.documentElement.classList.add("scripted");

  const make = (name, className, text) => {
    const made = document.createElement(name);
    made.className = className;
    if (text) made.textContent = text;
    return made;
  };

  // Tips: a mark's own <title> is moved aside, so that the browser's slow one does not show as well.
  const tip = make("div", "tip");
  tip.setAttribute("role", "status");
  tip.hidden = true;
  document.body.append(tip);
  let shown = null;

  const wordsOf = (mark) => {
    const title = mark.querySelector(":scope > title");
    if (title) {
      mark.dataset.tip = title.textContent;
      title.remove();
    }
    return mark.dataset.tip;
  };

  const hide = () => {
    if (shown) shown.classList.remove("on");
    shown = null;
    tip.hidden = true;
  };

  const show = (mark, x, y) => {
    if (mark !== shown) {
      hide();
      shown = mark;
      mark.classList.add("on");
      const [first, ...rest] = wordsOf(mark).split("\n");
      tip.replaceChildren(make("b", "", first), ...rest.map((line) => make("span", "", line)));
      tip.hidden = false;
    }
    const left = x + 14 + tip.offsetWidth > innerWidth ? x - 14 - tip.offsetWidth : x + 14;
    const top = y + 14 + tip.offsetHeight > innerHeight ? y - 14 - tip.offsetHeight : y + 14;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, top)}px`;
  };

  const middle = (mark) => {
    const box = mark.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + Math.min(box.height / 2, 60)];
  };

  for (const plot of document.querySelectorAll("svg.plot, svg.tiles")) {
    const marks = [...plot.querySelectorAll(".hit, .tile")];
    const over = (event) => {
      const mark = event.target.closest(".hit, .tile");
      if (mark) show(mark, event.clientX, event.clientY);
      else hide();
    };
    plot.addEventListener("pointermove", over);
    plot.addEventListener("pointerdown", over);
    plot.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());
    plot.setAttribute("tabindex", "0");
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const at = marks.indexOf(shown);
      const next = { Home: 0, End: marks.length - 1 }[event.key] ?? (by && (at < 0 ? 0 : at + by));
      if (event.key === "Escape") hide();
      if (next === undefined || !marks[next]) return;
      event.preventDefault();
      show(marks[next], ...middle(marks[next]));
    });
  }
  addEventListener("scroll", hide, { passive: true });
  addEventListener("pointerdown", (event) => event.target.closest("svg") || hide());

  // Tables: a head is a button; numbers go down first, names up.
  const key = (row, place) => {
    const cell = row.cells[place];
    return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, place) => {
      const button = make("button", "sort", head.textContent);
      button.type = "button";
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const numeric = head.classList.contains("n");
        const was = head.getAttribute("aria-sort");
        const up = was ? was === "descending" : !numeric;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = [...table.tBodies[0].rows];
        rows.sort((a, b) => {
          const [x, y] = [key(a, place), key(b, place)];
          const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
          return up ? order : -order;
        });
        table.tBodies[0].append(...rows);
      });
    });
  }

  // Snippets. Without leave to use the clipboard the text is selected, and the browser's own copy is asked.
  const copied = async (code) => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      return true;
    } catch {
      getSelection().selectAllChildren(code);
      return document.execCommand("copy");
    }
  };
  for (const snippet of document.querySelectorAll(".snippet")) {
    const button = make("button", "copy", "Copy");
    button.type = "button";
    const said = make("span", "unseen");
    said.setAttribute("role", "status");
    snippet.append(button, said);
    button.addEventListener("click", async () => {
      button.textContent = (await copied(snippet.querySelector("code"))) ? "Copied" : "Selected";
      said.textContent = button.textContent;
      setTimeout(() => {
        button.textContent = "Copy";
        said.textContent = "";
      }, 2000);
    });
  }
})();
