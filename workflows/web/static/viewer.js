// Slabs in three dimensions with 3Dmol. Where WebGL is missing the server's drawings stay.
"use strict";

function hasWebGL() {
  try {
    const canvas = document.createElement("canvas");
    return Boolean(canvas.getContext("webgl2") || canvas.getContext("webgl"));
  } catch { return false; }
}

function named(name) { return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim(); }

const colour = (number) => named(`c${number}`);
const ink = () => named("quiet");

// 3Dmol looks along -z with y upwards; the normal of a slab, z, becomes upright.
function upright([x, y, z]) { return { x, y: z, z: -y }; }

function drawSlab(viewer, data, shown) {
  const slab = data.slabs[shown] ?? Object.values(data.slabs)[0];
  const atoms = slab.symbols.map((elem, index) => ({ elem, serial: index, ...upright(slab.positions[index]), bonds: [], bondOrder: [] }));
  const model = viewer.addModel();
  model.addAtoms(atoms);
  for (const elem of new Set(slab.symbols)) {
    model.setStyle({ elem }, { sphere: { radius: 1.25, color: colour(data.colours[elem]) } });
  }
  const [a, b, c] = slab.cell;
  const corner = (i, j, k) => upright([0, 1, 2].map((axis) => i * a[axis] + j * b[axis] + k * c[axis]));
  for (const [i, j, k] of [[0, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]]) {
    for (const [u, v, w] of [[1 - i, j, k], [i, 1 - j, k], [i, j, 1 - k]]) {
      viewer.addLine({ start: corner(i, j, k), end: corner(u, v, w), color: ink() });
    }
  }
}

// A slab's cell is mostly vacuum, which may lie outside the view.
const ZOOM = 1.5;

function start(figure) {
  const stage = figure.querySelector(".stage");
  const read = () => JSON.parse(figure.querySelector("script[type='application/json']").textContent);
  stage.hidden = false;
  const viewer = $3Dmol.createViewer(stage, { disableFog: true, orthographic: true });
  const chosen = () => figure.querySelector("input[type=radio]:checked")?.value;

  function draw(keep) {
    const view = viewer.getView();
    viewer.setBackgroundColor(named("paper"));
    viewer.removeAllModels();
    viewer.removeAllShapes();
    drawSlab(viewer, read(), chosen());
    if (keep) viewer.setView(view); else look("side");
    viewer.render();
    figure.dataset.drawn = String(Number(figure.dataset.drawn ?? 0) + 1);
  }

  function look(from) {
    viewer.setView([0, 0, 0, 0, 0, 0, 0, 1]);
    viewer.zoomTo();
    viewer.zoom(ZOOM);
    if (from === "top") viewer.rotate(90, "x");
    else { viewer.rotate(-25, "y"); viewer.rotate(14, "x"); }
    viewer.render();
  }

  figure.querySelector(".drawings").hidden = true;
  figure.querySelector(".hint").hidden = false;
  const controls = figure.querySelector(".controls");
  controls.hidden = false;
  controls.addEventListener("change", () => draw(true));
  controls.addEventListener("click", (event) => { if (event.target.dataset.turn) look(event.target.dataset.turn); });
  stage.addEventListener("keydown", (event) => {
    const turns = { ArrowLeft: [-10, "y"], ArrowRight: [10, "y"], ArrowUp: [-10, "x"], ArrowDown: [10, "x"] };
    if (turns[event.key]) viewer.rotate(...turns[event.key]);
    else if (event.key === "+" || event.key === "=") viewer.zoom(1.2);
    else if (event.key === "-") viewer.zoom(1 / 1.2);
    else return;
    event.preventDefault();
    viewer.render();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(true));
  new ResizeObserver(() => viewer.resize()).observe(stage);
  draw(false);
}

if (window.$3Dmol && hasWebGL()) {
  for (const figure of document.querySelectorAll(".viewer[data-kind=slab]")) {
    try { start(figure); } catch (error) {
      // the drawings stand in for the view
      figure.querySelector(".stage").hidden = true;
      figure.querySelector(".drawings").hidden = false;
      figure.querySelector(".controls").hidden = true;
    }
  }
}
