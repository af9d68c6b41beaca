// The panel of lecture 07: a picture under flips, crops, turns, colours and erasing, and the Python that does the same.
"use strict";

dlm.panels.augmentation = async place => {
  const {facts, samples, change, calls, python} = await dlm.models.augmentation();
  const {make} = dlm, LARGEST = 256;                           // pixels kept of a picture
  let picture = null, shown = null;

  const controls = {};
  const slide = (key, name, value, min, max, step, shown) => {
    controls[key] = dlm.slider({id: `dlm-aug-${key}`, name, value, min, max, step, shown, changed: () => show()});
    controls[key].start = value;
    return controls[key].row;
  };
  const tick = (key, name) => {
    const input = make("input", {type: "checkbox", id: `dlm-aug-${key}`});
    input.addEventListener("change", () => show());
    controls[key] = {input, start: false, get value() { return input.checked; }, set(to) { input.checked = to; }};
    return make("div", {class: "dlm-row"}, input, make("label", {for: `dlm-aug-${key}`}, name));
  };
  const group = (name, ...rows) => make("fieldset", {}, make("legend", {}, name), ...rows);
  const share = number => dlm.percent(number), angle = number => `${number}°`;
  const sliders = make("div", {class: "dlm-groups"},
    group("Flip", tick("hflip", "left to right"), tick("vflip", "upside down")),
    group("Crop", slide("side", "side kept", 1, 0.25, 1, 0.01, share),
      slide("cropX", "from the left", 0.5, 0, 1, 0.01, share),
      slide("cropY", "from the top", 0.5, 0, 1, 0.01, share)),
    group("Turn", slide("angle", "clockwise", 0, -180, 180, 1, angle), slide("scale", "scale", 1, 0.5, 2, 0.05)),
    group("Colour", slide("brightness", "brightness", 1, 0, 2, 0.05), slide("contrast", "contrast", 1, 0, 2, 0.05),
      slide("saturation", "saturation", 1, 0, 2, 0.05), slide("hue", "hue", 0, -0.5, 0.5, 0.01)),
    group("Erase", slide("erase", "side", 0, 0, 0.8, 0.01, share), slide("eraseX", "from the left", 0.5, 0, 1, 0.01, share),
      slide("eraseY", "from the top", 0.5, 0, 1, 0.01, share)));

  const press = (name, act) => {
    const button = make("button", {type: "button"}, name);
    button.addEventListener("click", () => { act(); show(); });
    return button;
  };
  const pick = (low, high) => low + (high - low) * Math.random();
  const buttons = make("div", {class: "dlm-row"},
    press("Draw at random", () => {                            // as a training does, at each reading of a picture
      const drawn = {hflip: Math.random() < 0.5, vflip: false, side: pick(0.7, 1), cropX: pick(0, 1), cropY: pick(0, 1),
        angle: pick(-30, 30), scale: 1, brightness: pick(0.6, 1.4), contrast: pick(0.6, 1.4), saturation: pick(0.6, 1.4),
        hue: pick(-0.1, 0.1), erase: Math.random() < 0.5 ? pick(0.15, 0.4) : 0, eraseX: pick(0, 1), eraseY: pick(0, 1)};
      for (const [key, value] of Object.entries(drawn)) controls[key].set(value);
    }),
    press("Change nothing", () => { for (const one of Object.values(controls)) one.set(one.start); }));

  const line = make("p", {class: "dlm-said", role: "status"});
  const code = make("pre", {class: "dlm-code", tabindex: "0", role: "region", "aria-label": "The same in Python"});
  const [before, after] = [1, 2].map(() => make("canvas", {role: "img", class: "dlm-pair"}));
  place.append(
    dlm.pictureRow({id: "dlm-aug-file", place, samples, names: facts.samples, largest: LARGEST, take,
      fail: text => { line.textContent = text; }}),
    make("p", {class: "dlm-line"},
      `You may also paste a picture here, or drop one. A large one is scaled to ${LARGEST} pixels first.`),
    buttons,
    make("div", {class: "dlm-row"}, before, after), line, sliders,
    make("p", {class: "dlm-line"}, "The same changes in Python, with the course's own functions, for x of shape " +
      "(1, 3, H, W) with numbers from 0 to 1. They give the same numbers."), code);

  function take(one) {
    picture = {h: one.h, w: one.w, data: Float64Array.from(one.rgb, value => value / 255)};
    shown = one;
    show();
  }

  // What the controls say, in pixels
  function wanted() {
    const {h, w} = picture, of = key => controls[key].value, how = {};
    for (const key of ["hflip", "vflip", "angle", "scale"]) how[key] = of(key);
    for (const key of ["brightness", "contrast", "saturation", "hue"]) how[key] = of(key);
    how.height = Math.max(1, Math.round(of("side") * h));
    how.width = Math.max(1, Math.round(of("side") * w));
    how.top = Math.round(of("cropY") * (h - how.height));
    how.left = Math.round(of("cropX") * (w - how.width));
    const high = Math.round(of("erase") * how.height), wide = Math.round(of("erase") * how.width);
    const top = Math.round(of("eraseY") * (how.height - high)), left = Math.round(of("eraseX") * (how.width - wide));
    how.erased = [top, left, high, wide];
    return how;
  }

  function show() {
    if (!picture) return;
    const how = wanted(), out = change(picture, how);
    draw(before, shown);
    draw(after, {w: out.w, h: out.h, rgb: Uint8Array.from(out.data, value => Math.round(255 * value))});
    let moved = "";
    if (out.h === picture.h && out.w === picture.w) {
      const sum = out.data.reduce((total, value, k) => total + Math.abs(value - picture.data[k]), 0);
      moved = ` On average one of its numbers, from 0 to 1, moves by ${(sum / out.data.length).toFixed(3)}.`;
    }
    line.textContent = `${picture.w} x ${picture.h} pixels become ${out.w} x ${out.h}.${moved}`;
    code.textContent = python(how);
    before.setAttribute("aria-label", "The picture before the change");
    after.setAttribute("aria-label", `The picture after ${calls(how).join(", ")}`);
  }

  function draw(canvas, one) {
    canvas.width = one.w;
    canvas.height = one.h;
    canvas.getContext("2d").drawImage(dlm.canvasOf(one), 0, 0);
    canvas.style.aspectRatio = `${one.w} / ${one.h}`;
    canvas.classList.toggle("dlm-coarse", Math.max(one.w, one.h) < 128);
  }

  take(samples[0]);
};
