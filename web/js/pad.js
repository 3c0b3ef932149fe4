/* A pad to draw a digit on, by pointer or keyboard, and the digit as MNIST has them: as large as a
 * box of 20 pixels, its centre of mass in the middle of 28. */
import { element } from "./dom.js";

const SIDE = 28;
const FINE = 10; // points a pixel, where strokes are drawn
const BOX = 17; // pixels between the middles of strokes at the edges of the box
const PEN = 2.3; // pixels
const STEP = 0.04; // of the pad, a key press

function drawStrokes(context, strokes, width) {
  context.lineWidth = width;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    context.beginPath();
    stroke.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.lineTo(...stroke.at(-1));
    context.stroke();
  }
}

const mapped = (strokes, map) => strokes.map((stroke) => stroke.map(map));

function fitted(strokes) {
  const points = strokes.flat();
  const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  const [width, height] = [Math.max(...xs) - left, Math.max(...ys) - top];
  const scale = (BOX * FINE) / Math.max(width, height, 0.25);
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

export function digitOf(strokes) {
  const fit = fitted(strokes);
  const ink = raster(fit);
  let [mass, x, y] = [0, 0, 0];
  ink.forEach((value, i) => {
    mass += value;
    x += value * ((i % SIDE) + 0.5);
    y += value * (Math.floor(i / SIDE) + 0.5);
  });
  const shift = (sum) => (SIDE / 2 - sum / mass) * FINE;
  return raster(mapped(fit, ([px, py]) => [px + shift(x), py + shift(y)]));
}

export class Pad {
  strokes = [];
  #given = false; // strokes that the first of one's own replaces
  #pen = [0.5, 0.5];
  #down = false;
  #keys = false;

  constructor(onchange) {
    this.onchange = onchange;
    this.canvas = element("canvas", {
      class: "pad", width: 560, height: 560, tabindex: 0, role: "application",
      "aria-label": "Drawing pad. Arrow keys move the pen, space puts it down or up, Delete clears.",
      onpointerdown: (event) => this.#press(event),
      onpointermove: (event) => this.#move(event),
      onpointerup: () => this.#lift(),
      onpointercancel: () => this.#lift(),
      onkeydown: (event) => this.#key(event),
      onfocus: () => this.draw(),
      onblur: () => {
        this.#keys = false;
        this.draw();
      },
    });
  }

  clear() {
    this.strokes = [];
    this.#down = false;
    this.#drawn();
  }

  give(strokes) {
    this.strokes = strokes;
    this.#given = true;
    this.draw();
  }

  #begin(point) {
    this.strokes = this.#given ? [[point]] : [...this.strokes, [point]];
    this.#given = false;
    this.#down = true;
  }

  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  #press(event) {
    event.preventDefault();
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    this.#keys = false;
    this.#begin(this.#at(event));
    this.#drawn();
  }

  #move(event) {
    if (this.#down && !this.#keys) {
      this.strokes.at(-1).push(...(event.getCoalescedEvents?.() ?? [event]).map((e) => this.#at(e)));
      this.#drawn();
    }
  }

  #lift() {
    this.#down = false;
  }

  #key(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (step) {
      this.#pen = this.#pen.map((value, axis) =>
        Math.min(0.95, Math.max(0.05, value + step[axis] * STEP)));
      if (this.#down && this.#keys) {
        this.strokes.at(-1).push(this.#pen);
        this.onchange();
      }
    } else if (event.key === " ") {
      if (this.#down && this.#keys) {
        this.#lift();
      } else {
        this.#begin(this.#pen);
        this.onchange();
      }
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.clear();
    } else {
      return;
    }
    this.#keys = true;
    event.preventDefault();
    this.draw();
  }

  #drawn() {
    this.draw();
    this.onchange();
  }

  draw() {
    const { width: size } = this.canvas;
    const context = this.canvas.getContext("2d");
    const style = getComputedStyle(this.canvas);
    context.clearRect(0, 0, size, size);
    context.strokeStyle = style.color;
    drawStrokes(context, mapped(this.strokes, (point) => point.map((value) => value * size)), 0.085 * size);
    if (this.#keys) {
      context.lineWidth = 6;
      context.strokeStyle = style.outlineColor;
      context.beginPath();
      context.arc(this.#pen[0] * size, this.#pen[1] * size, this.#down ? 12 : 26, 0, 2 * Math.PI);
      context.stroke();
    }
  }
}
