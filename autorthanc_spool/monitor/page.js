"use strict";
// The page says how old it is, turns red when nobody writes it, and fetches itself again.
const STALE_S = 90, RELOAD_S = 10;
const root = document.documentElement, age = document.getElementById("age"), hold = document.getElementById("hold");
let held = false, next = RELOAD_S;
try { held = sessionStorage.getItem("held") === "1"; } catch { /* storage may be switched off */ }
function show() {
  const seconds = Math.max(0, Math.round(Date.now() / 1000 - Number(root.dataset.time)));
  const stale = seconds > STALE_S;
  age.textContent = seconds < 120 ? `(${seconds} s ago)` : `(${Math.round(seconds / 60)} min ago)`;
  root.classList.toggle("stale", stale);
  if (stale) {
    const text = "Stale: no processor writes this page";
    const title = document.querySelector("h1");
    if (title.textContent !== text) title.textContent = text;
    document.title = text;
  }
  hold.textContent = held ? "Go on reloading" : "Pause reloading";
}
async function reload() {
  if (location.protocol === "file:") { location.reload(); return; }
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (!answer.ok) return;
    const found = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!found.documentElement.dataset.time) return;
    root.className = found.documentElement.className;
    root.dataset.time = found.documentElement.dataset.time;
    document.title = found.title;
    for (const part of ["h1", ".sum", "time", "main"]) {
      const here = document.querySelector(part), there = found.querySelector(part);
      if (here.innerHTML !== there.innerHTML) here.innerHTML = there.innerHTML;
    }
  } catch { /* whoever serves it is away: what is shown grows old, and turns red */ }
  show();
}
hold.hidden = false;
hold.addEventListener("click", () => {
  held = !held;
  try { sessionStorage.setItem("held", held ? "1" : "0"); } catch { /* as above */ }
  show();
});
show();
setInterval(() => {
  show();
  next -= 1;
  if (next <= 0) { next = RELOAD_S; if (!held) reload(); }
}, 1000);
