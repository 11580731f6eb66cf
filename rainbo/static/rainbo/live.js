/* Refreshes the part of a page that is marked data-live, in place. Without this file the page is
   whole, as of its loading.

   data-url: where the part comes from; data-every: milliseconds; data-over: the text that ends it;
   data-tag: its ETag, so that a part that did not change is answered by 304.
   Inside it: data-live-news, whose text is read out when the attribute's value changes;
   data-live-search, a form that is answered as it is typed. */
(() => {
  "use strict";
  const TIMEOUT = 10000, TYPED = 300;
  const root = document.querySelector("[data-live]");
  if (!root || root.dataset.over) return;
  const every = Number(root.dataset.every);
  const tools = document.getElementById("live-tools");
  const refreshed = document.getElementById("live-refreshed");
  const status = document.getElementById("live-status");
  const news = document.getElementById("live-news");
  const pause = document.getElementById("live-pause");
  let timer = 0, paused = false, ended = false, lost = false, asked = 0;

  const AGAIN = "The server answers again.";

  /* Said once, not at every refresh: a screen reader reads it out. */
  function say(text, state = "") {
    tools.dataset.state = state;
    if (status.textContent !== text) status.textContent = text;
  }

  const sentence = () => root.querySelector("[data-live-news]")?.textContent ?? "";
  const turn = () => root.querySelector("[data-live-news]")?.dataset.liveNews ?? "";

  /* Make `was` like `is`, in place: what stays keeps its focus, its scroll and what is typed. */
  function morph(was, is) {
    for (const { name } of [...was.attributes]) {
      if (!is.hasAttribute(name) && name !== "open") was.removeAttribute(name);
    }
    for (const { name, value } of is.attributes) {
      if (was.getAttribute(name) !== value) was.setAttribute(name, value);
    }
    const wanted = new Set([...is.children].map((child) => child.dataset.key).filter(Boolean));
    const kept = new Map();
    for (const child of [...was.children]) {
      const key = child.dataset.key;
      if (!key) continue;
      if (wanted.has(key)) kept.set(key, child);
      else child.remove();
    }
    let at = was.firstChild;
    for (const child of [...is.childNodes]) {
      const key = child.dataset?.key;
      const same = key ? kept.get(key) : alike(at, child) ? at : null;
      if (!same) { was.insertBefore(child, at); continue; }
      if (same !== at) was.insertBefore(same, at);
      if (same.nodeType !== Node.ELEMENT_NODE) {
        if (same.data !== child.data) same.data = child.data;
      } else if (same.tagName !== "INPUT") morph(same, child);
      at = same.nextSibling;
    }
    while (at) { const next = at.nextSibling; at.remove(); at = next; }
  }

  const alike = (was, is) => was && was.nodeName === is.nodeName && !was.dataset?.key;

  function show(html) {
    const next = new DOMParser().parseFromString(html, "text/html").getElementById(root.id);
    if (!next) throw new Error("no such part");
    const focused = document.activeElement, before = turn();
    morph(root, next);
    if (focused !== document.activeElement) again(focused)?.focus({ preventScroll: true });
    if (turn() !== before) news.textContent = sentence();
    same(root.dataset.refreshed);
    if (root.dataset.over) finish(root.dataset.over);
  }

  /* What had the focus; of a link that is now in another list, the one that leads to the same. */
  function again(was) {
    if (was.isConnected) return was;
    const href = was.getAttribute("href");
    return href && root.querySelector(`a[href="${CSS.escape(href)}"]`);
  }

  /* What is shown was seen to be so at this time. */
  function same(at) {
    refreshed.textContent = root.dataset.refreshed = at;
    if (lost) say(AGAIN);
    else if (status.textContent === AGAIN) say("");
    lost = false;
  }

  async function refresh() {
    clearTimeout(timer);
    if (ended || paused || document.hidden) return;
    const mine = ++asked;
    try {
      const answer = await fetch(root.dataset.url + location.search, {
        headers: { "X-Rainbo-Refresh": "1", "If-None-Match": root.dataset.tag ?? "" }, redirect: "manual", cache: "no-store",
        signal: AbortSignal.timeout(TIMEOUT),
      });
      if (mine !== asked) return;
      if (answer.status === 304) {
        if (!paused) same(answer.headers.get("X-Rainbo-Refreshed"));
        timer = setTimeout(refresh, every);
        return;
      }
      if (answer.type === "opaqueredirect" || answer.status === 401 || answer.status === 403) return end();
      if (!answer.ok) throw new Error(String(answer.status));
      const html = await answer.text();
      if (mine !== asked) return;
      if (!paused) show(html);
    } catch {
      if (mine !== asked) return;
      lost = true;
      say(`The server has not answered since ${root.dataset.refreshed}: trying again.`, "lost");
    }
    timer = setTimeout(refresh, every);
  }

  function finish(text, state = "") {
    ended = true;
    pause.hidden = true;
    say(text, state);
  }

  function end() {
    finish("Your session has ended. This page is no longer refreshed. ", "lost");
    const link = document.createElement("a");
    link.className = "link";
    link.href = location.pathname + location.search;
    link.textContent = "Sign in again";
    status.append(link);
  }

  /* A search as it is typed: the address says it, so that it can be sent to a colleague. */
  let typed = 0;
  root.addEventListener("input", (event) => {
    const term = event.target.closest("[data-live-search] input");
    if (!term) return;
    clearTimeout(typed);
    typed = setTimeout(() => {
      const query = new URLSearchParams(location.search);
      if (term.value.trim()) query.set(term.name, term.value.trim());
      else query.delete(term.name);
      history.replaceState(null, "", `${location.pathname}${query.size ? `?${query}` : ""}`);
      refresh();
    }, TYPED);
  });

  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Resume" : "Pause";
    say(paused ? "Refreshing is paused: what you see is as of then." : "", paused ? "paused" : "");
    refresh();
  });
  document.addEventListener("visibilitychange", refresh);

  tools.hidden = false;
  document.getElementById("live-still")?.remove();
  timer = setTimeout(refresh, every);
})();
