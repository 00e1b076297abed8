// Bringing a page up to date: it is fetched again, and the parts marked `data-live` take their new form.
// A list never moves under the reader: away from its top, new rows wait behind a pill.
import { cursorId, paintCursor } from "./keys.js";
import { pickedIds, selectionChanged } from "./selection.js";

let htmx = null;
let running = null;
let again = false;

export function refresh() {
  if (running) {
    again = true;
    return running;
  }
  running = once()
    .catch((error) => console.warn("refresh failed", error))
    .finally(() => {
      running = null;
      if (again) {
        again = false;
        setTimeout(refresh, 200);
      }
    });
  return running;
}

async function once() {
  const address = location.href;
  const response = await fetch(address, { headers: { "X-Refresh": "true" } });
  if (response.redirected || !response.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  if (location.href !== address) return;
  document.querySelector("meta[name=csrf]").content = fresh.querySelector("meta[name=csrf]").content;
  for (const old of document.querySelectorAll("[data-live]")) {
    const part = fresh.getElementById(old.id);
    if (!part) continue;
    if (old.dataset.live === "rows") mergeRows(old, part);
    else if (!busy(old)) replace(old, part);
  }
}

// Somebody types or chooses in it: it waits for the next time.
function busy(part) {
  const focus = document.activeElement;
  return part.contains(focus) && focus.matches("input:not([type=hidden]), textarea, select");
}

const essence = (html) => html.replace(/(name="csrf" value=")[^"]*"/g, '$1"').replace(/<time[^>]*>[^<]*<\/time>/g, "").replace(/ (class="[^"]*(htmx|cursor)[^"]*"|open="")/g, "");

function replace(old, fresh) {
  const made = old.dataset.made ?? essence(old.outerHTML);
  const now = essence(fresh.outerHTML);
  if (made === now) return;
  const node = document.adoptNode(fresh);
  for (const open of old.querySelectorAll("details[open][id]")) {
    const same = node.querySelector(`#${CSS.escape(open.id)}`);
    if (same) same.open = true;
  }
  const focused = old.contains(document.activeElement) ? document.activeElement.closest("tr[data-row]")?.dataset.row : null;
  old.replaceWith(node);
  arrived(node);
  paintCursor();
  if (focused) node.querySelector(`tr[data-row="${CSS.escape(focused)}"] a.open`)?.focus({ preventScroll: true });
}

// What came without htmx gets the same attention as what came with it: times, charts, its own requests.
function arrived(node) {
  htmx.process(node);
  node.dispatchEvent(new CustomEvent("htmx:load", { bubbles: true }));
}

function mergeRows(old, fresh) {
  const rows = (root) => [...root.querySelectorAll("tbody > tr[data-row]")];
  const before = new Map(rows(old).map((row) => [row.dataset.row, row]));
  const added = rows(fresh).filter((row) => !before.has(row.dataset.row));
  const still = scrollY < 48 && before.size <= rows(fresh).length + 50 && old.querySelector(".inset:not([hidden])") === null && pickedIds().size === 0 && old.dataset.first !== "no";
  const pill = document.getElementById("pill");
  if (still || before.size === 0) {
    if (pill) pill.hidden = true;
    for (const row of added) row.classList.add("fresh");
    replace(old, fresh);
    selectionChanged();
    return;
  }
  for (const row of rows(fresh)) {
    const same = before.get(row.dataset.row);
    if (same && same.dataset.version !== row.dataset.version && !same.contains(document.activeElement)) {
      const picked = same.querySelector(".pick input")?.checked;
      const node = document.adoptNode(row);
      same.replaceWith(node);
      if (picked) node.querySelector(".pick input").checked = true;
      arrived(node);
    }
  }
  if (pill && added.length) {
    pill.textContent = `${added.length}${added.length >= rows(fresh).length ? "+" : ""} new`;
    pill.hidden = false;
    pill.onclick = () => {
      pill.hidden = true;
      scrollTo(0, 0);
      replace(old, fresh);
    };
  }
  paintCursor();
}

export function startRefresh(library) {
  htmx = library;
  document.body.addEventListener("refresh", refresh);
  const seconds = Number(document.getElementById("main").dataset.poll);
  if (seconds) setInterval(() => document.hidden || refresh(), seconds * 1000);
  document.addEventListener("htmx:afterSwap", () => paintCursor());
  if (cursorId()) paintCursor();
}
