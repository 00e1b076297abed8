// Short messages; what can be undone says so for ten seconds instead of asking beforehand.
let current = null;

export function toast({ text, undo = null, error = false, id = "" }) {
  current?.remove();
  const box = document.createElement("div");
  box.className = error ? "toast error" : "toast";
  const words = document.createElement("span");
  words.textContent = id ? `${text} (error ${id})` : text;
  box.append(words);
  if (undo) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Undo";
    button.addEventListener("click", () => send(undo, box));
    box.append(button);
  } else if (error) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Dismiss";
    button.addEventListener("click", () => box.remove());
    box.append(button);
  }
  document.getElementById("toasts").append(box);
  current = box;
  if (!error) setTimeout(() => box.remove(), undo ? 10_000 : 4_000);
}

async function send({ action, do: verb, ...fields }, box) {
  const body = new URLSearchParams();
  if (verb) body.append("action", verb);
  for (const [name, value] of Object.entries(fields)) for (const one of [value].flat()) body.append(name, one);
  const url = new URL(action, location.origin);
  url.searchParams.set("ns", document.body.dataset.ns);
  box.remove();
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: { "HX-Request": "true", "X-CSRF-Token": document.querySelector("meta[name=csrf]").content },
      body,
    });
    const { toast: told } = JSON.parse(response.headers.get("HX-Trigger") ?? "{}");
    if (told) toast(told);
  } catch {
    toast({ text: "The connection is lost; nothing was undone.", error: true });
  }
  document.body.dispatchEvent(new CustomEvent("refresh"));
}

export function startToasts() {
  document.body.addEventListener("toast", (event) => toast(event.detail));
  document.body.addEventListener("htmx:sendError", () => toast({ text: "The connection is lost; nothing was changed.", error: true }));
  document.body.addEventListener("htmx:timeout", () => toast({ text: "No answer within 30 seconds. Reload to see what was done.", error: true }));
}
