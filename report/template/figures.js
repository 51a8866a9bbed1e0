"use strict";
// Figures, enlarged: a button on each, + and - and 0 for its size, n and p for the next and the one before.
const zoom = document.getElementById("zoom");
const stage = zoom.querySelector(".stage");
const zoomed = [...document.querySelectorAll("main figure")].filter((figure) => figure.querySelector(".zoomable > *, :scope > img"));
let at = -1;
let size = 1;
let home = null; // what a figure's picture is put back before

function putBack() {
  if (!home) return;
  const picture = stage.firstElementChild;
  picture.style.width = picture.dataset.width;
  home.replaceWith(picture);
  home = null;
}

function resize(factor) {
  size = factor ? Math.min(8, Math.max(0.25, size * factor)) : 1;
  const picture = stage.firstElementChild;
  const natural = Number(picture.dataset.ratio);
  picture.style.width = "0"; // no scroll bar takes part of the stage
  const fit = Math.min(stage.clientWidth, stage.clientHeight * natural);
  picture.style.width = `${fit * size}px`;
}

function enlarge(index) {
  putBack();
  at = (index + zoomed.length) % zoomed.length;
  const figure = zoomed[at];
  const picture = figure.querySelector(".zoomable > .plot, :scope > img");
  const box = picture.getBoundingClientRect();
  picture.dataset.width = picture.style.width;
  picture.dataset.ratio = box.width / box.height;
  home = document.createElement("span");
  picture.replaceWith(home);
  stage.replaceChildren(picture);
  zoom.querySelector(".zoom-caption").textContent = figure.querySelector("figcaption").textContent;
  if (!zoom.open) zoom.showModal();
  resize(0);
  stage.focus();
}

const zoomKeys = {
  in: () => resize(1.25), out: () => resize(0.8), fit: () => resize(0),
  previous: () => enlarge(at - 1), next: () => enlarge(at + 1), close: () => zoom.close(),
};
const keyNames = { "+": "in", "=": "in", "-": "out", 0: "fit", p: "previous", n: "next" };

zoomed.forEach((figure, index) => {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "enlarge";
  button.textContent = "Enlarge";
  button.setAttribute("aria-label", `Enlarge: ${figure.querySelector("figcaption").textContent.slice(0, 60)}`);
  button.addEventListener("click", () => enlarge(index));
  figure.append(button);
});
zoom.addEventListener("click", (event) => {
  const name = event.target.closest("[data-zoom]")?.dataset.zoom;
  if (name) zoomKeys[name]();
});
zoom.addEventListener("keydown", (event) => {
  const name = event.ctrlKey || event.metaKey || event.altKey ? undefined : keyNames[event.key];
  if (!name) return;
  event.preventDefault();
  zoomKeys[name]();
});
zoom.addEventListener("close", () => {
  putBack();
  zoomed[at].querySelector(".enlarge").focus();
});
addEventListener("resize", () => { if (zoom.open) resize(0); });

// Animations that come as frames: a slider and a play button.
for (const frames of document.querySelectorAll(".frames")) {
  const images = [...frames.children];
  const player = document.createElement("div");
  player.className = "player";
  player.innerHTML = '<button type="button">Play</button><input type="range" min="0" value="0" aria-label="Frame"><span></span>';
  const [button, slider, count] = player.children;
  let timer = 0;
  const show = (i) => {
    images.forEach((image, j) => { image.hidden = i !== j; });
    slider.value = i;
    slider.setAttribute("aria-valuetext", `frame ${i + 1} of ${images.length}`);
    count.textContent = `${i + 1} / ${images.length}`;
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
