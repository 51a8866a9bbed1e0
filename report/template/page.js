"use strict";
// Everything here is a convenience: without it the page is complete, with plain tables.

const root = document.documentElement;

// Theme: auto, light, dark. Storage may be refused on file://, then the choice lasts for this view.
const themes = ["auto", "light", "dark"];
const themeButton = document.getElementById("theme");
function showTheme(name) {
  root.dataset.theme = name;
  themeButton.textContent = `Theme: ${name}`;
}
showTheme(themes.includes(root.dataset.theme) ? root.dataset.theme : "auto");
themeButton.hidden = false;
themeButton.addEventListener("click", () => {
  showTheme(themes[(themes.indexOf(root.dataset.theme) + 1) % themes.length]);
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* no storage */ }
});

// Contents: folded on narrow screens, marking the section in view on wide ones.
const contents = document.querySelector(".contents");
const wide = matchMedia("(min-width: 70rem)");
const foldContents = () => { contents.querySelector("details").open = wide.matches; };
foldContents();
wide.addEventListener("change", foldContents);
contents.addEventListener("click", (event) => {
  if (event.target.closest("a")) foldContents();
});
const links = new Map([...contents.querySelectorAll("a")].map((a) => [a.hash.slice(1), a]));
const inView = new Set();
const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    inView[isIntersecting ? "add" : "delete"](target.id);
  }
  const current = [...links.keys()].find((id) => inView.has(id));
  links.forEach((link, id) => {
    if (id === current) link.setAttribute("aria-current", "location");
    else link.removeAttribute("aria-current");
  });
  const link = links.get(current);
  if (!link || !wide.matches) return;
  const top = link.offsetTop - contents.clientHeight / 2;
  if (Math.abs(contents.scrollTop - top) > contents.clientHeight / 3) contents.scrollTop = top;
}, { rootMargin: "-10% 0px -70%" });
links.forEach((_, id) => observer.observe(document.getElementById(id)));

// Paper has nothing to click: print with everything unfolded.
let unfolded = [];
addEventListener("beforeprint", () => {
  unfolded = [...document.querySelectorAll("main details:not([open])")];
  unfolded.forEach((details) => { details.open = true; });
});
addEventListener("afterprint", () => unfolded.forEach((details) => { details.open = false; }));
