// What every page starts with. Pages work without it, except for what is live.
import htmx from "htmx.org";
import { startCharts } from "./charts.js";
import { startExpand } from "./expand.js";
import { startKeys } from "./keys.js";
import { startLive } from "./live.js";
import { startMenus } from "./menus.js";
import { startNotes } from "./notes.js";
import { startQuery } from "./query.js";
import { refresh, startRefresh } from "./refresh.js";
import { startSelection } from "./selection.js";
import { startTimes } from "./times.js";
import { startToasts } from "./toasts.js";

document.addEventListener("htmx:configRequest", (event) => {
  const { detail } = event;
  if (detail.verb === "get") {
    // The address says only what was chosen.
    for (const [name, value] of [...detail.formData.entries()]) if (value === "") detail.formData.delete(name, value);
  } else {
    detail.headers["X-CSRF-Token"] = document.querySelector("meta[name=csrf]").content;
  }
});

startTimes();
startToasts();
startMenus();
startSelection();
startExpand();
startKeys();
startNotes();
startQuery();
startCharts();
startRefresh(htmx);
startLive(refresh);
