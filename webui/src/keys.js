// The keyboard; everything here can be done by mouse and touch too.
const places = { a: "/alerts", i: "/incidents", s: "/search", r: "/rules", o: "/sources", d: "/dead-letters" };
let cursor = null;
let going = 0;

const rows = () => [...document.querySelectorAll("main tr[data-row]")];

export function cursorId() {
  return cursor;
}

export function paintCursor() {
  for (const row of rows()) row.classList.toggle("cursor", row.dataset.row === cursor);
}

function move(step) {
  const all = rows();
  if (!all.length) return;
  const at = all.findIndex((row) => row.dataset.row === cursor);
  const row = all[Math.max(0, Math.min(all.length - 1, at < 0 ? (step > 0 ? 0 : all.length - 1) : at + step))];
  cursor = row.dataset.row;
  paintCursor();
  row.scrollIntoView({ block: "nearest" });
  (row.querySelector("a.open") ?? row.querySelector("[data-expand], [data-turn]"))?.focus({ preventScroll: true });
}

const current = () => rows().find((row) => row.dataset.row === cursor);

function act(key) {
  const box = current()?.querySelector(".pick input");
  const bar = document.getElementById("bulk");
  if (bar?.hidden && box) {
    box.checked = true;
    box.dispatchEvent(new Event("change", { bubbles: true }));
  }
  const button = document.querySelector(`main [data-key="${key}"]`);
  if (button && !button.closest("[hidden]")) button.click();
}

function pressed(event) {
  const typing = event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]");
  if (event.key === "Escape") return escape(typing);
  if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open], :popover-open")) return false;
  if (Date.now() - going < 1200 && places[event.key]) {
    location.href = `${places[event.key]}?${new URLSearchParams({ ns: document.body.dataset.ns })}`;
    return true;
  }
  going = 0;
  switch (event.key) {
    case "/":
      (document.getElementById("q") ?? document.getElementById("everything")).focus();
      return true;
    case "?":
      document.getElementById("help").showModal();
      return true;
    case "g":
      going = Date.now();
      return true;
    case "j":
    case "k":
      move(event.key === "j" ? 1 : -1);
      return true;
    case "x": {
      const box = current()?.querySelector(".pick input");
      if (box) box.click();
      return true;
    }
    case "a":
    case "c":
    case "e":
      act(event.key);
      return true;
    case "Enter": {
      if (event.target.closest("a, button, summary")) return false;
      const row = current();
      (row?.querySelector("a.open") ?? row?.querySelector("[data-expand], [data-turn]"))?.click();
      return Boolean(row);
    }
    default:
      return false;
  }
}

function escape(typing) {
  const menu = document.querySelector("details.menu[open]");
  if (document.querySelector("dialog[open], :popover-open")) return false;
  if (menu) menu.open = false;
  else if (typing) typing.blur();
  else if (document.querySelector("#queue .pick input:checked")) document.querySelector("[data-pick-none]")?.click();
  else document.querySelector("[data-back]")?.click();
  return true;
}

export function startKeys() {
  document.addEventListener("keydown", (event) => {
    if (!event.defaultPrevented && pressed(event)) event.preventDefault();
  });
  document.addEventListener("focusin", (event) => {
    const row = event.target.closest?.("tr[data-row]");
    if (row && row.dataset.row !== cursor) {
      cursor = row.dataset.row;
      paintCursor();
    }
  });
}
