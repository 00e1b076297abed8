// Counts over time as bars; dragging over them narrows the page's time range.
import uPlot from "uplot";
import { local } from "./times.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// 24 hours, as everywhere on the page; the date where the day turns or where days are the steps.
const labels = (_, splits, __, ___, step) =>
  splits.map((at) => {
    const date = new Date(at * 1000);
    const [, month, day, hour, minute, second] = local(date, "full").split(/[- :]/);
    if (step >= 86400 || (hour === "00" && minute === "00")) return `${month}-${day}`;
    return step < 60 ? `${hour}:${minute}:${second}` : `${hour}:${minute}`;
  });

export function histogram(figure) {
  const { start, end, interval, points } = JSON.parse(figure.dataset.chart);
  const plot = figure.querySelector(".plot");
  plot.replaceChildren();
  figure.dataset.drawn = "";
  const counts = new Map(points);
  const first = points.length ? Math.min(points[0][0], start) : start;
  const base = points.length ? points[0][0] - Math.ceil((points[0][0] - first) / interval) * interval : start;
  const x = [];
  const y = [];
  for (let at = base; at < end && x.length < 2000; at += interval) {
    x.push((at + interval / 2) / 1000);
    y.push(counts.get(at) ?? 0);
  }
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  const size = () => ({ width: Math.max(plot.clientWidth, 40), height: 56 });
  const grid = { stroke: colour("--line"), width: 1 };
  const axis = { stroke: colour("--dim"), font: "11px system-ui, sans-serif", grid: { show: false }, ticks: { ...grid, size: 3 }, size: 18, gap: 2 };
  const chart = new uPlot({
    ...size(),
    padding: [4, 0, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: "brush" in figure.dataset, setScale: false } },
    scales: { x: { time: true, range: [base / 1000, end / 1000] }, y: { range: (_, __, high) => [0, Math.max(high, 1)] } },
    axes: [{ ...axis, space: 72, values: labels }, { show: false }],
    series: [{}, { fill: colour("--accent"), stroke: colour("--accent"), width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.8, 40, 1] }) }],
    hooks: {
      setCursor: [(self) => {
        const at = self.cursor.idx;
        tip.hidden = at === null || at === undefined || self.cursor.left < 0;
        if (tip.hidden) return;
        tip.textContent = `${local(new Date(x[at] * 1000 - interval / 2), "time")}  ${y[at]}`;
        tip.style.left = `${Math.min(self.cursor.left + 8, self.width - tip.offsetWidth)}px`;
      }],
      setSelect: [(self) => {
        if (self.select.width < 4) return;
        const at = (left) => new Date(self.posToVal(left, "x") * 1000).toISOString();
        const query = new URLSearchParams(location.search);
        for (const name of ["range", "after"]) query.delete(name);
        query.set("from", at(self.select.left));
        query.set("to", at(self.select.left + self.select.width));
        location.search = query;
      }],
    },
  }, [x, y], plot);
  chart.over.append(tip);
  const observer = new ResizeObserver(() => (figure.isConnected ? chart.setSize(size()) : observer.disconnect()));
  observer.observe(plot);
}
