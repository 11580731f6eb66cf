/* The key / goes to the one search of the console, from wherever nothing is typed. */
(() => {
  "use strict";
  const TYPED = "input:not([type=checkbox], [type=radio], [type=button], [type=submit]), textarea, select, [contenteditable]:not([contenteditable=false])";

  /* The theme shows a page when its own script has begun: until then nothing can be focused. */
  function shown(act) {
    if (!document.documentElement.hasAttribute("x-cloak")) return act();
    document.addEventListener("alpine:initialized", () => setTimeout(act), { once: true });
  }

  /* Where the header has no room for the field there is a link to its page. */
  function go() {
    const field = [...document.querySelectorAll("[data-find]")].find((one) => one.checkVisibility());
    if (!field) return document.querySelector(".find-link").click();
    field.focus();
    field.select();
  }

  /* Before the theme, whose lists would take the key for a search of their own. */
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target instanceof Element && event.target.closest(TYPED)) return;
    if (!document.querySelector("[data-find]")) return;
    event.preventDefault();
    event.stopPropagation();
    shown(go);
  }, true);

  /* Down and up go through the results, from the field and back to it; Enter follows the link. */
  addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const rows = [...document.querySelectorAll(".find tbody tr")];
    const stops = rows.map((row) => row.querySelector("a[href]")).filter((link) => link?.checkVisibility());
    const field = document.querySelector("#find-q");
    const here = event.target === field ? -1 : stops.indexOf(event.target);
    if (!stops.length || (here < 0 && event.target !== field)) return;
    event.preventDefault();
    (stops[here + step] ?? (here + step < 0 ? field : stops[here])).focus();
  });

  /* A form that takes its time says so, and is sent once. */
  addEventListener("submit", (event) => {
    const text = event.target.dataset?.wait;
    if (!text) return;
    if (event.target.ariaBusy === "true") return event.preventDefault();
    event.target.ariaBusy = "true";
    const status = event.target.querySelector("[data-waiting]");
    if (status) status.textContent = text;
  });
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-wait]")) form.ariaBusy = null;
  });
})();
