// Run inside a page: an array of sentences about what somebody with a screen reader, a keyboard or weak eyes would miss.
() => {
  const found = [];
  const say = (what, el) => found.push(what + ": " + (el ? el.outerHTML.slice(0, 140) : ""));
  const shown = (el) => el.getClientRects().length > 0 && getComputedStyle(el).visibility !== "hidden";
  const nameOf = (el) => (el.getAttribute("aria-label") || [...(el.labels || [])].map((l) => l.textContent).join(" ") || el.textContent || el.getAttribute("title") || "").trim();
  for (const el of document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary")) if (shown(el) && !nameOf(el)) say("no name", el);
  const ids = {}; for (const el of document.querySelectorAll("[id]")) { if (ids[el.id]) say("id twice", el); ids[el.id] = 1; }
  for (const el of document.querySelectorAll("[aria-describedby], [aria-labelledby], [list], label[for]")) for (const a of ["aria-describedby", "aria-labelledby", "list", "for"]) for (const id of (el.getAttribute(a) || "").split(" ").filter(Boolean)) if (!document.getElementById(id)) say(a + " leads nowhere", el);
  if (document.querySelectorAll("main").length !== 1) say("not one main");
  if (document.querySelectorAll("h1").length !== 1) say("not one h1: " + document.querySelectorAll("h1").length);
  let last = 0; for (const h of document.querySelectorAll("h1,h2,h3,h4")) { const n = +h.tagName[1]; if (n > last + 1) say("heading skipped", h); last = n; }
  for (const el of document.querySelectorAll("nav")) if (!el.getAttribute("aria-label")) say("nav without name", el);
  for (const t of document.querySelectorAll("table.list")) for (const th of t.querySelectorAll("th")) if (shown(th) && !th.textContent.trim()) say("empty th", th);
  for (const s of document.querySelectorAll(".scroll, pre")) if (shown(s) && (s.scrollWidth > s.clientWidth + 1 || s.scrollHeight > s.clientHeight + 1) && s.tabIndex < 0 && !s.querySelector("a,button,input")) say("scrolls but no keyboard", s);
  const rgb = (t) => { const m = t.match(/[\d.]+/g).map(Number); if (t.startsWith("color(srgb")) return [m[0]*255, m[1]*255, m[2]*255, m[3] ?? 1]; return [m[0], m[1], m[2], m[3] ?? 1]; };
  const lum = (c) => { const v = c.slice(0, 3).map((x) => { x /= 255; return x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4; }); return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
  const over = (a, b) => a.slice(0, 3).map((x, i) => x * a[3] + b[i] * (1 - a[3]));
  const back = (el) => { const layers = []; for (let e = el; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] > 0) { layers.push(c); if (c[3] >= 1) break; } } let base = [255, 255, 255]; for (const c of layers.reverse()) base = over(c, base); return base; };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT); const seen = new Set();
  while (walk.nextNode()) { const el = walk.currentNode.parentElement; if (!walk.currentNode.textContent.trim() || seen.has(el) || !shown(el) || el.closest("[aria-disabled=true], .visually-hidden, .skip, script, datalist, option")) continue; seen.add(el);
    const b = back(el), f = over(rgb(getComputedStyle(el).color), b); const [x, y] = [lum(f), lum(b)].sort((p, q) => q - p); const r = (x + .05) / (y + .05); if (r < 4.5) say("contrast " + r.toFixed(2), el); }
  return found;
}
