// The query bar completes the word under the cursor: field names, and after a colon their values.
export function startQuery() {
  const input = document.getElementById("q");
  const list = document.getElementById("offers");
  const filter = document.getElementById("field-filter");
  filter?.addEventListener("input", () => {
    for (const item of document.querySelectorAll("#fields > ul > li")) item.hidden = !item.dataset.name.includes(filter.value.toLowerCase());
  });
  const fields = document.getElementById("fields");
  if (fields && matchMedia("(max-width: 760px)").matches) fields.open = false;
  if (!input) return;
  let chosen = -1;
  let asked = 0;
  const word = () => {
    const before = input.value.slice(0, input.selectionStart);
    return before.slice(before.search(/[^\s()]*$/)).replace(/^[-+!]/, "");
  };
  const hide = () => {
    list.hidden = true;
    chosen = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const take = (text) => {
    const at = input.selectionStart;
    const typed = word();
    const space = text.endsWith(":") ? "" : " ";
    input.setRangeText(text + space, at - typed.length, at, "end");
    hide();
    if (!space) offer();
  };
  // What no longer fits leaves at once, so that Tab never takes an offer for what was typed before.
  const keep = (typed) => {
    const held = [...list.children].filter((item) => item.textContent.startsWith(typed) && item.textContent !== typed);
    if (held.length === list.children.length) return;
    if (!held.length) hide();
    list.replaceChildren(...held);
    chosen = -1;
    input.removeAttribute("aria-activedescendant");
  };
  const offer = async () => {
    const typed = word();
    const number = ++asked;
    if (typed.length < 2) return hide();
    keep(typed);
    const query = new URLSearchParams({ ns: document.body.dataset.ns, typed });
    const response = await fetch(`/search/complete?${query}`).catch(() => null);
    if (!response?.ok || number !== asked) return undefined;
    const found = (await response.json()).filter((text) => text !== typed);
    if (!found.length || document.activeElement !== input) return hide();
    list.replaceChildren(...found.map((text, index) => {
      const item = document.createElement("li");
      item.role = "option";
      item.id = `offer-${index}`;
      item.textContent = text;
      item.addEventListener("mousedown", (event) => {
        event.preventDefault();
        take(text);
      });
      return item;
    }));
    chosen = -1;
    list.hidden = false;
    return input.setAttribute("aria-expanded", "true");
  };
  input.addEventListener("input", () => void offer());
  input.addEventListener("blur", hide);
  input.addEventListener("keydown", (event) => {
    if (list.hidden) return;
    const items = [...list.children];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      chosen = (chosen + step + items.length) % items.length;
      items.forEach((item, index) => item.setAttribute("aria-selected", String(index === chosen)));
      items[chosen].scrollIntoView({ block: "nearest" });
      input.setAttribute("aria-activedescendant", items[chosen].id);
    } else if (event.key === "Escape") {
      event.preventDefault();
      hide();
    } else if ((event.key === "Enter" && chosen >= 0) || event.key === "Tab") {
      if (chosen < 0 && event.key === "Tab") chosen = 0;
      event.preventDefault();
      take(items[chosen].textContent);
    }
  });
}
