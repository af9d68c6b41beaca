// Opens the panel of a page that helpers/course/panels.py made for a notebook; the last of its scripts.
"use strict";

{
  const box = document.querySelector(".dlm-framed"), {panel} = box.dataset;
  let light = !matchMedia("(prefers-color-scheme: dark)").matches;
  try {
    light = (parent.document.body.dataset.jpThemeLight ?? String(light)) === "true";       // JupyterLab says its own
  } catch { /* a page from elsewhere holds the frame */ }
  document.documentElement.dataset.theme = light ? "light" : "dark";
  const place = dlm.make("div", {role: "group", "aria-label": document.title});
  box.append(dlm.make("p", {class: "dlm-title"}, document.title), place);
  dlm.panels[panel](place).catch(error => {
    place.replaceChildren(dlm.make("p", {role: "status"}, `The panel does not work here: ${error.message}.`));
  });
  new ResizeObserver(() => {                                   // the frame is as high as the panel
    if (frameElement) frameElement.style.height = `${Math.ceil(box.getBoundingClientRect().height)}px`;
  }).observe(box);
}
