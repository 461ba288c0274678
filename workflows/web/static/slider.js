// Shows the Wulff shape and its values while the slider of the chemical potential moves.
"use strict";
for (const form of document.querySelectorAll("form[data-slider]")) {
  const slider = form.elements.dmu;
  form.querySelector("button").hidden = true;
  slider.step = slider.dataset.step;
  let waiting = null;
  let newest = 0;

  async function show() {
    const number = ++newest;
    const address = new URL(location.href);
    address.searchParams.set("dmu", Number(slider.value).toFixed(4));
    const answer = await fetch(address, { headers: { accept: "text/html" } });
    if (!answer.ok || number !== newest) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const here = document.getElementById("at-potential");
    const there = page.getElementById("at-potential");
    // all but the first section, whose view and slider stay
    const [kept, ...old] = here.querySelectorAll(":scope > section");
    const [first, ...sections] = there.querySelectorAll(":scope > section");
    if (sections.length !== old.length) return;
    old.forEach((section, place) => section.replaceWith(sections[place]));
    const data = "script[type='application/json']";
    const figure = kept.querySelector(".viewer");
    if (figure && first.querySelector(data)) {
      figure.querySelector(data).textContent = first.querySelector(data).textContent;
      figure.dispatchEvent(new Event("redraw"));
    }
    history.replaceState(null, "", address);
  }

  slider.addEventListener("input", () => {
    form.querySelector("output").textContent = Number(slider.value).toFixed(3).replace("-", "\u2212");
    clearTimeout(waiting);
    waiting = setTimeout(() => show().catch(() => {}), 80);  // a server that ended shows nothing new
  });
}
