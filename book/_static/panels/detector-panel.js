// The panel of lecture 08: a picture, the boxes that the lecture's detector finds in it, two thresholds, and for a chosen
// box the grid, the cell and the anchor that found it.
"use strict";

dlm.panels.detector = async place => {
  const {facts, samples, look, detections, toPicture} = await dlm.models.detector();
  const {make, percent} = dlm;
  const SIDE = 640, LARGEST = 1600, LISTED = 30;               // pixels shown, pixels kept of a picture, boxes listed
  const [H, W] = facts.size;
  let picture = null, shown = null, said = [], found = [], chosen = null, milliseconds = 0;

  // ------------------------------------------------------------ the controls
  const slider = (id, name, value, max) => dlm.slider(
    {id, name, value, min: 0.05, max, step: 0.05, changed: () => choose()});
  const score = slider("dlm-score", "Score at least", 0.3, 0.95);
  const limit = slider("dlm-limit", "NMS limit (1: no NMS)", 0.45, 1);
  const line = make("p", {class: "dlm-said", role: "status"});
  const list = make("div", {class: "dlm-row", role: "group", "aria-label": "Boxes"});
  const canvas = make("canvas", {role: "img", class: "dlm-picture"});
  const detail = make("p", {class: "dlm-detail", role: "status"});
  const note = make("p", {class: "dlm-line"});
  place.append(
    dlm.pictureRow({id: "dlm-file", place, samples, names: samples.map((_, k) => `Test scene ${k}`), largest: LARGEST,
      take, fail: text => { line.textContent = text; }}),
    make("p", {class: "dlm-line"}, "You may also paste a picture here, or drop one. The detector was trained on drawn " +
      "scenes of handwritten digits and knows nothing else: what it finds in a photograph of other things is wrong."),
    score.row, limit.row, line, canvas, list, detail, note);

  canvas.addEventListener("click", event => {                  // the smallest box there; the buttons do the same
    const x = event.offsetX / canvas.clientWidth * picture.w, y = event.offsetY / canvas.clientHeight * picture.h;
    const area = ({box: [a, b, c, d]}) => (c - a) * (d - b);
    const hits = found.filter(({box: [a, b, c, d]}) => a <= x && x <= c && b <= y && y <= d);
    const [hit] = hits.sort((p, q) => area(p) - area(q));
    if (hit) select(hit);
  });

  // ------------------------------------------------------------ a picture
  function take(one) {
    const began = performance.now();
    let answers;
    try {
      answers = look(one);
    } catch (error) {
      line.textContent = `Nothing was looked at: ${error.message}.`;
      return;
    }
    milliseconds = performance.now() - began;
    [picture, said, chosen, shown] = [one, answers, null, dlm.canvasOf(one)];
    choose();
  }

  // ------------------------------------------------------------ its boxes
  const names = boxes => boxes.map(name).join("; ");
  const name = one => `${facts.classes[one.label]}, ${percent(one.score)}`;

  function choose() {
    if (!picture) return;
    found = detections(said, picture, score.value, limit.value);
    const few = found.slice(0, LISTED);
    line.textContent = found.length
      ? `${found.length} ${found.length === 1 ? "box" : "boxes"}: ${names(few)}${found.length > LISTED ? " …" : "."}`
      : "No box has this score. A lower one shows more.";
    list.replaceChildren(...few.map(one => {
      const button = make("button", {type: "button", "aria-pressed": "false"}, name(one));
      button.addEventListener("click", () => select(one));
      return button;
    }));
    note.textContent = `The picture has ${picture.w} x ${picture.h} pixels, the network's input ${W} x ${H}. ` +
      `The network took ${Math.round(milliseconds)} ms. It answers for ${said.length.toLocaleString("en")} anchors in all cells.` +
      (found.length > LISTED ? ` The best ${LISTED} boxes are listed.` : "");
    const same = found.find(one => chosen && ["anchor", "row", "column", "label"].every(key => one[key] === chosen[key]));
    select(same ?? null);
  }

  function select(one) {
    chosen = one;
    [...list.children].forEach((button, k) => button.setAttribute("aria-pressed", String(found[k] === one)));
    detail.textContent = one
      ? `${name(one)}: found by the cell in column ${one.column}, row ${one.row}, counted from 0, of the grid of ` +
        `${one.columns} x ${one.rows} (stride ${W / one.columns}), with the anchor of ${one.anchor.join(" x ")} pixels. ` +
        `Objectness ${one.objectness.toFixed(3)}, class ${(one.score / one.objectness).toFixed(3)}; ` +
        "their product is the score."
      : found.length ? "Choose a box to see the grid, the cell and the anchor that found it." : "";
    draw();
  }

  // ------------------------------------------------------------ the drawing
  function draw() {
    const scale = SIDE / Math.max(picture.w, picture.h), pen = canvas.getContext("2d");
    canvas.width = Math.max(1, Math.round(picture.w * scale));
    canvas.height = Math.max(1, Math.round(picture.h * scale));
    canvas.setAttribute("aria-label", found.length
      ? `The picture with its boxes: ${names(found.slice(0, LISTED))}` : "The picture, without a box");
    pen.imageSmoothingEnabled = scale < 2;
    pen.drawImage(shown, 0, 0, canvas.width, canvas.height);
    const at = toPicture(picture), spot = (x, y) => at(x, y).map(value => value * scale);
    const twice = (path, colour, width) => {                   // dark under bright: seen on any picture
      for (const [style, wide] of [["#000", width + 3], [colour, width]]) {
        pen.strokeStyle = style;
        pen.lineWidth = wide;
        path();
      }
    };
    if (chosen) {
      const {rows, columns, row, column, anchor} = chosen;
      pen.strokeStyle = "rgba(255,255,255,0.6)";
      pen.lineWidth = 1;
      pen.beginPath();
      for (let k = 0; k <= columns; k++) { pen.moveTo(...spot(k / columns, 0)); pen.lineTo(...spot(k / columns, 1)); }
      for (let k = 0; k <= rows; k++) { pen.moveTo(...spot(0, k / rows)); pen.lineTo(...spot(1, k / rows)); }
      pen.stroke();
      const between = ([a, b], [c, d]) => [a, b, c - a, d - b];
      pen.fillStyle = "rgba(230,159,0,0.6)";
      pen.fillRect(...between(spot(column / columns, row / rows), spot((column + 1) / columns, (row + 1) / rows)));
      const [x, y] = [(column + 0.5) / columns, (row + 0.5) / rows], [w, h] = [anchor[0] / W, anchor[1] / H];
      pen.setLineDash([8, 6]);
      twice(() => pen.strokeRect(...between(spot(x - w / 2, y - h / 2), spot(x + w / 2, y + h / 2))), "#fff", 2);
      pen.setLineDash([]);
    }
    pen.font = "bold 20px sans-serif";
    for (const one of [...found].reverse()) {                  // the best on top
      const [left, top, right, bottom] = one.box.map(value => value * scale), colour = one === chosen ? "#e69f00" : "#56b4e9";
      twice(() => pen.strokeRect(left, top, right - left, bottom - top), colour, one === chosen ? 5 : 3);
      const text = `${facts.classes[one.label]} ${percent(one.score)}`, wide = pen.measureText(text).width + 8;
      const x = Math.min(left, canvas.width - wide), y = Math.max(top, 24);
      pen.fillStyle = "#000";
      pen.fillRect(x, y - 24, wide, 24);
      pen.fillStyle = "#fff";
      pen.fillText(text, x + 4, y - 5);
    }
  }

  if (samples.length) take(samples[0]);
  else line.textContent = "Choose a picture.";
};
