/* A pad to draw a digit on, by pointer or keyboard. */
import { SIDE, drawStrokes, mapped } from "./digit.js";
import { element } from "./dom.js";

const STEPS = { // of the pad, a key press
  ArrowLeft: [-0.04, 0], ArrowRight: [0.04, 0], ArrowUp: [0, -0.04], ArrowDown: [0, 0.04],
};
const WIDTH = 0.085; // of the pad, a stroke

export class Pad {
  strokes = [];
  ink = null; // of a picture, in place of strokes
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
    this.ink = null;
    this.#down = false;
    this.#drawn();
  }

  give(strokes, ink = null) {
    this.strokes = strokes;
    this.ink = ink;
    this.#given = true;
    this.draw();
  }

  #begin(point) {
    this.strokes = this.#given ? [[point]] : [...this.strokes, [point]];
    this.ink = null;
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
    const step = STEPS[event.key];
    if (step) {
      this.#pen = this.#pen.map((value, axis) => Math.min(0.95, Math.max(0.05, value + step[axis])));
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
    context.strokeStyle = context.fillStyle = style.color;
    const cell = size / SIDE;
    this.ink?.forEach((value, i) => {
      context.globalAlpha = value;
      context.fillRect((i % SIDE) * cell, Math.floor(i / SIDE) * cell, cell, cell);
    });
    context.globalAlpha = 1;
    const scaled = mapped(this.strokes, (point) => point.map((value) => value * size));
    drawStrokes(context, scaled, WIDTH * size);
    if (this.#keys) {
      context.lineWidth = 6;
      context.strokeStyle = style.outlineColor;
      context.beginPath();
      context.arc(this.#pen[0] * size, this.#pen[1] * size, this.#down ? 12 : 26, 0, 2 * Math.PI);
      context.stroke();
    }
  }
}
