// The panel of lecture 07: a drawn digit or a sample, the picture that the network draws again, a slider for each number of
// the code, and the code's place among its neighbours on a stored t-SNE map.
"use strict";

dlm.panels.autoencoder = async place => {
  const {facts, samples, encode, decode, place: placed, asMnist, y, labels, codes} = await dlm.models.autoencoder();
  const {make, percent} = dlm, K = facts.latent, N = labels.length;
  const GRID = 56, CELL = 5, STEP = 2, PEN = 2.2, SIDE = 28;   // cells of the drawing, pixels of one, a key's step, the pen
  const ink = new Float64Array(GRID * GRID), undo = [];
  const pen = {x: GRID / 2, y: GRID / 2, down: false};         // of the keyboard
  let byKey = false, last = null, sample = null, picture = null, code = null, shown = null;   // shown: the code that the sliders say

  // ------------------------------------------------------------ what stands there
  const press = (name, act) => {
    const button = make("button", {type: "button"}, name);
    button.addEventListener("click", act);
    return button;
  };
  const canvas = make("canvas", {class: "dlm-drawing", width: GRID * CELL, height: GRID * CELL, tabindex: "0",
    role: "application", "aria-label": "Drawing", "aria-describedby": "dlm-ae-keys"});
  const said = make("p", {class: "dlm-line", role: "status"});
  const join = make("input", {type: "checkbox", id: "dlm-ae-join"});
  join.addEventListener("change", () => { last = null; });
  const line = make("p", {class: "dlm-said", role: "status"});
  const [input, output] = ["what the network gets", "what it draws from the code"].map(name => {
    const view = make("canvas", {width: SIDE, height: SIDE, role: "img", class: "dlm-coarse", "aria-label": name});
    return {view, box: make("div", {class: "dlm-small"}, view, make("p", {class: "dlm-line"}, name))};
  });
  const lows = [], highs = [];                                 // the sliders reach a little farther than the map's codes
  for (let k = 0; k < K; k++) {
    const column = Array.from({length: N}, (_, n) => codes[n * K + k]);
    lows.push(Math.floor(1.2 * Math.min(...column)));
    highs.push(Math.ceil(1.2 * Math.max(...column)));
  }
  const sliders = lows.map((low, k) => {
    const slider = dlm.slider({id: `dlm-ae-${k}`, name: `number ${k + 1}`, value: 0, min: low, max: highs[k], step: 0.05,
      shown: value => (shown ? shown[k] : Number(value)).toFixed(2),
      changed: () => { shown[k] = slider.value; tune(k); show(); }});
    slider.row.lastChild.setAttribute("aria-live", "off");     // eight numbers at once would drown the answer
    return slider;
  });
  const back = press("Back to the picture's code", () => { read(); });
  const {svg, mark} = map();
  place.append(
    make("div", {class: "dlm-row"}, ...(samples.length ? ["Take a test digit:"] : []),
      ...samples.map((one, k) => press(String(k), () => take(one)))),
    make("p", {class: "dlm-line", id: "dlm-ae-keys"}, "Or draw a digit below, with the mouse or a finger. With the keyboard: " +
      "the cursor keys move the pen, the space bar sets it down and lifts it. Without dragging: tick the box, and each " +
      "click or tap draws a line from the last one."),
    make("div", {class: "dlm-row dlm-top"},
      make("div", {class: "dlm-draw"}, canvas, said,
        make("div", {class: "dlm-row"}, press("Clear", clear), press("Undo", takeBack),
          press("New line", () => { last = null; lift(); })),
        make("div", {class: "dlm-row"}, join, make("label", {for: "dlm-ae-join"}, "join clicks by lines"))),
      svg),
    line,
    make("fieldset", {}, make("legend", {}, `The code: ${K} numbers`),
      make("div", {class: "dlm-row dlm-top"}, input.box, output.box),
      make("div", {class: "dlm-groups"}, ...sliders.map(slider => slider.row)),
      make("div", {class: "dlm-row"}, back)),
    make("p", {class: "dlm-line"}, `The map: t-SNE of the codes of ${N} digits that the network has not learned from. The cross ` +
      `stands at the median of the places of the ${facts.near} nearest codes; the ${facts.votes} nearest have rings. This is an ` +
      "approximation: t-SNE has no map for new points. Digits of the map that are left out and placed again so come to lie " +
      `${facts.distance.toFixed(2)} radii of the map from their place on average, ${percent(facts.own)} of them beside a ` +
      "digit of their own class; the lecture measures the same on its test digits alone. What you draw may be less like " +
      "those digits, and lie farther off."));

  // ------------------------------------------------------------ the drawing
  function dot(x, y) {
    for (let row = Math.max(0, Math.floor(y - PEN - 1)); row < Math.min(GRID, y + PEN + 1); row++) {
      for (let column = Math.max(0, Math.floor(x - PEN - 1)); column < Math.min(GRID, x + PEN + 1); column++) {
        const far = Math.hypot(column + 0.5 - x, row + 0.5 - y), at = row * GRID + column;
        ink[at] = Math.max(ink[at], Math.min(1, Math.max(0, PEN + 0.5 - far)));
      }
    }
  }

  function stroke(from, to) {
    const n = Math.max(1, Math.ceil(2 * Math.hypot(to.x - from.x, to.y - from.y)));
    for (let k = 0; k <= n; k++) dot(from.x + (to.x - from.x) * k / n, from.y + (to.y - from.y) * k / n);
  }

  function keep() {                                            // what "Undo" takes back to
    undo.push([ink.slice(), sample]);
    if (undo.length > 50) undo.shift();
    sample = null;
  }

  function clear() {
    keep();
    ink.fill(0);
    last = null;
    lift();
    read();
  }

  function takeBack() {
    if (!undo.length) return;
    const [before, was] = undo.pop();
    ink.set(before);
    sample = was;
    last = null;
    lift();
    read();
  }

  function take(one) {                                         // a sample; its picture goes to the drawing, to be drawn on
    keep();
    for (let k = 0; k < ink.length; k++) {
      ink[k] = one[Math.floor(Math.floor(k / GRID) * SIDE / GRID) * SIDE + Math.floor(k % GRID * SIDE / GRID)];
    }
    sample = one;
    last = null;
    lift();
    read();
  }

  const spot = event => {
    const {left, top, width, height} = canvas.getBoundingClientRect();
    return {x: (event.clientX - left) / width * GRID, y: (event.clientY - top) / height * GRID};
  };
  let dragged = null;
  canvas.addEventListener("pointerdown", event => {
    if (event.button !== 0) return;
    const here = spot(event);
    byKey = false;
    keep();
    lift();
    stroke(join.checked && last ? last : here, here);
    [last, dragged] = [here, here];
    canvas.setPointerCapture(event.pointerId);
    read();
  });
  canvas.addEventListener("pointermove", event => {
    if (!dragged) return;
    const here = spot(event);
    stroke(dragged, here);
    [last, dragged] = [here, here];
    read();
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { dragged = null; });

  const KEYS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
  canvas.addEventListener("keydown", event => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (KEYS[event.key]) {
      const from = {...pen}, [dx, dy] = KEYS[event.key].map(step => step * STEP);
      pen.x = Math.min(GRID - STEP, Math.max(STEP, pen.x + dx));
      pen.y = Math.min(GRID - STEP, Math.max(STEP, pen.y + dy));
      if (pen.down) stroke(from, pen);                         // "Undo" takes back all since the pen was set down
    } else if (event.key === " " || event.key === "Enter") {
      pen.down = !pen.down;
      if (pen.down) { keep(); stroke(pen, pen); }
    } else if (event.key === "Escape" && pen.down) {
      pen.down = false;
    } else {
      return;
    }
    event.preventDefault();
    [byKey, last] = [true, {x: pen.x, y: pen.y}];
    tell();
    if (pen.down) read(); else paint();
  });
  canvas.addEventListener("focus", () => { byKey = canvas.matches(":focus-visible"); paint(); });
  canvas.addEventListener("blur", () => { byKey = false; lift(); paint(); });

  function lift() {
    if (!pen.down) return;
    pen.down = false;
    tell();
  }

  function tell() {
    said.textContent = `Pen ${pen.down ? "down" : "up"}: column ${pen.x / STEP}, row ${pen.y / STEP} of ${GRID / STEP}.`;
  }

  // ------------------------------------------------------------ from the drawing to the code
  function read() {
    picture = sample ?? asMnist({h: GRID, w: GRID, data: ink});
    code = picture && encode(picture);
    shown = code && Float64Array.from(code);
    sliders.forEach((_, k) => tune(k));
    back.disabled = !code;
    show();
  }

  function tune(k) {                                           // a slider to its number, which may lie beyond its ends
    const {input, set} = sliders[k], number = shown ? shown[k] : 0;
    input.disabled = !shown;
    set(number);
    input.setAttribute("aria-valuetext", number.toFixed(2));
  }

  function show() {
    paint();
    const drawn = shown && decode(shown), found = shown && placed(shown);
    grey(input, picture);
    grey(output, drawn);
    mark(found);
    if (!code) {
      line.textContent = "There is nothing here yet: draw a digit" + (samples.length ? ", or take one." : ".");
      svg.setAttribute("aria-label", `The map of ${N} digits`);
      return;
    }
    const votes = new Map();
    for (const n of found.near) votes.set(labels[n], (votes.get(labels[n]) ?? 0) + 1);
    const kinds = [...votes].sort((a, b) => b[1] - a[1] || a[0] - b[0]).map(([digit, n]) => `${n} of digit ${digit}`).join(", ");
    const error = drawn.reduce((sum, value, k) => sum + (value - picture[k]) ** 2, 0);
    const moved = Math.hypot(...code.map((value, k) => value - shown[k]));
    line.textContent = `The ${facts.votes} nearest codes: ${kinds}. Squared error of the picture drawn ` + (moved > 0
      ? `from your numbers: ${error.toFixed(1)}. They lie ${moved.toFixed(2)} from the picture's code.`
      : `again: ${error.toFixed(1)}; of a new digit of MNIST it is ${facts.error.toFixed(1)} on average.`);
    svg.setAttribute("aria-label", `The map of ${N} digits, with a cross among these neighbours: ${kinds}`);
  }

  function paint() {
    const brush = canvas.getContext("2d");
    brush.imageSmoothingEnabled = false;
    brush.drawImage(shades(ink, GRID), 0, 0, canvas.width, canvas.height);
    if (!byKey) return;
    brush.strokeStyle = "#e69f00";                             // where the pen is
    brush.lineWidth = pen.down ? 4 : 2;
    brush.beginPath();
    brush.arc(pen.x * CELL, pen.y * CELL, PEN * CELL, 0, 7);
    brush.stroke();
  }

  function grey({view}, values) {
    view.getContext("2d").drawImage(shades(values ?? new Float64Array(SIDE * SIDE), SIDE), 0, 0);
  }

  function shades(values, side) {                              // numbers from 0 to 1 -> a picture, 1 is white
    const bytes = Uint8Array.from(values, value => Math.round(255 * value));
    return dlm.canvasOf({w: side, h: side, rgb: new Uint8Array([...bytes, ...bytes, ...bytes])});
  }

  // ------------------------------------------------------------ the map
  function map() {
    const WIDE = 400, xs = [], ys = [];
    for (let n = 0; n < N; n++) { xs.push(y[2 * n]); ys.push(y[2 * n + 1]); }
    const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const scale = (WIDE - 24) / (right - left), HIGH = 24 + (high - low) * scale;
    const along = x => 12 + (x - left) * scale, up = v => HIGH - 12 - (v - low) * scale;
    const svg = make("svg:svg", {viewBox: `0 0 ${WIDE} ${HIGH.toFixed(0)}`, class: "dlm-map", role: "img"});
    for (let n = 0; n < N; n++) {
      svg.append(make("svg:circle", {cx: along(xs[n]).toFixed(1), cy: up(ys[n]).toFixed(1), r: 2.5,
        class: `dlm-class-${labels[n]}`}));
    }
    const middle = values => values.sort((a, b) => a - b)[values.length >> 1];
    for (const digit of new Set([...labels].sort())) {
      const own = xs.map((_, n) => n).filter(n => labels[n] === digit);
      svg.append(make("svg:text", {x: along(middle(own.map(n => xs[n]))), y: up(middle(own.map(n => ys[n]))) + 6,
        "text-anchor": "middle"}, String(digit)));
    }
    const marks = make("svg:g", {});
    svg.append(marks);
    const mark = found => {
      if (!found) { marks.replaceChildren(); return; }
      const x = along(found.x), v = up(found.y);
      const cross = `M${x - 11},${v - 11}l22,22m0,-22l-22,22`;
      marks.replaceChildren(
        ...found.near.map(n => make("svg:circle", {cx: along(xs[n]), cy: up(ys[n]), r: 5, class: "dlm-near"})),
        make("svg:path", {d: cross, class: "dlm-cross-under"}), make("svg:path", {d: cross, class: "dlm-cross"}));
    };
    return {svg, mark};
  }

  if (samples.length) take(samples[3]); else read();
};
