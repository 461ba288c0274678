// Turns the drawing of a Wulff shape. It is convex: the faces that look away are hidden, no more is needed.
"use strict";

const LIGHT = [0.55, 0.25, 0.80].map((x) => x / Math.hypot(0.55, 0.25, 0.80));
const SVG = "http://www.w3.org/2000/svg";
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];

// Rows: to the right, upwards, to the eye.
function seenFrom(elevation, azimuth) {
  const [e, a] = [elevation, azimuth].map((degrees) => degrees * Math.PI / 180);
  const eye = [Math.cos(e) * Math.cos(a), Math.cos(e) * Math.sin(a), Math.sin(e)];
  const right = [-Math.sin(a), Math.cos(a), 0];
  return [right, cross(eye, right), eye];
}

function turned([right, up, eye], sideways, upwards) {
  const mix = (a, b, angle) => a.map((x, n) => x * Math.cos(angle) + b[n] * Math.sin(angle));
  const newRight = mix(right, eye, sideways);
  const across = mix(eye, right, -sideways);
  return [newRight, mix(up, across, upwards), mix(across, up, -upwards)];
}

function start(figure) {
  const stage = figure.querySelector(".stage");
  const svg = stage.querySelector("svg");
  const VIEWS = { side: seenFrom(22, 32), top: seenFrom(90, -90) };
  let view = VIEWS.side;
  let faces = [];

  function polygon(name, points) {
    const made = document.createElementNS(SVG, "polygon");
    made.setAttribute("class", name);
    made.setAttribute("points", points);
    return made;
  }

  function draw() {
    const [right, up, eye] = view;
    // the light stays with the eye
    const first = VIEWS.side;
    const light = [0, 1, 2].map((n) => first.reduce((sum, axis, k) => sum + dot(LIGHT, axis) * view[k][n], 0));
    const parts = [];
    for (const { corners, normal, colour } of faces) {
      if (dot(normal, eye) <= 1e-6) continue;
      const points = corners.map((c) => `${dot(c, right).toFixed(3)},${(-dot(c, up)).toFixed(3)}`).join(" ");
      const shade = polygon("shade", points);
      shade.setAttribute("fill-opacity", (0.34 * (1 - Math.max(0, dot(normal, light)))).toFixed(3));
      parts.push(polygon(`face f${colour}`, points), shade);
    }
    svg.replaceChildren(...parts);
  }

  function read() {
    faces = JSON.parse(figure.querySelector("script[type='application/json']").textContent).faces;
    draw();
  }

  function turn(sideways, upwards) { view = turned(view, sideways, upwards); draw(); }

  stage.addEventListener("pointerdown", (event) => { stage.setPointerCapture(event.pointerId); });
  stage.addEventListener("pointermove", (event) => {
    if (stage.hasPointerCapture(event.pointerId)) turn(-event.movementX / 120, event.movementY / 120);
  });
  stage.addEventListener("keydown", (event) => {
    const turns = { ArrowLeft: [0.17, 0], ArrowRight: [-0.17, 0], ArrowUp: [0, -0.17], ArrowDown: [0, 0.17] };
    if (!turns[event.key]) return;
    event.preventDefault();
    turn(...turns[event.key]);
  });
  const controls = figure.querySelector(".controls");
  controls.hidden = false;
  controls.addEventListener("click", (event) => {
    if (VIEWS[event.target.dataset.turn]) { view = VIEWS[event.target.dataset.turn]; draw(); }
  });
  figure.addEventListener("redraw", read);
  read();
}

for (const figure of document.querySelectorAll(".viewer[data-kind=shape]")) start(figure);
