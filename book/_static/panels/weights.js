// Reads what book/_ext/panelweights.py has packed: base64 -> inflate -> arrays.
"use strict";

{
  const KINDS = {text: 1, uint8: 1, uint16: 2, float16: 2, float24: 3};    // bytes a number

  // All 65,536 numbers of 16 bits: sign, 5 bits of exponent, 10 of mantissa; no infinities among weights.
  let halves = null;
  function half() {
    if (halves === null) {
      halves = new Float32Array(65536);
      for (let k = 0; k < 65536; k++) {
        const exponent = k >> 10 & 31, mantissa = k & 1023;
        const size = exponent ? (1 + mantissa / 1024) * 2 ** (exponent - 15) : mantissa * 2 ** -24;
        halves[k] = k >> 15 ? -size : size;
      }
    }
    return halves;
  }

  async function inflated(text) {
    if (typeof DecompressionStream === "undefined") {
      throw new Error("this browser is older than 2023 and cannot unpack the weights");
    }
    const letters = atob(text), bytes = new Uint8Array(letters.length);
    for (let k = 0; k < bytes.length; k++) bytes[k] = letters.charCodeAt(k);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  // n numbers of `kind` whose first bytes stand first, then all second bytes, ...
  function numbers(kind, n, bytes) {
    if (kind === "uint8") return bytes;
    if (kind === "float24") {                                  // a float32 whose lowest byte is 0
      const bits = new Uint32Array(n);
      for (let k = 0; k < n; k++) bits[k] = bytes[k] << 8 | bytes[n + k] << 16 | bytes[2 * n + k] << 24;
      return new Float32Array(bits.buffer);
    }
    const out = kind === "float16" ? new Float32Array(n) : new Uint16Array(n), table = kind === "float16" ? half() : null;
    for (let k = 0; k < n; k++) {
      const bits = bytes[k] | bytes[n + k] << 8;
      out[k] = table ? table[bits] : bits;
    }
    return out;
  }

  // {facts, arrays: {name: a text or a typed array}, shapes: {name: [..]}} of a panel's weights
  async function unpack({facts, arrays: listed, text}) {
    const bytes = await inflated(text);
    const arrays = {}, shapes = {};
    let at = 0;
    for (const [key, kind, shape] of listed) {
      const n = shape.reduce((a, b) => a * b, 1), part = bytes.subarray(at, at += n * KINDS[kind]);
      arrays[key] = kind === "text" ? new TextDecoder().decode(part) : numbers(kind, n, part);
      shapes[key] = shape;
    }
    return {facts, arrays, shapes};
  }
  dlm.unpack = name => unpack(dlm.packed[name]);
}
