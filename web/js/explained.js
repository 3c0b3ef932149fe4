/* What an explained model tells of itself, and what a run of it means. */
import { product, sum } from "./numbers.js";

/* The fields of a protobuf message: [number, contents] of those that have a length. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 1; at < bytes.length; shift *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * shift;
      if (byte < 128) {
        return value;
      }
    }
    throw new Error("not an ONNX model");
  };
  const skipped = { 1: 8, 5: 4 }; // fixed 64 and 32 bits
  while (at < bytes.length) {
    const key = varint();
    const wire = key % 8;
    if (wire === 0) {
      varint();
    } else if (wire === 2) {
      const size = varint();
      if (size > bytes.length - at) {
        throw new Error("not a whole ONNX model");
      }
      yield [Math.floor(key / 8), bytes.subarray(at, at + size)];
      at += size;
    } else if (wire in skipped) {
      at += skipped[wire];
    } else {
      throw new Error("not an ONNX model");
    }
  }
}

const METADATA_PROPS = 14; // of ModelProto
const PREFIX = "onnxexplainer.";

/* Our metadata, without the prefix: {} where the model is not explained. */
export function metadata(bytes) {
  const text = new TextDecoder();
  const found = {};
  for (const [number, contents] of fields(bytes)) {
    if (number === METADATA_PROPS) {
      const entry = new Map(fields(contents)); // of StringStringEntryProto: key 1, value 2
      const [key, value] = [1, 2].map((part) => text.decode(entry.get(part) ?? new Uint8Array()));
      if (key.startsWith(PREFIX)) {
        found[key.slice(PREFIX.length)] = value;
      }
    }
  }
  return found;
}

const areShares = (values) => values.length > 1 && Math.abs(sum(values) - 1) < 1e-3 &&
  values.every((value) => value >= 0 && value <= 1);

const lines = (text) => (text ? text.split("\n").filter((line) => line !== "") : []);

export class ExplainedModel {
  /* inputs and outputs: [{name, type, shape}] as the session tells them. */
  constructor(told, { inputs, outputs }) {
    this.prefix = told.prefix ?? "";
    this.targetInput = `${this.prefix}shap_target_input`;
    this.output = told.output;
    this.inputs = inputs;
    const listed = (name) => `,${told.inputs},`.includes(`,${name},`);
    const ours = outputs.filter(({ name }) => name.startsWith(this.prefix) && name.endsWith("_shap"));
    this.explained = ours.map(({ name }) => name.slice(this.prefix.length, -"_shap".length)).filter(listed);
    this.features = lines(told.feature_names);
    this.ranges = new Map(lines(told.reference_ranges).map((line) => {
      const [low, high, , ...name] = line.split(" ");
      return [name.join(" "), { low: Number(low), high: Number(high) }];
    }));
    const there = outputs.map(({ name }) => name);
    for (const name of ["shap_target", "base_value"].map((name) => this.prefix + name)) {
      if (!there.includes(name)) {
        throw new Error(`the model says that it is explained, but has no output "${name}"`);
      }
    }
  }

  isExplained(input) {
    return this.explained.includes(input.name);
  }

  /* What was asked of one sample: its scores, where the explained tensor is an output; shares of 1,
   * where an output has them; and a target each with its values by input. */
  read(outputs) {
    const named = (name) => outputs[this.prefix + name];
    const indices = Array.from(named("shap_target").data, Number);
    const numbers = (output) => (output ? Array.from(output.data, Number) : null);
    const own = new Set(["shap_target", "base_value", "completeness_gap",
      ...this.explained.map((name) => `${name}_shap`)].map((name) => this.prefix + name));
    const others = Object.keys(outputs).filter((name) => !own.has(name))
      .map((name) => numbers(outputs[name]));
    const shares = others.find((values) =>
      areShares(values) && values.length > Math.max(...indices)) ?? null;
    const scores = numbers(outputs[this.output]);
    const targets = indices.map((index, k) => this.#target(named, scores, index, k, indices.length));
    return { scores, shares, targets };
  }

  #target(named, scores, index, k, count) {
    const values = {};
    for (const name of this.explained) {
      const { data, dims } = named(`${name}_shap`);
      const size = product(dims) / count;
      values[name] = data.subarray(k * size, (k + 1) * size);
    }
    const base = Number(named("base_value").data[k]);
    const total = sum(Object.values(values).map((part) => sum(part)));
    const gap = Number(named("completeness_gap")?.data[k] ?? scores?.[index] - base - total);
    return { index, values, base, total, gap, score: base + total + (gap || 0) };
  }
}
