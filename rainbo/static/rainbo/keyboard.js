/* The theme opens its menus by spans and divs that take a mouse only: here they become buttons. */
document.addEventListener("alpine:initialized", () => {
  "use strict";
  const NATIVE = "a[href], button, input, select, textarea, summary, label";
  const STOPS = "a[href], button, [role=button]";
  const SWITCH = /^\s*(\w+)\s*=\s*!\1\b/;
  const MENUS = { sidebarMobileOpen: "#nav-sidebar-inner", openUserLinks: "nav[x-show=openUserLinks]" };
  const NAMES = { sidebarMobileOpen: "Menu", sidebarDesktopOpen: "Menu", openUserLinks: "Account:" };

  const clickable = [...document.querySelectorAll("[x-on\\:click]")];
  const toggles = clickable.filter((one) => !one.matches(NATIVE) && one.childNodes.length);
  const state = (toggle) => SWITCH.exec(toggle.getAttribute("x-on:click"))?.[1];
  const isOpen = (toggle) => Boolean(Alpine.$data(toggle)[state(toggle)]);
  const menu = (toggle) => document.querySelector(MENUS[state(toggle)] ?? null);
  const CLOSE = "Close the menu";

  /* What it says without the names of its pictures. */
  function label(toggle) {
    const copy = toggle.cloneNode(true);
    for (const picture of copy.querySelectorAll(".material-symbols-outlined, [aria-hidden]")) picture.remove();
    return toggle.matches(".material-symbols-outlined") ? "" : copy.textContent.trim().replace(/\s+/g, " ");
  }

  function name(toggle) {
    if (menu(toggle)?.contains(toggle)) return CLOSE;
    return [NAMES[state(toggle)], label(toggle)].filter(Boolean).join(" ");
  }

  /* A menu shows itself a moment later: as soon as it can, what closes it has the focus, or its
     first item. */
  function enter(within, tries = 30) {
    const stops = [...within.querySelectorAll(STOPS)].filter((one) => one.checkVisibility());
    const first = stops.find((one) => one.ariaLabel === CLOSE) ?? stops[0];
    if (first) first.focus();
    else if (tries) requestAnimationFrame(() => enter(within, tries - 1));
  }

  function leave(toggle) {
    const same = toggles.filter((one) => state(one) === state(toggle) && one.checkVisibility());
    same[0]?.focus();
  }

  function followed(toggle) {
    if (isOpen(toggle)) enter(menu(toggle));
    else requestAnimationFrame(() => leave(toggle));
  }

  for (const toggle of toggles) {
    toggle.role = "button";
    toggle.tabIndex = 0;
    if (name(toggle)) toggle.ariaLabel = name(toggle);
    if (state(toggle)) Alpine.effect(() => { toggle.ariaExpanded = String(isOpen(toggle)); });
    toggle.addEventListener("keydown", (event) => {
      if (event.target !== toggle || !["Enter", " "].includes(event.key)) return;
      event.preventDefault();
      toggle.click();
    });
    toggle.addEventListener("click", (event) => {
      if (event.detail === 0 && menu(toggle)) followed(toggle);
    });
  }

  addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const [open] = toggles.filter((one) => menu(one)?.contains(event.target) && isOpen(one)).reverse();
    open?.click();
  });
});
