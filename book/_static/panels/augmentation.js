// Lecture 07's changes of a picture, as helpers/augmentation/functional.py and helpers/course/augment.py compute them for
// float pictures. A picture is {h, w, data}: three planes, red, green, blue, of h rows of w numbers from 0 to 1.
"use strict";

{
  const clip = value => Math.min(1, Math.max(0, value));

  // A picture of the size (h, w) whose number in plane c, row i, column j is value(c, i, j)
  function filled(h, w, value) {
    const data = new Float64Array(3 * h * w);
    for (let c = 0, at = 0; c < 3; c++) for (let i = 0; i < h; i++) for (let j = 0; j < w; j++) data[at++] = value(c, i, j);
    return {h, w, data};
  }

  // A picture from the red, green and blue of each pixel: change(r, g, b) -> [r, g, b]
  function recoloured({h, w, data}, change) {
    const out = new Float64Array(data.length), n = h * w;
    for (let k = 0; k < n; k++) {
      const changed = change(data[k], data[n + k], data[2 * n + k]);
      for (let c = 0; c < 3; c++) out[c * n + k] = changed[c];
    }
    return {h, w, data: out};
  }

  const hflip = x => filled(x.h, x.w, (c, i, j) => x.data[(c * x.h + i) * x.w + x.w - 1 - j]);
  const vflip = x => filled(x.h, x.w, (c, i, j) => x.data[(c * x.h + x.h - 1 - i) * x.w + j]);
  const crop = (x, top, left, h, w) => filled(h, w, (c, i, j) => x.data[(c * x.h + top + i) * x.w + left + j]);
  const erase = (x, top, left, h, w) => filled(x.h, x.w, (c, i, j) =>
    i >= top && i < top + h && j >= left && j < left + w ? 0 : x.data[(c * x.h + i) * x.w + j]);

  // Turned clockwise by `angle` degrees and scaled about the middle, bilinear; from outside comes black. The output at p,
  // counted from the middle, is the input at A^-1 p with A = scale R(angle).
  function affine(x, angle, scale) {
    const {h, w, data} = x, a = angle * Math.PI / 180, cos = Math.cos(a) / scale, sin = Math.sin(a) / scale;
    const at = (c, i, j) => i >= 0 && i < h && j >= 0 && j < w ? data[(c * h + i) * w + j] : 0;
    return filled(h, w, (c, i, j) => {
      const px = j - (w - 1) / 2, py = i - (h - 1) / 2;
      const sx = cos * px + sin * py + (w - 1) / 2, sy = -sin * px + cos * py + (h - 1) / 2;
      const x0 = Math.floor(sx), y0 = Math.floor(sy), u = sx - x0, v = sy - y0;
      return (1 - v) * ((1 - u) * at(c, y0, x0) + u * at(c, y0, x0 + 1)) +
        v * ((1 - u) * at(c, y0 + 1, x0) + u * at(c, y0 + 1, x0 + 1));
    });
  }

  // factor x + (1 - factor) other, clipped: between the two below 1, beyond x above 1
  const blend = (x, other, factor) => clip(factor * x + (1 - factor) * other);
  const grey = (r, g, b) => 0.2989 * r + 0.587 * g + 0.114 * b;          // luminance

  const brightness = (x, factor) => recoloured(x, (...rgb) => rgb.map(value => clip(factor * value)));

  function contrast(x, factor) {                               // away from or towards the picture's mean grey
    const n = x.h * x.w;
    let mean = 0;
    for (let k = 0; k < n; k++) mean += grey(x.data[k], x.data[n + k], x.data[2 * n + k]) / n;
    return recoloured(x, (...rgb) => rgb.map(value => blend(value, mean, factor)));
  }

  const saturation = (x, factor) => recoloured(x, (...rgb) => {           // away from or towards the grey picture
    const other = grey(...rgb);
    return rgb.map(value => blend(value, other, factor));
  });

  // The hue turned by a part of the colour circle, in HSV
  const hue = (x, turns) => recoloured(x, (r, g, b) => {
    const value = Math.max(r, g, b), chroma = value - Math.min(r, g, b);
    if (chroma === 0) return [r, g, b];                        // grey has no hue
    const h = value === r ? (g - b) / chroma : value === g ? 2 + (b - r) / chroma : 4 + (r - g) / chroma;
    return [5, 3, 1].map(n => {
      const k = (((n + h + 6 * turns) % 6) + 6) % 6;
      return value - chroma * clip(Math.min(k, 4 - k));
    });
  });

  // All changes in the lecture's order: flip, crop, turn, colours, erase. `how` holds what the panel's controls say.
  function change(x, how) {
    if (how.hflip) x = hflip(x);
    if (how.vflip) x = vflip(x);
    x = crop(x, how.top, how.left, how.height, how.width);
    if (how.angle || how.scale !== 1) x = affine(x, how.angle, how.scale);
    if (how.brightness !== 1) x = brightness(x, how.brightness);
    if (how.contrast !== 1) x = contrast(x, how.contrast);
    if (how.saturation !== 1) x = saturation(x, how.saturation);
    if (how.hue) x = hue(x, how.hue);
    const [top, left, h, w] = how.erased;
    return h && w ? erase(x, top, left, h, w) : x;
  }

  // The same in Python, a call for each change; x is (1, 3, H, W), from 0 to 1
  function calls(how) {
    const list = [];
    if (how.hflip) list.push("hflip(x, torch.tensor([True]))");
    if (how.vflip) list.push("vflip(x, torch.tensor([True]))");
    list.push(`crop(x, ${how.top}, ${how.left}, (${how.height}, ${how.width}))`);
    if (how.angle || how.scale !== 1) list.push(`affine(x, angle=${how.angle}, scale=${how.scale})`);
    for (const name of ["brightness", "contrast", "saturation"]) {
      if (how[name] !== 1) list.push(`${name}(x, ${how[name]})`);
    }
    if (how.hue) list.push(`hue(x, ${how.hue})`);
    if (how.erased[2] && how.erased[3]) list.push(`erase(x, ${how.erased.join(", ")})`);
    return list;
  }

  function python(how) {
    const list = calls(how), names = list.map(call => call.split("(")[0]);
    const torch = how.hflip || how.vflip ? ["import torch"] : [];
    const lines = list.map(call => `x = ${call}`);
    return [...torch, `from helpers.augmentation import ${names.sort().join(", ")}`, "", ...lines].join("\n");
  }

  let ready = null;
  dlm.models.augmentation = () => ready ??= dlm.unpack("augmentation").then(
    ({facts, arrays, shapes}) => ({facts, samples: dlm.samples(arrays, shapes), change, calls, python}));
}
