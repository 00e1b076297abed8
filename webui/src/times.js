// Times: the server writes UTC, people read local time, with UTC and age on hover.
const pad = (number) => String(number).padStart(2, "0");
const day = (date) => `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
const clock = (date) => `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;

export function age(milliseconds) {
  const seconds = Math.abs(milliseconds) / 1000;
  const [size, unit] = [[86400, "d"], [3600, "h"], [60, "min"]].find(([each]) => seconds >= each * 1.5) ?? [1, "s"];
  const text = `${Math.round(seconds / size)} ${unit}`;
  return milliseconds < -1500 ? `in ${text}` : `${text} ago`;
}

export function local(date, form) {
  if (form === "age") return age(Date.now() - date);
  if (form === "time" && day(date) === day(new Date())) return clock(date);
  return form === "time" ? `${day(date).slice(5)} ${clock(date)}` : `${day(date)} ${clock(date)}`;
}

export function showTimes(root = document) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const date = new Date(element.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    const text = local(date, element.dataset.form);
    if (element.textContent !== text) element.textContent = text;
    element.title = `${element.dateTime.replace("T", " ").replace("Z", "")} UTC, ${age(Date.now() - date)}`;
  }
}

// The picker's fields are local time, the address is UTC.
function startRange() {
  const fill = () => {
    for (const input of document.querySelectorAll("input[data-utc]")) {
      const text = input.dataset.utc;
      const date = text ? new Date(/Z|[+-]\d\d:?\d\d$/.test(text) ? text : `${text}Z`) : null;
      if (date && !Number.isNaN(date.getTime())) input.value = `${day(date)}T${clock(date)}`;
    }
  };
  fill();
  document.addEventListener("submit", (event) => {
    const form = event.target.closest("[data-range]");
    if (!form) return;
    event.preventDefault();
    const query = new URLSearchParams();
    for (const [name, value] of new FormData(form)) {
      if (value) query.append(name, name === "from" || name === "to" ? new Date(value).toISOString() : value);
    }
    location.search = query;
  });
}

export function startTimes() {
  showTimes();
  startRange();
  document.addEventListener("htmx:load", (event) => showTimes(event.target));
  setInterval(() => document.hidden || showTimes(), 10_000);
}
