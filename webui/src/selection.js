// Selecting rows: bulk actions appear when something is selected.
const boxes = () => [...document.querySelectorAll("#queue tbody .pick input")];

export function selectionChanged() {
  const bar = document.getElementById("bulk");
  if (!bar) return;
  const all = boxes();
  const picked = all.filter((box) => box.checked);
  bar.hidden = picked.length === 0;
  bar.querySelector("[data-picked]").textContent = `${picked.length} selected`;
  const master = document.querySelector("[data-pick-all]");
  if (master) {
    master.checked = picked.length > 0 && picked.length === all.length;
    master.indeterminate = picked.length > 0 && picked.length < all.length;
  }
}

export function pickedIds() {
  return new Set(boxes().filter((box) => box.checked).map((box) => box.closest("tr").dataset.row));
}

export function pickNone() {
  for (const box of boxes()) box.checked = false;
  selectionChanged();
}

export function startSelection() {
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-pick-all]")) for (const box of boxes()) box.checked = event.target.checked;
    if (event.target.closest(".pick")) selectionChanged();
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-pick-none]")) pickNone();
  });
  document.body.addEventListener("refresh", pickNone);
  document.addEventListener("htmx:load", selectionChanged);
}
