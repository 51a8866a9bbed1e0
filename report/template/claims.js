"use strict";
// The table of claims: filter and order; their state lives in the URL:
// #source=exp001&kind=ours&verdict=corrected,contradicted&words=width&sort=verdict
const claims = document.getElementById("claims");
const form = document.getElementById("filter");
const selects = { source: document.getElementById("filter-source"), kind: document.getElementById("filter-kind") };
const words = document.getElementById("filter-words");
const chips = [...form.querySelectorAll(".chip")];
const reset = form.querySelector("[type=reset]");
const body = document.getElementById("claim-rows");
const rows = [...body.children];
const texts = rows.map((row) => row.textContent.toLowerCase());
const heads = [...claims.querySelectorAll("[data-sort]")];
let order = "";

function pressedVerdicts() {
  return chips.filter((chip) => chip.ariaPressed === "true").map((chip) => chip.dataset.verdict);
}

function applyFilter() {
  const verdicts = pressedVerdicts();
  const terms = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  const counts = Object.fromEntries(chips.map((chip) => [chip.dataset.verdict, 0]));
  let shown = 0;
  rows.forEach((row, i) => {
    const candidate = Object.entries(selects).every(([key, select]) => !select.value || row.dataset[key] === select.value)
      && terms.every((term) => texts[i].includes(term));
    const matches = candidate && (!verdicts.length || verdicts.includes(row.dataset.verdict));
    row.hidden = !matches;
    shown += matches;
    counts[row.dataset.verdict] += candidate;
  });
  chips.forEach((chip) => { chip.querySelector(".chip-count").textContent = counts[chip.dataset.verdict]; });
  document.getElementById("filter-count").textContent = `${shown} of ${rows.length} claims`;
  document.getElementById("nothing-left").hidden = shown > 0 || !rows.length;
  reset.hidden = shown === rows.length && !stateHash();
}

// Ranks of a row by the key of a head: verdicts as the chips have them, sources as the page.
const ranks = {
  order: (row, i) => i,
  source: (row) => [...selects.source.options].findIndex((option) => option.value === row.dataset.source),
  verdict: (row) => chips.findIndex((chip) => chip.dataset.verdict === row.dataset.verdict),
};

function applyOrder() {
  const key = order.replace("-", "");
  const sign = order.startsWith("-") ? -1 : 1;
  const rank = new Map(rows.map((row, i) => [row, (ranks[key] ?? ranks.order)(row, i)]));
  const place = new Map(rows.map((row, i) => [row, i]));
  const sorted = [...rows].sort((a, b) => sign * (rank.get(a) - rank.get(b)) || place.get(a) - place.get(b));
  body.append(...sorted);
  heads.forEach((head) => {
    if (key && head.dataset.sort === key) head.setAttribute("aria-sort", sign < 0 ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  });
}

function stateHash() {
  const parts = {
    source: selects.source.value, kind: selects.kind.value, verdict: pressedVerdicts().join(","),
    words: words.value.trim(), sort: order,
  };
  return Object.entries(parts).filter(([, value]) => value)
    .map(([key, value]) => `${key}=${encodeURIComponent(value).replaceAll("%2C", ",")}`).join("&");
}

function writeHash() {
  if (claims.getBoundingClientRect().top < 0) claims.scrollIntoView();
  try {
    history.replaceState(null, "", `#${stateHash() || "claims"}`);
  } catch { /* a browser that forbids it on file:// keeps the old address */ }
}

function onFilter() {
  applyFilter();
  writeHash();
}

function readHash() {
  const hash = location.hash.slice(1);
  if (!/^(source|kind|verdict|words|sort)=/.test(hash)) return;
  const state = new URLSearchParams(hash);
  const verdicts = (state.get("verdict") ?? "").split(",");
  words.value = state.get("words") ?? "";
  for (const [key, select] of Object.entries(selects)) {
    select.value = state.get(key) ?? "";
    if (select.selectedIndex < 0) select.value = "";
  }
  chips.forEach((chip) => { chip.ariaPressed = String(verdicts.includes(chip.dataset.verdict)); });
  const wanted = state.get("sort") ?? "";
  order = heads.some((head) => head.dataset.sort === wanted.replace("-", "")) ? wanted : "";
  applyOrder();
  applyFilter();
  claims.scrollIntoView();
}

for (const head of heads) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = head.textContent;
  head.replaceChildren(button);
  button.addEventListener("click", () => {
    const key = head.dataset.sort;
    order = order === key ? `-${key}` : order === `-${key}` ? "" : key;
    applyOrder();
    onFilter();
  });
}

form.hidden = false;
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", onFilter);
form.addEventListener("reset", () => {
  chips.forEach((chip) => { chip.ariaPressed = "false"; });
  order = "";
  applyOrder();
  setTimeout(() => { onFilter(); selects.source.focus(); });
});
chips.forEach((chip) => chip.addEventListener("click", () => {
  chip.ariaPressed = String(chip.ariaPressed !== "true");
  onFilter();
}));
addEventListener("hashchange", readHash);
readHash();
