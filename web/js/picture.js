/* Pictures as inputs take them, by the rules of the command line (docs/design.md, "Pictures"), so
 * that both make the same numbers of a file. */

const isChannels = (dim) => dim === 1 || dim === 3;

/* Where an input of this shape has its channels, rows and columns; null where it is no picture. */
export function layoutOf(shape) {
  const rank = shape.length;
  const first = rank === 4 ? 1 : 0;
  const last = rank - 1;
  if (rank !== 3 && rank !== 4) {
    return null;
  }
  if (isChannels(shape[first]) && (shape[last] !== 3 || shape[first] === 3)) {
    return { batch: first - 1, channel: first, row: first + 1, column: last };
  }
  if (isChannels(shape[last])) {
    return { batch: first - 1, channel: last, row: first, column: first + 1 };
  }
  if (rank === 3 && typeof shape[0] === "string" && shape[1] > 0) {
    return { batch: 0, channel: -1, row: 1, column: 2 };
  }
  return null;
}

/* What pixels may become: low + byte / 255 (high - low), then (that - mean) / deviation. */
export const PIXELS = {
  "0:1": { text: "0 to 1", low: 0, high: 1 },
  "0:255": { text: "0 to 255", low: 0, high: 255 },
  "-1:1": { text: "−1 to 1", low: -1, high: 1 },
  imagenet: {
    text: "ImageNet's mean and deviation", low: 0, high: 1,
    mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225],
  },
};

/* The way that goes with the range of a model's references. */
export function likelyPixels(range) {
  if (!range) {
    return "0:1";
  }
  if (range.low >= 0) {
    return range.high > 1 ? "0:255" : "0:1";
  }
  return range.low >= -1 && range.high <= 1 ? "-1:1" : "imagenet";
}

export async function decode(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  const rgb = new Float32Array(3 * width * height);
  for (let i = 0; i < width * height; i++) {
    rgb.set(data.subarray(4 * i, 4 * i + 3), 3 * i);
  }
  return { width, height, rgb };
}

/* Weights of a triangle as wide as a pixel of the coarser grid: for each place of `to`, the places
 * of `from` that it mixes. */
function mixes(from, to, step) {
  const shift = (from / step - to) / 2;
  const radius = Math.max(step, 1);
  return Array.from({ length: to }, (_, i) => {
    const middle = (i + shift + 0.5) * step - 0.5;
    const first = Math.max(0, Math.ceil(middle - radius));
    const last = Math.min(from - 1, Math.floor(middle + radius));
    const weights = [];
    let total = 0;
    for (let k = first; k <= last; k++) {
      weights.push(1 - Math.abs(k - middle) / radius);
      total += weights.at(-1);
    }
    return { first, weights: weights.map((weight) => weight / total) };
  });
}

function mix(source, target, at, stride, { first, weights }, to) {
  for (let channel = 0; channel < 3; channel++) {
    let value = 0;
    weights.forEach((weight, k) => {
      value += weight * source[at + (first + k) * stride + channel];
    });
    target[to + channel] = value;
  }
}

/* Scaled so that it just covers width and height, and its middle. */
export function cover(picture, width, height) {
  const { width: columns, height: rows, rgb } = picture;
  if (columns === width && rows === height) {
    return picture;
  }
  const step = Math.min(columns / width, rows / height);
  const wide = new Float32Array(3 * rows * width);
  const out = new Float32Array(3 * height * width);
  mixes(columns, width, step).forEach((line, x) => {
    for (let y = 0; y < rows; y++) {
      mix(rgb, wide, 3 * y * columns, 3, line, 3 * (y * width + x));
    }
  });
  mixes(rows, height, step).forEach((line, y) => {
    for (let x = 0; x < width; x++) {
      mix(wide, out, 3 * x, 3 * width, line, 3 * (y * width + x));
    }
  });
  return { width, height, rgb: out };
}

export const luma = (rgb, i) =>
  0.299 * rgb[3 * i] + 0.587 * rgb[3 * i + 1] + 0.114 * rgb[3 * i + 2];

/* The numbers of a picture of the right size, in the input's layout. */
export function fill({ width, height, rgb }, layout, channels, pixels, data) {
  const plane = width * height;
  const { low, high, mean = [0, 0, 0], deviation = [1, 1, 1] } = pixels;
  const average = (values) => (values[0] + values[1] + values[2]) / 3;
  const last = layout.channel > layout.row;
  for (let i = 0; i < plane; i++) {
    for (let c = 0; c < channels; c++) {
      const byte = channels === 3 ? rgb[3 * i + c] : luma(rgb, i);
      const value = low + (byte / 255) * (high - low);
      const [m, d] = channels === 3 ? [mean[c], deviation[c]] : [average(mean), average(deviation)];
      data[last ? i * channels + c : c * plane + i] = (value - m) / d;
    }
  }
  return data;
}

/* Values summed over the channels: one for each pixel. */
export function overChannels(values, layout, channels, plane) {
  const last = layout.channel > layout.row;
  return Float32Array.from({ length: plane }, (_, i) => {
    let total = 0;
    for (let c = 0; c < channels; c++) {
      total += values[last ? i * channels + c : c * plane + i];
    }
    return total;
  });
}
