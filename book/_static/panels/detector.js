// Lecture 08's detector: letterbox, network, decoding, threshold, non-maximum suppression. A picture is {w, h, rgb}:
// three planes of numbers 0..255, red, green, blue. A box is [left, top, right, bottom] in the picture's pixels.
"use strict";

{
  // The largest size with the picture's proportions that fits into the network's input (helpers/data/geometry.py)
  function fitted(h, w, toH, toW) {
    return toW * h < toH * w ? [Math.floor(h * toW / w), toW] : [toH, Math.floor(w * toH / h)];
  }

  // Scale to the network's input, bilinear between the middles of the corner pixels; what is left is grey
  function letterbox({w, h, rgb}, H, W) {
    const [newH, newW] = fitted(h, w, H, W), data = new Float64Array(3 * H * W).fill(0.5);
    const left = Math.floor((W - newW) / 2), top = Math.floor((H - newH) / 2);
    const stepX = (w - 1) / (newW - 1), stepY = (h - 1) / (newH - 1);
    for (let c = 0; c < 3; c++) {
      for (let y = 0; y < newH; y++) {
        const fy = y * stepY, y0 = Math.min(Math.floor(fy), h - 1), y1 = Math.min(y0 + 1, h - 1), v = fy - y0;
        for (let x = 0; x < newW; x++) {
          const fx = x * stepX, x0 = Math.min(Math.floor(fx), w - 1), x1 = Math.min(x0 + 1, w - 1), u = fx - x0;
          const at = (row, column) => rgb[(c * h + row) * w + column];
          data[(c * H + top + y) * W + left + x] = (
            (1 - v) * ((1 - u) * at(y0, x0) + u * at(y0, x1)) + v * ((1 - u) * at(y1, x0) + u * at(y1, x1))) / 255;
        }
      }
    }
    return {c: 3, h: H, w: W, data};
  }

  // One anchor in one cell of a head: b_x = (sigma(t_x) + column) / W, b_w = anchor_w e^(t_w) / width; y and h alike
  function decode({layer, map}, H, W, classes) {
    const {sigmoid} = dlm.network, {h, w, data} = map, places = h * w, found = [];
    layer.mask.forEach((number, a) => {
      const anchor = layer.anchors.slice(2 * number, 2 * number + 2);
      for (let row = 0; row < h; row++) {
        for (let column = 0; column < w; column++) {
          const t = k => data[(a * (5 + classes) + k) * places + row * w + column];
          const objectness = sigmoid(t(4));
          found.push({
            centre: [(sigmoid(t(0)) + column) / w, (sigmoid(t(1)) + row) / h],
            size: [Math.exp(t(2)) * anchor[0] / W, Math.exp(t(3)) * anchor[1] / H],
            objectness, scores: Array.from({length: classes}, (_, k) => objectness * sigmoid(t(5 + k))),
            anchor, row, column, rows: h, columns: w,
          });
        }
      }
    });
    return found;
  }

  function iou(a, b) {
    const shared = Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0])) *
      Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
    const area = box => (box[2] - box[0]) * (box[3] - box[1]), all = area(a) + area(b) - shared;
    return all > 0 ? shared / all : 0;
  }

  // From the best score down, a box stays unless one that stayed, of the same class, overlaps it by more than `limit`
  function suppressed(found, limit) {
    const kept = [];
    for (const one of found) {
      if (!kept.some(other => other.label === one.label && iou(other.inner, one.inner) > limit)) kept.push(one);
    }
    return kept;
  }

  let ready = null;                                            // made once
  dlm.models.detector = () => ready ??= make();

  async function make() {
    const {facts, arrays, shapes} = await dlm.unpack("detector"), [H, W] = facts.size, classes = facts.classes.length;

    // What all anchors in all cells say of a picture; the network's part, which takes the time
    function look(picture) {
      const [h, w] = fitted(picture.h, picture.w, H, W);
      if (Math.min(h, w) < 2) throw new Error(`a picture of ${picture.w} x ${picture.h} pixels is too narrow`);
      return dlm.network.run(facts.layers, arrays, letterbox(picture, H, W)).flatMap(head => decode(head, H, W, classes));
    }

    // From fractions of the network's input to the picture's pixels: letterboxing backwards
    function toPicture(picture) {
      const [h, w] = fitted(picture.h, picture.w, H, W);
      return (x, y) => [(x * W - (W - w) / 2) / w * picture.w, (y * H - (H - h) / 2) / h * picture.h];
    }

    // The detections of a picture, the best first, after threshold and NMS
    function detections(said, picture, threshold, limit) {
      const place = toPicture(picture);
      const cut = (value, most) => Math.min(Math.max(value, 0), most);
      let found = said.flatMap(one => one.scores.flatMap((score, label) => score > threshold ? [{...one, score, label}] : []));
      found = found.sort((a, b) => b.score - a.score).slice(0, 5000);
      for (const one of found) {
        const [x, y] = one.centre, [w, h] = one.size;
        one.inner = [(x - w / 2) * W, (y - h / 2) * H, (x + w / 2) * W, (y + h / 2) * H];   // in the input's pixels
        const [left, top] = place(x - w / 2, y - h / 2), [right, bottom] = place(x + w / 2, y + h / 2);
        one.box = [cut(left, picture.w), cut(top, picture.h), cut(right, picture.w), cut(bottom, picture.h)];
      }
      return suppressed(found, limit);
    }

    const samples = dlm.samples(arrays, shapes);
    return {facts, samples, look, detections, toPicture};
  }
}
