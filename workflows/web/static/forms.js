// Leaves empty fields out of the address, so that it can be read and passed on.
"use strict";
for (const form of document.querySelectorAll("form[method=get]")) {
  form.addEventListener("submit", () => {
    const empty = [...form.elements].filter((field) => field.name && field.value === "");
    for (const field of empty) field.disabled = true;
    // the browser's way back shows the form as it was
    setTimeout(() => { for (const field of empty) field.disabled = false; }, 0);
  });
}
