// The reader's own pictures: from a file, the clipboard or by dropping one, as {w, h, rgb}, three planes of numbers 0..255.
"use strict";

// A file as a picture whose longer side has at most `largest` pixels; what is no picture raises an Error with one line
dlm.readPicture = async (blob, largest) => {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);                    // turned upright, as its camera noted
  } catch {
    const name = blob?.name ? `“${blob.name}”` : "This";
    throw new Error(`${name} is no picture that this browser can read: take a PNG, JPEG or WebP file.`);
  }
  const scale = Math.min(1, largest / Math.max(bitmap.width, bitmap.height));
  const w = Math.max(1, Math.round(bitmap.width * scale)), h = Math.max(1, Math.round(bitmap.height * scale));
  const canvas = dlm.make("canvas", {width: w, height: h}), pen = canvas.getContext("2d");
  pen.fillStyle = "white";                                     // behind what is transparent
  pen.fillRect(0, 0, w, h);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(bitmap, 0, 0, w, h);
  const {data} = pen.getImageData(0, 0, w, h), rgb = new Uint8Array(3 * w * h);
  for (let c = 0; c < 3; c++) for (let k = 0; k < w * h; k++) rgb[c * w * h + k] = data[4 * k + c];
  return {w, h, rgb};
};

// A picture on a canvas of its size
dlm.canvasOf = ({w, h, rgb}) => {
  const canvas = dlm.make("canvas", {width: w, height: h}), pixels = new ImageData(w, h), size = w * h;
  for (let k = 0; k < size; k++) {
    for (let c = 0; c < 3; c++) pixels.data[4 * k + c] = rgb[c * size + k];
    pixels.data[4 * k + 3] = 255;
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
};

// A row of buttons for the samples and a field for a file; `take(picture)` for each picture, `fail(line)` for what is none.
// A picture may also be pasted or dropped anywhere in `place`.
dlm.pictureRow = ({id, place, samples, names, largest, take, fail}) => {
  const read = async blob => {
    try { take(await dlm.readPicture(blob, largest)); } catch (error) { fail(error.message); }
  };
  const file = dlm.make("input", {type: "file", accept: "image/*", id});
  file.addEventListener("change", () => { if (file.files[0]) read(file.files[0]); });
  place.addEventListener("dragover", event => event.preventDefault());
  place.addEventListener("drop", event => { event.preventDefault(); read(event.dataTransfer.files[0]); });
  document.addEventListener("paste", event => {                // pictures for the panel in which the reader is
    const pasted = [...event.clipboardData?.files ?? []].find(one => one.type.startsWith("image/"));
    if (pasted && place.contains(document.activeElement)) read(pasted);
  });
  const buttons = samples.map((sample, k) => {
    const button = dlm.make("button", {type: "button"}, names[k]);
    button.addEventListener("click", () => take(sample));
    return button;
  });
  return dlm.make("div", {class: "dlm-row"}, ...(buttons.length ? ["Take", ...buttons, "or"] : []),
    dlm.make("label", {for: id}, "choose a picture of your own:"), file);
};

// A slider with its name and its value, a label for the keyboard and the screen reader; `changed()` after each move
dlm.slider = ({id, name, value, min, max, step, changed, shown = number => Number(number).toFixed(2)}) => {
  const input = dlm.make("input", {type: "range", id, min, max, step, value});
  const output = dlm.make("output", {for: id}, shown(value));
  const set = number => { input.value = number; output.textContent = shown(input.value); };
  input.addEventListener("input", () => { set(input.value); changed(); });
  return {input, set, get value() { return Number(input.value); },
    row: dlm.make("div", {class: "dlm-row"}, dlm.make("label", {for: id}, name), input, output)};
};

// What panelweights.py wrote as `sample 0`, ...: each pixel is stored less its left and upper neighbours'
dlm.samples = (arrays, shapes) => {
  const samples = [];
  for (let k = 0; arrays[`sample ${k}`]; k++) {
    const rgb = Uint8Array.from(arrays[`sample ${k}`]), [, h, w] = shapes[`sample ${k}`];
    for (let row = 0; row < 3 * h; row++) for (let x = 1; x < w; x++) rgb[row * w + x] += rgb[row * w + x - 1];
    for (let at = 0; at < rgb.length; at++) if (at % (h * w) >= w) rgb[at] += rgb[at - w];
    samples.push({w, h, rgb});
  }
  return samples;
};
