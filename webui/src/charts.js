// Charts are drawn by a part of the script that is fetched only where there is one.
let module = null;

async function draw(root) {
  const figures = [...root.querySelectorAll("[data-chart]:not([data-drawn])")];
  if (!figures.length) return;
  module ??= import("./histogram.js");
  const { histogram } = await module;
  for (const figure of figures) if (figure.isConnected && !("drawn" in figure.dataset)) histogram(figure);
}

export function startCharts() {
  draw(document);
  document.addEventListener("htmx:load", (event) => draw(event.target.parentElement ?? document));
  document.addEventListener("theme", () => {
    for (const figure of document.querySelectorAll("[data-drawn]")) delete figure.dataset.drawn;
    draw(document);
  });
}
