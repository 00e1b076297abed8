// Writing a note: the draft survives a reload, and a note that was sent twice is stored once.
export function startNotes() {
  const form = document.querySelector("form[data-draft]");
  if (!form) return;
  const words = form.querySelector("textarea");
  const id = form.querySelector("input[name=id]");
  const draft = form.dataset.draft;
  words.value ||= sessionStorage.getItem(draft) ?? "";
  words.addEventListener("input", () => sessionStorage.setItem(draft, words.value));
  words.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  document.body.addEventListener("noted", () => {
    words.value = "";
    sessionStorage.removeItem(draft);
    const random = crypto.getRandomValues(new Uint8Array(8));
    id.value = `${String(Date.now()).padStart(13, "0")}-${[...random].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  });
}
