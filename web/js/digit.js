/* Digits as MNIST has them: as large as a box of 20 pixels, their centre of mass in the middle of 28. */
import { cover, luma } from "./picture.js";

export const SIDE = 28;
const FINE = 10; // points a pixel, where strokes are drawn
const BOX = 20; // pixels
const PEN = 2.3; // pixels
const PAPER = 0.25; // ink of a picture from which on it counts

export function drawStrokes(context, strokes, width) {
  context.lineWidth = width;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    context.beginPath();
    stroke.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.lineTo(...stroke.at(-1));
    context.stroke();
  }
}

export const mapped = (strokes, map) => strokes.map((stroke) => stroke.map(map));

function fitted(strokes) {
  const points = strokes.flat();
  const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  const [width, height] = [Math.max(...xs) - left, Math.max(...ys) - top];
  const scale = ((BOX - PEN) * FINE) / Math.max(width, height, 0.25);
  const middle = (SIDE * FINE) / 2;
  return mapped(strokes, ([x, y]) =>
    [middle + (x - left - width / 2) * scale, middle + (y - top - height / 2) * scale]);
}

/* Ink, 0 to 1, of each pixel. */
function raster(strokes) {
  const size = SIDE * FINE;
  const context = new OffscreenCanvas(size, size).getContext("2d", { willReadFrequently: true });
  drawStrokes(context, strokes, PEN * FINE);
  const { data } = context.getImageData(0, 0, size, size);
  const ink = new Float32Array(SIDE * SIDE);
  for (let i = 0; i < size * size; i++) {
    const pixel = Math.floor(Math.floor(i / size) / FINE) * SIDE + Math.floor((i % size) / FINE);
    ink[pixel] += data[4 * i + 3] / 255 / FINE ** 2;
  }
  return ink;
}

/* How far the centre of mass is from the middle: [right, down], pixels. */
function offCentre(ink) {
  let [mass, x, y] = [0, 0, 0];
  ink.forEach((value, i) => {
    mass += value;
    x += value * ((i % SIDE) + 0.5);
    y += value * (Math.floor(i / SIDE) + 0.5);
  });
  return [x / mass - SIDE / 2, y / mass - SIDE / 2];
}

export function digitOfStrokes(strokes) {
  const fit = fitted(strokes);
  const [right, down] = offCentre(raster(fit));
  return raster(mapped(fit, ([x, y]) => [x - right * FINE, y - down * FINE]));
}

/* What differs from the paper, which the edge of the picture is: 0 to 1. */
function inkOf({ width, height, rgb }) {
  const light = Float32Array.from({ length: width * height }, (_, i) => luma(rgb, i));
  const edge = light.filter((_, i) => i < width || i >= width * (height - 1) || i % width === 0);
  const paper = edge.sort()[edge.length >> 1];
  const ink = light.map((value) => Math.abs(value - paper));
  const most = ink.reduce((a, b) => Math.max(a, b), 0);
  if (most < 16) {
    throw new Error("a picture of one colour has no digit");
  }
  return ink.map((value) => value / most);
}

/* The middle of a square around what has ink, in which the digit takes up BOX of SIDE. */
function cropped(ink, width) {
  const there = [...ink.keys()].filter((i) => ink[i] > PAPER);
  const span = (of) => {
    const grow = ([a, b], i) => [Math.min(a, of(i)), Math.max(b, of(i) + 1)];
    const [low, high] = there.reduce(grow, [Infinity, 0]);
    return { middle: (low + high) / 2, size: high - low };
  };
  const [x, y] = [span((i) => i % width), span((i) => Math.floor(i / width))];
  return { x: x.middle, y: y.middle, side: (Math.max(x.size, y.size) * SIDE) / BOX };
}

export function digitOfPicture(picture) {
  const ink = inkOf(picture);
  const { width, height } = picture;
  const box = cropped(ink, width);
  const cut = (right, down) => {
    const size = Math.round(box.side);
    const rgb = new Float32Array(3 * size * size);
    const [left, top] = [Math.round(box.x + right - size / 2), Math.round(box.y + down - size / 2)];
    for (let i = 0; i < size * size; i++) {
      const [x, y] = [left + (i % size), top + Math.floor(i / size)];
      rgb.fill(x >= 0 && x < width && y >= 0 && y < height ? ink[y * width + x] : 0, 3 * i, 3 * i + 3);
    }
    return cover({ width: size, height: size, rgb }, SIDE, SIDE).rgb.filter((_, i) => i % 3 === 0);
  };
  return cut(...offCentre(cut(0, 0)).map((pixels) => (pixels * box.side) / SIDE));
}
