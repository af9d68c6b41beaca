// The layers of a small Darknet, as helpers/yolo/darknet/layers.py has them. A map is {c, h, w, data}: c channels of
// h rows of w numbers, one after the other.
"use strict";

{
  const sigmoid = x => 1 / (1 + Math.exp(-x));
  const ACTIVATIONS = {linear: x => x, leaky: x => x > 0 ? x : 0.1 * x};

  // The numbers under the kernel, for each of its places: (c size size, h' w'). Outside of the map stand zeros.
  function columns(map, size, stride, padding, h, w) {
    const {c, data} = map, places = h * w, out = new Float64Array(c * size * size * places);
    let row = 0;
    for (let channel = 0; channel < c; channel++) {
      for (let i = 0; i < size; i++) {
        for (let j = 0; j < size; j++, row += places) {
          for (let y = 0; y < h; y++) {
            const from = y * stride + i - padding;
            if (from < 0 || from >= map.h) continue;
            const line = (channel * map.h + from) * map.w, to = row + y * w;
            for (let x = 0; x < w; x++) {
              const at = x * stride + j - padding;
              if (at >= 0 && at < map.w) out[to + x] = data[line + at];
            }
          }
        }
      }
    }
    return out;
  }

  // W (n, m) times X (m, places) -> (n, places). Four rows of W and four of X at a time: sixteen products for eight
  // numbers that are read and four that are written, five times as fast as one row at a time. n, m of any size.
  function product(W, X, n, m, places) {
    const out = new Float64Array(n * places);
    for (let f = 0; f < n; f += 4) {
      const rows = Math.min(4, n - f), y = [0, 1, 2, 3].map(
        r => r < rows ? out.subarray((f + r) * places, (f + r + 1) * places) : new Float64Array(places));
      for (let k = 0; k < m; k += 4) {
        const weight = (r, s) => r < rows && k + s < m ? W[(f + r) * m + k + s] : 0;
        const x = [0, 1, 2, 3].map(s => X.subarray(Math.min(k + s, m - 1) * places, (Math.min(k + s, m - 1) + 1) * places));
        block(y[0], y[1], y[2], y[3], x[0], x[1], x[2], x[3], places,
          weight(0, 0), weight(0, 1), weight(0, 2), weight(0, 3), weight(1, 0), weight(1, 1), weight(1, 2), weight(1, 3),
          weight(2, 0), weight(2, 1), weight(2, 2), weight(2, 3), weight(3, 0), weight(3, 1), weight(3, 2), weight(3, 3));
      }
    }
    return out;
  }

  function block(y0, y1, y2, y3, x0, x1, x2, x3, places, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p) {
    for (let at = 0; at < places; at++) {
      const p0 = x0[at], p1 = x1[at], p2 = x2[at], p3 = x3[at];
      y0[at] += a * p0 + b * p1 + c * p2 + d * p3;
      y1[at] += e * p0 + f * p1 + g * p2 + h * p3;
      y2[at] += i * p0 + j * p1 + k * p2 + l * p3;
      y3[at] += m * p0 + n * p1 + o * p2 + p * p3;
    }
  }

  // Convolution, batch norm or bias, activation
  function convolutional(map, {filters, size, stride, activation}, get) {
    const padding = size >> 1, h = Math.floor((map.h + 2 * padding - size) / stride) + 1;
    const w = Math.floor((map.w + 2 * padding - size) / stride) + 1, places = h * w;
    const X = size === 1 && stride === 1 ? map.data : columns(map, size, stride, padding, h, w);
    const data = product(get("conv.weight"), X, filters, map.c * size * size, places), act = ACTIVATIONS[activation];
    const gamma = get("norm.weight"), beta = get("norm.bias"), mean = get("norm.running_mean");
    const variance = get("norm.running_var"), bias = get("conv.bias");
    for (let f = 0; f < filters; f++) {
      // gamma (x - mean) / deviation + beta, as one factor and one summand
      const factor = gamma ? gamma[f] / (Math.sqrt(variance[f]) + 1e-6) : 1;
      const summand = gamma ? beta[f] - mean[f] * factor : bias[f];
      for (let at = f * places; at < (f + 1) * places; at++) data[at] = act(data[at] * factor + summand);
    }
    return {c: filters, h, w, data};
  }

  function shortcut(map, {activation}, other) {
    const act = ACTIVATIONS[activation];
    return {...map, data: map.data.map((x, k) => act(x + other.data[k]))};
  }

  // The channels of earlier maps, one after the other
  function route(maps) {
    const [{h, w}] = maps, c = maps.reduce((sum, map) => sum + map.c, 0), data = new Float64Array(c * h * w);
    let at = 0;
    for (const map of maps) { data.set(map.data, at); at += map.data.length; }
    return {c, h, w, data};
  }

  // Each number becomes a square of stride x stride
  function upsample({c, h, w, data}, {stride}) {
    const out = new Float64Array(c * h * w * stride * stride), wide = w * stride;
    for (let row = 0; row < c * h * stride; row++) {
      const from = Math.floor(row / stride) * w;
      for (let x = 0; x < wide; x++) out[row * wide + x] = data[from + Math.floor(x / stride)];
    }
    return {c, h: h * stride, w: wide, data: out};
  }

  // All layers, one after the other; the maps that reach a head, with the head's layer
  function run(layers, weights, map) {
    const outputs = [], heads = [];
    const earlier = (index, k) => outputs[index < 0 ? k + index : index];
    layers.forEach((layer, k) => {
      if (layer.kind === "convolutional") map = convolutional(map, layer, name => weights[`${k}.${name}`]);
      else if (layer.kind === "shortcut") map = shortcut(map, layer, earlier(layer.from, k));
      else if (layer.kind === "route") map = route(layer.layers.map(index => earlier(index, k)));
      else if (layer.kind === "upsample") map = upsample(map, layer);
      else if (layer.kind === "yolo") heads.push({layer, map});
      else throw new Error(`there is no layer of the kind ${layer.kind}`);
      outputs.push(map);
    });
    return heads;
  }

  dlm.network = {run, sigmoid};
}
