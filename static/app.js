// What pages gain with JavaScript: a theme switch, copy buttons, a key for the find box, and htmx's manners.
"use strict";
(() => {
  const root = document.documentElement;
  const token = () => document.querySelector('meta[name="csrf-token"]').content;

  // --- theme: a cookie, so that the server can write it into the page and nothing flashes

  const cookiePath = new URL(document.querySelector('link[rel="stylesheet"]').href).pathname.replace(/static\/.*$/, "");
  const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const setTheme = (theme) => {
    root.dataset.theme = theme;
    const path = cookiePath.replace(/(.)\/$/, "$1");
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `projectionist_theme=${theme}; Path=${path}; Max-Age=31536000; SameSite=Lax${secure}`;
  };

  // --- copying

  const copy = async (button) => {
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Can’t copy here";
    }
    setTimeout(() => { button.textContent = before; }, 1500);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy], [data-theme-toggle]");
    if (!button) return;
    if ("copy" in button.dataset) copy(button);
    else setTheme(isDark() ? "light" : "dark");
  });

  const reveal = (within) => {
    for (const button of within.querySelectorAll("[data-copy][hidden], [data-theme-toggle][hidden]")) button.hidden = false;
  };
  reveal(document);

  // --- on a narrow screen the links are one row that scrolls: bring the present one into view

  const row = document.querySelector(".sidebar nav");
  const here = row?.querySelector("[aria-current]");
  if (here && row.scrollWidth > row.clientWidth) row.scrollLeft = here.offsetLeft - row.offsetLeft - 60;

  // --- keys

  document.addEventListener("keydown", (event) => {
    const find = document.querySelector("[data-find]");
    const isTyping = event.target.closest("input, textarea, select, [contenteditable]");
    const isSlash = event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && !isTyping;
    const isK = event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey);
    if (!find || !(isSlash || isK)) return;
    event.preventDefault();
    find.focus();
    find.select();
  });

  // --- the store switcher closes when one clicks elsewhere or presses Escape

  const closeSwitcher = () => { for (const open of document.querySelectorAll("details.switcher[open]")) open.open = false; };
  document.addEventListener("click", (event) => { if (!event.target.closest("details.switcher")) closeSwitcher(); });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") closeSwitcher(); });

  // --- htmx: every request that may change something carries the token; answers that aren't the page asked for don't go in

  const say = (text) => {
    const notice = document.createElement("div");
    notice.className = "notice late";
    notice.textContent = text;
    document.getElementById("notices").replaceChildren(notice);
  };
  document.addEventListener("htmx:config:request", (event) => {
    const asked = event.detail.ctx.request;
    if (!["GET", "HEAD"].includes(asked.method.toUpperCase())) asked.headers["X-CSRF-Token"] = token();
  });
  document.addEventListener("htmx:before:response", (event) => {
    const { response, request, sourceElement } = event.detail.ctx;
    const landed = new URL(response.raw.url || location.href);
    if (response.raw.redirected && landed.pathname.endsWith("/login")) {
      event.preventDefault();
      location.reload();
    } else if (response.raw.redirected && request.method.toUpperCase() !== "GET") {
      event.preventDefault();
      location.assign(landed);
    } else if (response.status >= 400) {
      event.preventDefault();
      // A link or a filter that was followed: its page says best what is wrong, beside what was typed.
      if (sourceElement?.hasAttribute("hx-push-url")) location.assign(landed);
      else say(response.status === 503 ? "The page can’t be refreshed just now. It tries again by itself, or reload it." : "That didn’t work. Reload the page to see how things stand.");
    }
  });
  document.addEventListener("htmx:error", () => say("The dashboard can’t be reached just now. Reload the page in a moment."));
  document.addEventListener("htmx:after:swap", () => reveal(document));
})();
