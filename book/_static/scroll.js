// What scrolls sideways must be within reach of the keyboard. The theme sees to that, but it looks only when the window
// has changed: a box that grows or shrinks later (a sidebar slides in, a font arrives) keeps what it had. This keeps looking.
"use strict";

const BOXES = "pre, .cell_output > .output, .pst-scrollable-table-container";

function look(box) {
  const tab = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight ? 0 : -1;
  if (box.tabIndex !== tab) box.tabIndex = tab;
}

const boxes = [...document.querySelectorAll(BOXES)];
const observer = new ResizeObserver(entries => entries.forEach(entry => look(entry.target)));
boxes.forEach(box => observer.observe(box));
document.fonts.addEventListener("loadingdone", () => boxes.forEach(look));
