// Menus close when something else is clicked; the menu of a value; the choice of colours.
export function startMenus() {
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
    const dots = event.target.closest(".dots");
    if (dots) return openValue(dots);
    const theme = event.target.closest("[data-theme-choice]");
    if (theme) chooseTheme(theme.dataset.themeChoice);
    if (event.target.closest("[data-help]")) document.getElementById("help")?.showModal();
    const back = event.target.closest("[data-back]");
    if (back && document.referrer.startsWith(`${location.origin}${back.pathname}`) && history.length > 1) {
      event.preventDefault();
      history.back();
    }
    return undefined;
  });
}

function chooseTheme(name) {
  const choice = name === "auto" ? "" : name;
  document.cookie = `vedette-theme=${choice}; path=/; max-age=${choice ? 31536000 : 0}; samesite=strict`;
  document.documentElement.dataset.theme = choice;
  for (const button of document.querySelectorAll("[data-theme-choice]")) button.setAttribute("aria-pressed", String(button.dataset.themeChoice === name));
  document.dispatchEvent(new Event("theme"));
}

function openValue(dots) {
  const menu = document.getElementById("values");
  const { field, value } = dots.dataset;
  const here = new URLSearchParams(location.search);
  const kept = location.pathname === "/search" ? ["q", "range", "from", "to", "cols", "sort"] : [];
  const search = (negate, fresh) => {
    const query = new URLSearchParams({ ns: document.body.dataset.ns, field, value, ...(negate && { negate: "1" }) });
    for (const name of kept) if (here.has(name) && !(fresh && name === "q")) query.set(name, here.get(name));
    if (fresh) query.set("range", "all");
    return `/search/filter?${query}`;
  };
  const alerts = `/alerts?${new URLSearchParams({ ns: document.body.dataset.ns, q: value.slice(0, 500), status: "all" })}`;
  const shown = document.createElement("p");
  shown.textContent = dots.parentElement.querySelector("bdi").textContent.slice(0, 200);
  const entries = [
    ["Filter for this value", search(false, false)],
    ["Filter it out", search(true, false)],
    ["All events with it, any time", search(false, true)],
    ["Alerts with it", alerts],
  ].map(([text, href]) => {
    const link = document.createElement("a");
    link.href = href;
    link.textContent = text;
    link.role = "menuitem";
    return link;
  });
  const copy = document.createElement("button");
  copy.type = "button";
  copy.className = "plain";
  copy.role = "menuitem";
  copy.textContent = "Copy";
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(value);
    copy.textContent = "Copied";
    setTimeout(() => menu.hidePopover(), 400);
  });
  menu.replaceChildren(shown, ...entries.slice(0, 2), copy, ...entries.slice(2));
  menu.showPopover();
  dots.setAttribute("aria-expanded", "true");
  const box = dots.getBoundingClientRect();
  menu.style.left = `${Math.max(8, Math.min(box.left, innerWidth - menu.offsetWidth - 8))}px`;
  menu.style.top = `${box.bottom + menu.offsetHeight + 8 < innerHeight ? box.bottom + 4 : Math.max(8, box.top - menu.offsetHeight - 4)}px`;
  entries[0].focus();
  menu.addEventListener("toggle", (event) => {
    if (event.newState !== "closed") return;
    dots.setAttribute("aria-expanded", "false");
    if (menu.contains(document.activeElement) || document.activeElement === document.body) dots.focus();
  }, { once: true });
  menu.onkeydown = (event) => {
    const items = [...menu.querySelectorAll("[role=menuitem]")];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    items[(items.indexOf(document.activeElement) + step + items.length) % items.length].focus();
  };
}
