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

// Filter of the claims; its state lives in the URL: #source=exp001&verdict=corrected,contradicted&words=width
const claims = document.getElementById("claims");
const form = document.getElementById("filter");
const source = document.getElementById("filter-source");
const words = document.getElementById("filter-words");
const chips = [...form.querySelectorAll(".chip")];
const reset = form.querySelector("[type=reset]");
const rows = [...document.querySelectorAll("#claim-rows > tr")];
const texts = rows.map((row) => row.textContent.toLowerCase());

function pressedVerdicts() {
  return chips.filter((chip) => chip.ariaPressed === "true").map((chip) => chip.dataset.verdict);
}

function applyFilter() {
  const verdicts = pressedVerdicts();
  const terms = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  const counts = Object.fromEntries(chips.map((chip) => [chip.dataset.verdict, 0]));
  let shown = 0;
  rows.forEach((row, i) => {
    const candidate = (!source.value || row.dataset.source === source.value)
      && terms.every((term) => texts[i].includes(term));
    const matches = candidate && (!verdicts.length || verdicts.includes(row.dataset.verdict));
    row.hidden = !matches;
    shown += matches;
    counts[row.dataset.verdict] += candidate;
  });
  chips.forEach((chip) => { chip.querySelector(".chip-count").textContent = counts[chip.dataset.verdict]; });
  document.getElementById("filter-count").textContent = `${shown} of ${rows.length} claims`;
  document.getElementById("nothing-left").hidden = shown > 0 || !rows.length;
  reset.hidden = shown === rows.length && !filterHash();
}

function filterHash() {
  const parts = { source: source.value, verdict: pressedVerdicts().join(","), words: words.value.trim() };
  return Object.entries(parts).filter(([, value]) => value)
    .map(([key, value]) => `${key}=${encodeURIComponent(value).replaceAll("%2C", ",")}`).join("&");
}

function onFilter() {
  applyFilter();
  if (claims.getBoundingClientRect().top < 0) claims.scrollIntoView();
  try {
    history.replaceState(null, "", `#${filterHash() || "claims"}`);
  } catch { /* a browser that forbids it on file:// keeps the old address */ }
}

function readHash() {
  const hash = location.hash.slice(1);
  if (!/^(source|verdict|words)=/.test(hash)) return;
  const state = new URLSearchParams(hash);
  const verdicts = (state.get("verdict") ?? "").split(",");
  source.value = state.get("source") ?? "";
  words.value = state.get("words") ?? "";
  if (source.selectedIndex < 0) source.value = "";
  chips.forEach((chip) => { chip.ariaPressed = String(verdicts.includes(chip.dataset.verdict)); });
  applyFilter();
  claims.scrollIntoView();
}

form.hidden = false;
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", onFilter);
form.addEventListener("reset", () => {
  chips.forEach((chip) => { chip.ariaPressed = "false"; });
  setTimeout(() => { onFilter(); source.focus(); });
});
chips.forEach((chip) => chip.addEventListener("click", () => {
  chip.ariaPressed = String(chip.ariaPressed !== "true");
  onFilter();
}));
addEventListener("hashchange", readHash);
readHash();

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

// Animations that come as frames: a slider and a play button.
for (const frames of document.querySelectorAll(".frames")) {
  const images = [...frames.children];
  const player = document.createElement("div");
  player.className = "player";
  player.innerHTML = '<button type="button">Play</button><input type="range" min="0" value="0" aria-label="Frame">';
  const [button, slider] = player.children;
  let timer = 0;
  const show = (i) => {
    images.forEach((image, j) => { image.hidden = i !== j; });
    slider.value = i;
  };
  slider.max = images.length - 1;
  slider.addEventListener("input", () => show(slider.valueAsNumber));
  button.addEventListener("click", () => {
    clearInterval(timer);
    timer = timer ? 0 : setInterval(() => show((slider.valueAsNumber + 1) % images.length), 200);
    button.textContent = timer ? "Pause" : "Play";
  });
  frames.after(player);
  show(0);
}

// Paper has nothing to click: print with everything unfolded.
let unfolded = [];
addEventListener("beforeprint", () => {
  unfolded = [...document.querySelectorAll("main details:not([open])")];
  unfolded.forEach((details) => { details.open = true; });
});
addEventListener("afterprint", () => unfolded.forEach((details) => { details.open = false; }));
