"use strict";
// Tables: a click on a heading sorts by each entry's data-order, else by its text, empty ones last.
// The filter keeps rows that have every number typed, and for every other word one that starts with
// it; after the name of a column (`depth 2`) what is typed must stand in that column, unless no row
// has it there and the name is a word of some row, too. A number may be typed with a hyphen for its
// minus, and without commas.
const words = text => text.toLowerCase().replace(/−/g, "-")
  .replace(/(\d),(?=\d{3}(?!\d))/g, "$1").split(/[\s(),]+/).filter(word => word);
const fits = word => isNaN(word) ? other => other.startsWith(word) : other => other === word;
const has = (cells, word) => words(cells.map(cell => cell.textContent).join(" ")).some(fits(word));
// Up to which word what is typed from `start` on names a column of that title.
function named(title, typed, start) {
  if (title[0] !== typed[start]) return start;
  let next = start + 1;
  while (title.slice(1).includes(typed[next])) next++;
  return next;
}
function conditions(typed, titles, rows) {
  const found = [];
  for (let i = 0; i < typed.length; i++) {
    const ends = titles.map(title => named(title, typed, i)), next = Math.max(...ends);
    const word = typed[i], column = ends.indexOf(next), isName = next > i;
    const holds = row => has([row.cells[column]], typed[next]);
    const isSaid = isName && rows.some(row => has([...row.cells], word));
    if (isName && next < typed.length && (!isSaid || rows.some(holds))) {
      found.push(holds);
      i = next;
    } else if (isName && !isSaid) {
      break;  // a column alone: what it should hold is still to be typed
    } else {
      found.push(row => has([...row.cells], word));
    }
  }
  return found;
}
for (const sheet of document.querySelectorAll(".sheet")) {
  const body = sheet.querySelector("tbody"), heads = [...sheet.querySelectorAll("th")];
  const filter = sheet.querySelector(".filter"), said = filter.querySelector("output");
  const key = (row, column) => row.cells[column].dataset.order ?? row.cells[column].textContent;
  heads.forEach((head, column) => {
    const first = body.rows[0] && body.rows[0].cells[column];
    head.classList.toggle("number", !!first && first.classList.contains("number"));
    if (!first || first.classList.contains("strip")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending", sign = up ? 1 : -1;
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const order = (a, b) => {
        const x = key(a, column), y = key(b, column);
        if (x === "" || y === "") return (x === "") - (y === "");
        return sign * (isNaN(x) || isNaN(y) ? x.localeCompare(y, undefined, {numeric: true}) : x - y);
      };
      body.append(...[...body.rows].sort(order));
    });
  });
  const titles = heads.map(head => words(head.textContent));
  filter.hidden = body.rows.length < 2;
  filter.querySelector("input").addEventListener("input", event => {
    const typed = words(event.target.value), wanted = conditions(typed, titles, [...body.rows]);
    let kept = 0;
    for (const row of body.rows) {
      row.hidden = !wanted.every(holds => holds(row));
      kept += !row.hidden;
    }
    said.textContent = typed.length ? `${kept} of ${body.rows.length} rows` : "";
  });
}

// On paper bold needs its note.
addEventListener("beforeprint", () => {
  for (const notes of document.querySelectorAll("section > .sheet > .notes")) notes.open = true;
});

// The columns that name a row stay in sight, as far as they leave a third of the width to others.
for (const table of document.querySelectorAll("table")) {
  const places = [...table.querySelectorAll("th.place")];
  const stick = () => {
    const box = table.closest(".scroll");
    let left = 0, held = 0;
    for (const head of places) {
      const right = left + head.offsetWidth, isHeld = right <= box.clientWidth * 2 / 3;
      for (const row of table.rows) {
        const cell = row.cells[head.cellIndex];
        cell.classList.toggle("place", isHeld);
        cell.style.left = isHeld ? `${left}px` : "";
      }
      if (isHeld) held = right;
      left = right;
    }
    box.style.scrollPaddingLeft = `${held}px`;  // what has the focus is not under them
  };
  if (places.length) new ResizeObserver(stick).observe(table);
}

// A figure wider than the screen is scrolled by the keyboard, too; no other needs the focus.
const reach = () => {
  for (const part of document.querySelectorAll("figure > div")) {
    part.tabIndex = part.scrollWidth > part.clientWidth ? 0 : -1;
  }
};
addEventListener("resize", reach);
addEventListener("toggle", reach, true);  // of what was folded
reach();

// A link to what is folded unfolds it.
const reveal = () => {
  const target = document.getElementById(location.hash.slice(1));
  const folds = [];
  for (let part = target; part; part = part.parentElement) {
    if (part.tagName === "DETAILS" && !part.open) folds.push(part);
  }
  folds.forEach(fold => { fold.open = true; });
  if (folds.length) target.scrollIntoView();
};
addEventListener("hashchange", reveal);
reveal();

// Light or dark: as the system says, until the button says otherwise.
const theme = document.querySelector("#theme"), system = matchMedia("(prefers-color-scheme: dark)");
let isDark = system.matches;
system.addEventListener("change", () => {
  if (!document.documentElement.style.colorScheme) isDark = system.matches;
  label();
});
const label = () => { theme.textContent = isDark ? "Light" : "Dark"; };
theme.addEventListener("click", () => {
  isDark = !isDark;
  document.documentElement.style.colorScheme = isDark ? "dark" : "light";
  label();
});
label();
theme.hidden = false;
