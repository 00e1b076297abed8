// The live stream. Hidden tabs let go of it (browsers allow few), and catch up when they are looked at again.
const SILENCE = 25_000;

export function startLive(refresh) {
  const from = document.body.dataset.liveFrom;
  const light = document.getElementById("live");
  const banner = document.getElementById("offline");
  if (from === undefined || !light) return;
  let source = null;
  let last = from;
  let state = document.body.dataset.state ?? "";
  let heard = Date.now();
  let retry = 0;

  const show = (on) => {
    light.dataset.state = on ? "on" : "off";
    light.querySelector("span").textContent = on ? "live" : "offline";
    if (on) banner.hidden = true;
    else {
      banner.querySelector("[data-since]").textContent = `${Math.round((Date.now() - heard) / 1000)} seconds`;
      banner.hidden = Date.now() - heard < 3000;
    }
  };
  const hear = (event) => {
    heard = Date.now();
    retry = 0;
    if (event.lastEventId) last = event.lastEventId;
    show(true);
  };
  const open = () => {
    if (source || document.hidden) return;
    const query = new URLSearchParams({ ns: document.body.dataset.ns, after: last });
    if (document.body.dataset.incident) {
      query.set("incident", document.body.dataset.incident);
      query.set("state", state);
    }
    source = new EventSource(`/live?${query}`);
    source.addEventListener("hello", hear);
    source.addEventListener("ping", hear);
    source.addEventListener("alerts", (event) => {
      hear(event);
      const only = document.body.dataset.only;
      if (!only || JSON.parse(event.data).ids.includes(only)) refresh();
    });
    source.addEventListener("page", (event) => {
      hear(event);
      state = JSON.parse(event.data).state;
      refresh();
    });
    source.addEventListener("error", () => {
      show(false);
      if (source?.readyState !== EventSource.CLOSED) return;
      close();
      retry = Math.min((retry || 500) * 2, 15_000);
      setTimeout(open, retry);
    });
  };
  const close = () => {
    source?.close();
    source = null;
  };
  setInterval(() => {
    if (document.hidden || Date.now() - heard < SILENCE) return light.dataset.state === "off" && show(false);
    show(false);
    close();
    open();
    return undefined;
  }, 3000);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else {
      heard = Date.now();
      open();
    }
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => {
    if (event.persisted) {
      open();
      refresh();
    }
  });
  open();
}
