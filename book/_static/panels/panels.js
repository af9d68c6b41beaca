// Panels that answer the reader's own input. This small script puts a button where a panel belongs; the panel's own
// scripts and weights are loaded when the reader presses it, as scripts: a page opened from a disk may load nothing else.
"use strict";

const dlm = {panels: {}, models: {}, packed: {}};          // what the other scripts add to
dlm.weights = (name, facts, arrays, text) => { dlm.packed[name] = {facts, arrays, text}; };

// An element with its attributes and children; text is always set as text, so that no input is ever read as HTML.
dlm.make = (tag, attributes = {}, ...children) => {
  const element = tag.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

dlm.percent = share => `${Math.round(100 * share)} %`;

{
  const folder = new URL(".", document.currentScript.src || document.baseURI);
  const loaded = {};                                       // file -> promise: two panels may share a script
  const load = file => loaded[file] ??= new Promise((done, fail) => {
    const tag = dlm.make("script", {src: new URL(file, folder)});
    tag.onload = done;
    tag.onerror = () => { delete loaded[file]; tag.remove(); fail(new Error(`${file} could not be loaded`)); };
    document.head.append(tag);
  });

  for (const box of document.querySelectorAll(".dlm-panel[data-scripts]")) {
    const {panel, title, size, scripts} = box.dataset;
    const button = dlm.make("button", {type: "button", class: "dlm-open"}, `Open the panel: ${title}`);
    const line = dlm.make("p", {class: "dlm-line", role: "status"},
      `It loads less than ${size} from this book. It works in your browser alone: nothing that you enter leaves it.`);
    box.replaceChildren(button, line);
    button.addEventListener("click", async () => {
      button.disabled = true;
      line.textContent = "Loading …";
      try {
        for (const file of scripts.split(" ")) await load(file);
        const place = dlm.make("div", {role: "group", "aria-label": title});
        box.append(place);                                 // so that the panel knows how wide it may be
        await dlm.panels[panel](place);
        box.replaceChildren(dlm.make("p", {class: "dlm-title"}, title), place,
          dlm.make("p", {class: "dlm-line"}, "All of this is computed in your browser; nothing that you enter leaves it."));
        place.querySelector("textarea, button, input")?.focus();
      } catch (error) {
        box.replaceChildren(button, line);
        line.textContent = `The panel does not work here: ${error.message}.`;
        button.disabled = false;
      }
    });
  }
}
