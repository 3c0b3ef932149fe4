/* Heat maps: what speaks for in one colour, what speaks against in the other, over the picture. */
import { luma } from "./picture.js";

/* The two colours as the theme has them: [r, g, b]. */
export function themeColours(...names) {
  const probe = document.body.appendChild(document.createElement("i"));
  const found = names.map((name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
  });
  probe.remove();
  return found;
}

/* Sums over squares of pixels: the total stays. */
export function patches(values, width, height, side) {
  const columns = Math.ceil(width / side);
  const rows = Math.ceil(height / side);
  const sums = new Float32Array(columns * rows);
  values.forEach((value, i) => {
    const x = Math.floor((i % width) / side);
    const y = Math.floor(Math.floor(i / width) / side);
    sums[y * columns + x] += value;
  });
  return { values: sums, width: columns, height: rows };
}

/* The size that full colour stands for: of the values all but the largest few. */
export function fullColour(values) {
  const sizes = Float32Array.from(values, Math.abs).sort();
  return sizes[Math.floor(0.998 * (sizes.length - 1))] || sizes.at(-1) || 1;
}

function image(width, height, pixel) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  const made = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    made.data.set(pixel(i), 4 * i);
  }
  context.putImageData(made, 0, 0);
  return canvas;
}

/* Draws {width, height, rgb} faintly, and the map over it, on a canvas of about a size. Light stays
 * light in photographs; a drawing is ink on the paper of the theme. */
export function drawHeat(canvas, picture, map, full, size) {
  const [paper, ink, positive, negative] = themeColours("paper", "ink", "positive", "negative");
  const inked = picture.drawing || luma(paper, 0) > luma(ink, 0);
  const behind = image(picture.width, picture.height, (i) => {
    const light = luma(picture.rgb, i) / 255;
    const faint = (picture.drawing ? 0.38 : 0.5) * (inked ? 1 - light : light);
    return [0, 1, 2].map((c) => paper[c] + faint * (ink[c] - paper[c])).concat(255);
  });
  const over = image(map.width, map.height, (i) => {
    const strength = Math.min(1, Math.abs(map.values[i]) / full);
    return [...(map.values[i] < 0 ? negative : positive), 255 * strength];
  });
  const scale = Math.max(1, Math.floor(size / Math.max(picture.width, picture.height)));
  canvas.width = picture.width * scale;
  canvas.height = picture.height * scale;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(behind, 0, 0, canvas.width, canvas.height);
  context.drawImage(over, 0, 0, canvas.width, canvas.height);
}

export function drawPicture(canvas, { width, height, rgb }) {
  const drawn = image(width, height, (i) => [rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2], 255]);
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").drawImage(drawn, 0, 0);
}
