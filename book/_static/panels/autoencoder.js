// Lecture 07's autoencoder, as helpers/embedding computes it, layer by layer: a picture of 28 x 28 numbers from 0 to 1
// -> code -> picture; a drawing made into such a picture; a place on the map for a code.
"use strict";

{
  const sigmoid = x => 1 / (1 + Math.exp(-x));

  // ------------------------------------------------------------ layers: {shape: [K] or [C, H, W], data} -> the same
  const LAYERS = {
    Flatten: ({data}) => ({shape: [data.length], data}),
    Unflatten: ({data}, {shape}) => ({shape, data}),
    ReLU: ({shape, data}) => ({shape, data: data.map(x => Math.max(0, x))}),

    Linear({data}, {out, weight, bias}) {
      const y = new Float64Array(out);
      for (let row = 0, at = 0; row < out; row++) {
        let sum = bias[row];
        for (let k = 0; k < data.length; k++, at++) sum += weight[at] * data[k];
        y[row] = sum;
      }
      return {shape: [out], data: y};
    },

    Conv2d({shape: [C, H, W], data}, {out, size, stride, padding, weight, bias}) {
      const h = Math.floor((H + 2 * padding - size) / stride) + 1, w = Math.floor((W + 2 * padding - size) / stride) + 1;
      const y = new Float64Array(out * h * w);
      for (let f = 0; f < out; f++) y.fill(bias[f], f * h * w, (f + 1) * h * w);
      for (let f = 0, k = 0; f < out; f++) {
        for (let c = 0; c < C; c++) {
          for (let i = 0; i < size; i++) {
            for (let j = 0; j < size; j++, k++) {
              for (let row = 0; row < h; row++) {
                const from = row * stride + i - padding;
                if (from < 0 || from >= H) continue;
                for (let column = 0; column < w; column++) {
                  const x = column * stride + j - padding;
                  if (x >= 0 && x < W) y[(f * h + row) * w + column] += weight[k] * data[(c * H + from) * W + x];
                }
              }
            }
          }
        }
      }
      return {shape: [out, h, w], data: y};
    },

    Upsample({shape: [C, H, W], data}, {factor}) {             // each number becomes a square
      const h = H * factor, w = W * factor, y = new Float64Array(C * h * w);
      for (let row = 0; row < C * h; row++) {
        const from = Math.floor(row / factor) * W;
        for (let x = 0; x < w; x++) y[row * w + x] = data[from + Math.floor(x / factor)];
      }
      return {shape: [C, h, w], data: y};
    },
  };

  const run = (layers, map) => layers.reduce((x, layer) => LAYERS[layer.kind](x, layer), map);

  // ------------------------------------------------------------ a drawing as MNIST's pictures are (drawing.py)
  const BOX = 20, SIDE = 28, TINY = 1e-6;                     // TINY: a middle between two pixels is not left to rounding
  const between = (value, low, high) => Math.min(Math.max(value, low), high);
  const rounded = value => Math.floor(value + 0.5);

  // n numbers -> m, each the mean of the old ones under it; read(k) gives the old ones
  function averaged(n, m, read) {
    const out = new Float64Array(m);
    for (let i = 0; i < m; i++) {
      const low = i * n / m, high = (i + 1) * n / m;
      for (let k = Math.floor(low); k < n && k < high; k++) {
        out[i] += Math.max(0, Math.min(high, k + 1) - Math.max(low, k)) * m / n * read(k);
      }
    }
    return out;
  }

  // Ink (h, w), 0 to 1 -> 28 x 28 numbers, or null where there is none: the digit is scaled into a box of 20 x 20, its
  // centre of mass comes to row 14 and column 14
  function asMnist({h, w, data}) {
    let [top, bottom, left, right] = [h, -1, w, -1];
    for (let k = 0; k < data.length; k++) {
      if (!data[k]) continue;
      const row = Math.floor(k / w), column = k % w;
      [top, bottom] = [Math.min(top, row), Math.max(bottom, row)];
      [left, right] = [Math.min(left, column), Math.max(right, column)];
    }
    if (bottom < 0) return null;
    const high = bottom - top + 1, wide = right - left + 1, longest = Math.max(high, wide);
    const [H, W] = [high, wide].map(n => Math.max(1, rounded(n * BOX / longest)));
    const columns = Array.from({length: wide}, (_, j) => averaged(high, H, i => data[(top + i) * w + left + j]));
    const rows = Array.from({length: H}, (_, i) => averaged(wide, W, j => columns[j][i]));
    let mass = 0, y = 0, x = 0;
    rows.forEach((row, i) => row.forEach((ink, j) => { mass += ink; y += ink * i; x += ink * j; }));
    const down = between(rounded(SIDE / 2 - y / mass + TINY), 0, SIDE - H);
    const along = between(rounded(SIDE / 2 - x / mass + TINY), 0, SIDE - W);
    const picture = new Float64Array(SIDE * SIDE);
    rows.forEach((row, i) => row.forEach((ink, j) => { picture[(down + i) * SIDE + along + j] = between(ink, 0, 1); }));
    return picture;
  }

  // ------------------------------------------------------------ a place on the map (places.py)
  function median(values) {
    const sorted = [...values].sort((a, b) => a - b), half = sorted.length / 2;
    return (sorted[Math.ceil(half) - 1] + sorted[Math.floor(half)]) / 2;
  }

  let ready = null;
  dlm.models.autoencoder = () => ready ??= dlm.unpack("autoencoder").then(({facts, arrays}) => {
    const part = name => facts[name].map((layer, k) =>
      ({...layer, weight: arrays[`${name}.${k}.weight`], bias: arrays[`${name}.${k}.bias`]}));
    const encoder = part("encoder"), decoder = part("decoder"), {shape} = facts, K = facts.latent;
    const {codes, y, labels} = arrays, N = labels.length, size = SIDE * SIDE;

    const encode = picture => run(encoder, {shape, data: picture}).data;
    const decode = code => run(decoder, {shape: [K], data: Float64Array.from(code)}).data.map(sigmoid);

    // {x, y, near}: the median of the places of the nearest codes, and the numbers of those that vote, the nearest first
    function place(code) {
      const far = Float64Array.from({length: N}, (_, n) => {
        let sum = 0;
        for (let k = 0; k < K; k++) sum += (codes[n * K + k] - code[k]) ** 2;
        return sum;
      });
      const near = Array.from(far.keys()).sort((a, b) => far[a] - far[b]).slice(0, facts.votes);
      const [across, up] = [0, 1].map(axis => median(near.slice(0, facts.near).map(n => y[2 * n + axis])));
      return {x: across, y: up, near};
    }

    const samples = [];
    for (let at = 0; at < (arrays.samples?.length ?? 0); at += size) {
      samples.push(Float64Array.from(arrays.samples.subarray(at, at + size), value => value / 255));
    }
    return {facts, samples, encode, decode, place, asMnist, y, labels, codes};
  });
}
