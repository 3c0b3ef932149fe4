/* What a person gives a model, and what its values look like: a widget an input. Each has `element`,
 * to fill in; `view`, for the values; `feeds()`, tensors by name or null where nothing is given yet;
 * `show(target, full)`, which draws the values of one target. */
import { choice, dropZone, element, labelled, takeDrops } from "./dom.js";
import { drawHeat, drawPicture, fullColour, patches } from "./heat.js";
import { readArray } from "./npy.js";
import { product, shown } from "./numbers.js";
import { digitOfPicture, digitOfStrokes } from "./digit.js";
import { Pad } from "./pad.js";
import { PIXELS, cover, decode, fill, layoutOf, likelyPixels, overChannels } from "./picture.js";
import { tokenView } from "./tokens.js";
import { waterfall } from "./waterfall.js";

const FREE_SIDE = 224; // of pictures, where a model leaves it free
const HEAT_SIZE = 448;

const isFree = (dim) => typeof dim !== "number" || dim < 1;

/* A tensor of numbers, as onnxruntime-web takes them. */
export function tensor(type, numbers, dims) {
  const arrays = {
    float32: Float32Array, float64: Float64Array, int32: Int32Array, uint8: Uint8Array, int8: Int8Array,
    bool: Uint8Array,
  };
  if (type === "int64" || type === "uint64") {
    const array = type === "int64" ? BigInt64Array : BigUint64Array;
    return { type, data: array.from(numbers, (value) => BigInt(Math.round(Number(value)))), dims };
  }
  if (!(type in arrays)) {
    throw new Error(`inputs of type ${type} are not for browsers yet`);
  }
  return { type, data: arrays[type].from(numbers, Number), dims };
}

const single = (shape) => shape.map((dim) => (isFree(dim) ? 1 : dim));

/* ---- pictures ---------------------------------------------------------------------------- */

const decoded = (blob, name) => decode(blob).catch(() => {
  throw new Error(`${name}: not a picture that this browser reads`);
});

class HeatView {
  constructor(side) {
    this.side = side;
    this.canvas = element("canvas", { role: "img", "aria-label": "Heat map" });
    this.high = element("span");
    this.low = element("span");
    this.view = element("figure", { class: "heat" }, this.canvas,
      element("figcaption", { class: "legend" }, this.low,
        element("span", { class: "ramp", "aria-hidden": "true" }), this.high));
  }

  draw(picture, values, label) {
    const map = patches(values, picture.width, picture.height, this.side);
    const full = fullColour(map.values);
    drawHeat(this.canvas, picture, map, full, HEAT_SIZE);
    this.canvas.setAttribute("aria-label", label);
    this.low.textContent = `against ${shown(-full)}`;
    this.high.textContent = `${shown(full)} for`;
  }
}

export class PictureInput {
  picture = null;

  constructor({ input, model, definition, onchange }) {
    this.input = input;
    this.onchange = onchange;
    this.layout = layoutOf(input.shape);
    const dim = (axis) => (axis < 0 ? 1 : isFree(input.shape[axis]) ? FREE_SIDE : input.shape[axis]);
    this.channels = dim(this.layout.channel);
    this.height = dim(this.layout.row);
    this.width = dim(this.layout.column);
    this.pixels = definition.pixels ?? PIXELS[likelyPixels(model.ranges.get(input.name))];
    this.heat = new HeatView(definition.patch ?? (this.width >= 96 ? 8 : 1));
    this.view = this.heat.view;
    this.view.append(labelled("One colour for", choice(
      [["1", "each pixel"], ["4", "4 × 4 pixels"], ["8", "8 × 8 pixels"], ["16", "16 × 16 pixels"]],
      String(this.heat.side), (value) => {
        this.heat.side = Number(value);
        this.show(this.shown);
      })));
    this.canvas = element("canvas", { role: "img", "aria-label": "No picture yet", hidden: true });
    this.element = element("div", { class: "picture" }, this.canvas,
      dropZone({
        text: "Drop a picture here", button: "Choose a picture", accept: "image/*",
        onfiles: ([file]) => this.take(file, file.name),
      }));
    if (definition.samples?.length) {
      this.element.append(this.#samples(definition.samples));
    }
    if (!definition.pixels) {
      this.element.append(labelled("Pixels become", choice(
        Object.entries(PIXELS).map(([name, { text }]) => [name, text]),
        likelyPixels(model.ranges.get(input.name)), (value) => {
          this.pixels = PIXELS[value];
          this.onchange();
        })));
    }
    takeDrops(this.element, ([file]) => this.take(file, file.name));
    this.ready = definition.samples?.length && this.#load(definition.samples[0]);
  }

  #samples(samples) {
    const list = element("div", { class: "samples", role: "group", "aria-label": "Pictures to try" });
    for (const sample of samples) {
      const load = () => this.#load(sample).then(() => this.onchange(), this.onchange);
      list.append(element("button", { type: "button", onclick: load },
        element("img", { src: sample.file, alt: sample.name, width: 72, height: 72 })));
    }
    return list;
  }

  async #load({ file, name }) {
    await this.#set(await (await fetch(file)).blob(), name);
  }

  async #set(blob, name) {
    this.picture = cover(await decoded(blob, name), this.width, this.height);
    this.canvas.hidden = false;
    this.canvas.setAttribute("aria-label", `The picture: ${name}`);
    drawPicture(this.canvas, this.picture);
  }

  take(blob, name) {
    return this.#set(blob, name).then(() => this.onchange(), this.onchange);
  }

  feeds() {
    if (!this.picture) {
      return null;
    }
    const dims = single(this.input.shape);
    dims[this.layout.row] = this.height;
    dims[this.layout.column] = this.width;
    const numbers = fill(this.picture, this.layout, this.channels, this.pixels,
      new Float32Array(product(dims)));
    return { [this.input.name]: tensor(this.input.type, numbers, dims) };
  }

  show(target) {
    this.shown = target;
    if (target) {
      const plane = this.width * this.height;
      const values = overChannels(target.values[this.input.name], this.layout, this.channels, plane);
      this.heat.draw(this.picture, values, `Heat map: what speaks for and against ${target.label}`);
    }
  }
}

/* A digit that is drawn, or a picture of one. */
export class DigitInput {
  constructor({ input, definition, onchange }) {
    this.input = input;
    this.pad = new Pad(onchange);
    this.heat = new HeatView(1);
    this.view = this.heat.view;
    const samples = element("div", { class: "digits", role: "group", "aria-label": "Digits to try" });
    definition.samples.forEach(({ name, strokes }) => {
      samples.append(element("button", {
        type: "button", class: "quiet", "aria-label": `Draw a ${name}`,
        onclick: () => {
          this.pad.give(strokes);
          onchange();
        },
      }, name));
    });
    this.onchange = onchange;
    this.pad.give(definition.samples[3].strokes);
    this.element = element("div", { class: "digit" }, this.pad.canvas,
      element("div", { class: "row" }, samples, element("button", {
        type: "button", class: "quiet", onclick: () => this.pad.clear(),
      }, "Clear")),
      dropZone({
        text: "Or drop a picture of one", button: "Choose a picture", accept: "image/*",
        onfiles: ([file]) => this.take(file, file.name),
      }));
  }

  take(blob, name) {
    return decoded(blob, name).then((picture) => {
      this.pad.give([], digitOfPicture(picture));
      this.onchange();
    }).catch(this.onchange);
  }

  feeds() {
    if (!this.pad.ink && !this.pad.strokes.length) {
      return null;
    }
    const ink = this.pad.ink ?? digitOfStrokes(this.pad.strokes);
    const rgb = Float32Array.from({ length: 3 * ink.length },
      (_, i) => 255 * (1 - ink[Math.floor(i / 3)]));
    this.picture = { width: 28, height: 28, rgb, drawing: true };
    return { [this.input.name]: tensor(this.input.type, ink, single(this.input.shape)) };
  }

  show(target) {
    this.pad.draw();
    this.shown = target;
    if (target) {
      this.heat.draw(this.picture, target.values[this.input.name],
        `Heat map: what speaks for and against ${target.label}`);
    }
  }
}

/* ---- texts ------------------------------------------------------------------------------- */

const isMask = (input) => /mask/i.test(input.name);

/* Inputs that go with token ids: a mask of what is there, and segments, which are all the first. */
export const isCompanion = (input) => isMask(input) || /segment|token_type/i.test(input.name);

export class TokenInput {
  constructor({ input, companions, definition, onchange }) {
    this.input = input;
    this.onchange = onchange;
    this.companions = companions;
    this.tokenizer = definition.tokenizer ?? null;
    this.view = element("div", { class: "tokens" });
    let timer;
    this.text = element("textarea", {
      rows: 4, spellcheck: "false",
      oninput: () => {
        clearTimeout(timer);
        timer = setTimeout(onchange, 200);
      },
    });
    this.text.value = definition.samples?.[0] ?? "";
    this.element = element("div", { class: "text" },
      labelled(this.tokenizer ? "A sentence" : "Token ids, separated by spaces", this.text));
    if (definition.samples) {
      const short = (text) => (text.length > 60 ? `${text.slice(0, 58)} …` : text);
      this.element.append(labelled("Or one of these", choice(
        definition.samples.map((text, i) => [i, short(text)]), "0", (i) => {
          this.text.value = definition.samples[i];
          onchange();
        })));
    }
  }

  /* The first row of a dropped .npy. */
  async take(file) {
    const { data, shape } = readArray(await file.arrayBuffer());
    this.text.value = [...data.slice(0, shape.at(-1))].join(" ");
    this.onchange();
  }

  #length() {
    const dim = this.input.shape.at(-1);
    return isFree(dim) ? Infinity : dim;
  }

  feeds() {
    const text = this.text.value.trim();
    if (!text) {
      return null;
    }
    this.tokens = this.tokenizer ? this.tokenizer.encode(text, this.#length()) : text.split(/[\s,]+/)
      .map((id) => ({ id: Number(id), text: id }));
    if (this.tokens.some(({ id }) => !Number.isInteger(id))) {
      throw new Error("token ids are whole numbers; for text, drop tokenizer.json or vocab.txt, too");
    }
    const room = Math.min(this.#length(), Math.max(this.tokens.length, 1));
    const length = Number.isFinite(this.#length()) ? this.#length() : room;
    this.tokens.length = Math.min(this.tokens.length, length);
    const there = (i) => i < this.tokens.length;
    const padding = this.tokenizer?.padding ?? 0;
    const dims = single(this.input.shape);
    dims[dims.length - 1] = length;
    const row = (value) => Array.from({ length }, (_, i) => value(i));
    const ids = row((i) => (there(i) ? this.tokens[i].id : padding));
    const feeds = { [this.input.name]: tensor(this.input.type, ids, dims) };
    for (const other of this.companions) {
      feeds[other.name] = tensor(other.type, row((i) => Number(isMask(other) && there(i))), dims);
    }
    return feeds;
  }

  show(target) {
    this.shown = target;
    this.view.replaceChildren(...(target
      ? [tokenView(this.tokens, target.values[this.input.name])] : []));
  }
}

/* ---- tables ------------------------------------------------------------------------------ */

export class TableInput {
  constructor({ input, model, definition, onchange }) {
    this.input = input;
    this.count = product(single(input.shape));
    const names = definition.features ?? (model.features.length === this.count ? model.features : []);
    this.names = Array.from({ length: this.count }, (_, i) => names[i] ?? `${input.name} ${i + 1}`);
    this.view = element("div", { class: "waterfall" });
    this.fields = this.names.map((name, i) => this.#field(name, definition.ranges?.[i], onchange));
    this.element = element("div", { class: "table" });
    if (definition.samples) {
      this.element.append(labelled("Begin with", choice(
        definition.samples.map(({ name }, i) => [i, name]), "0", (i) => {
          this.#set(definition.samples[i].data);
          onchange();
        })));
    }
    this.element.append(element("div", { class: "fields" }, ...this.fields.map(({ row }) => row)));
    this.#set(definition.samples?.[0].data ?? new Array(this.count).fill(0));
    takeArray(this, (numbers) => {
      this.#set(numbers);
      onchange();
    }, this.count);
  }

  #field(name, range, onchange) {
    const step = range ? 10 ** Math.floor(Math.log10((range[1] - range[0]) / 50)) : "any";
    const number = element("input", { type: "number", step: "any", oninput: () => write(number) });
    const slider = range && element("input", {
      type: "range", min: range[0], max: range[1], step, "aria-label": name,
      oninput: () => write(slider),
    });
    const row = labelled(name, number, { class: slider ? "field slid" : "field" });
    const write = (from) => {
      if (slider && from !== slider) {
        slider.value = from.value;
      } else if (slider) {
        number.value = from.value;
      }
      onchange();
    };
    if (slider) {
      number.before(slider);
    }
    return { row, number, slider };
  }

  #set(numbers) {
    this.fields.forEach(({ number, slider }, i) => {
      number.value = Number(Number(numbers[i]).toPrecision(6));
      if (slider) {
        slider.value = number.value;
      }
    });
  }

  feeds() {
    this.numbers = this.fields.map(({ number }) => (number.value === "" ? NaN : Number(number.value)));
    return { [this.input.name]: tensor(this.input.type, this.numbers, single(this.input.shape)) };
  }

  show(target) {
    this.shown = target;
    this.view.replaceChildren(...(target ? [waterfall({
      ...target, names: this.names, numbers: this.numbers, values: target.values[this.input.name],
    })] : []));
  }
}

/* ---- anything else ----------------------------------------------------------------------- */

/* Lets a widget take the first sample of a dropped .npy with the right count of numbers. */
function takeArray(widget, set, count) {
  widget.take = async (file) => {
    const { data, shape } = readArray(await file.arrayBuffer());
    if (data.length < count) {
      const given = shape.join(" × ");
      throw new Error(`${file.name}: ${given} numbers, "${widget.input.name}" takes ${count}`);
    }
    set(data.slice(0, count));
  };
}

export class ArrayInput {
  #numbers = null;

  constructor({ input, model, onchange }) {
    this.input = input;
    const label = input.name === model.targetInput ? "Number of the class to explain" : input.name;
    this.dims = single(input.shape);
    this.view = element("div", { class: "array" });
    this.state = element("p", {}, `Drop a .npy for "${input.name}", ${this.dims.join(" × ")}`);
    this.element = element("div", {}, this.state);
    if (product(this.dims) === 1) {
      const number = element("input", {
        type: "number", value: 0, step: "any",
        oninput: () => {
          this.#numbers = [number.value];
          onchange();
        },
      });
      this.#numbers = [0];
      this.element.replaceChildren(labelled(label, number));
    }
    takeArray(this, (numbers) => {
      this.#numbers = numbers;
      this.state.textContent = `"${input.name}": ${numbers.length} numbers`;
      onchange();
    }, product(this.dims));
  }

  feeds() {
    return this.#numbers && { [this.input.name]: tensor(this.input.type, this.#numbers, this.dims) };
  }

  show(target) {
    this.shown = target;
    const values = target?.values[this.input.name];
    if (!values) {
      return;
    }
    const width = this.dims.at(-1);
    const heat = new HeatView(1);
    const height = values.length / width;
    heat.draw({ width, height, rgb: new Float32Array(3 * values.length).fill(255) }, values,
      `SHAP values of ${this.input.name}: ${height} × ${width}`);
    this.view.replaceChildren(heat.view);
  }
}

/* The widget that an input's type and shape ask for. */
export function kindOf(input) {
  const whole = /^u?int/.test(input.type);
  if (layoutOf(input.shape)) {
    return PictureInput;
  }
  if (whole && input.shape.length === 2) {
    return TokenInput;
  }
  const table = input.shape.length === 1 || input.shape.length === 2;
  return table && product(single(input.shape)) <= 256 && product(single(input.shape)) > 1
    ? TableInput : ArrayInput;
}
