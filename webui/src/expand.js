// Rows that open: the event behind a row comes from the server, the original of a dead letter is there already.
async function expandEvent(button) {
  const row = button.closest("tr");
  const next = row.nextElementSibling;
  if (next?.classList.contains("inset")) {
    next.remove();
    return button.setAttribute("aria-expanded", "false");
  }
  button.setAttribute("aria-expanded", "true");
  const inset = document.createElement("tr");
  inset.className = "inset";
  const cell = inset.insertCell();
  cell.colSpan = row.cells.length;
  cell.textContent = "…";
  row.after(inset);
  try {
    const response = await fetch(button.dataset.expand, { headers: { "HX-Request": "true" } });
    if (!response.ok) throw new Error(String(response.status));
    const parsed = new DOMParser().parseFromString(await response.text(), "text/html");
    cell.replaceChildren(...parsed.body.childNodes);
    cell.dispatchEvent(new CustomEvent("htmx:load", { bubbles: true }));
  } catch {
    cell.textContent = "This event cannot be loaded now. Close the row and open it again.";
  }
  return undefined;
}

export function startExpand() {
  document.addEventListener("click", (event) => {
    const expand = event.target.closest("[data-expand]");
    if (expand) return void expandEvent(expand);
    const turn = event.target.closest("[data-turn]");
    if (turn) {
      const inset = turn.closest("tr").nextElementSibling;
      inset.hidden = !inset.hidden;
      return turn.setAttribute("aria-expanded", String(!inset.hidden));
    }
    const row = event.target.closest("tr.row");
    if (!row || event.target.closest("a, button, input, select, label, summary") || String(getSelection())) return undefined;
    return (row.querySelector("a.open") ?? row.querySelector("[data-expand], [data-turn]"))?.click();
  });
}
