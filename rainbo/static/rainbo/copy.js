/* A button that copies: after each element with data-copy, and after the commands of some pages. */
(() => {
  "use strict";
  const COPIED = "[data-copy], .find code.command, .tenant code.command";
  const SECONDS = 2;

  /* Without https there is no clipboard; the old way is there still. */
  async function copy(text) {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    if (!done) throw new Error("not copied");
  }

  function equip(source) {
    const text = source.dataset.copy || source.textContent.trim();
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.ariaLabel = `Copy ${text}`;
    button.title = "Copy";
    const status = document.createElement("span");
    status.className = "unseen";
    status.role = "status";
    button.addEventListener("click", async () => {
      try {
        await copy(text);
        button.dataset.state = "done";
        status.textContent = "Copied";
      } catch {
        button.dataset.state = "failed";
        status.textContent = button.title = "The browser did not let the page copy: select the text";
      }
      button.focus();
      setTimeout(() => { delete button.dataset.state; status.textContent = ""; }, SECONDS * 1000);
    });
    if (source.matches("code")) source.append(button, status);
    else source.after(button, status);
  }

  addEventListener("DOMContentLoaded", () => document.querySelectorAll(COPIED).forEach(equip));
})();
