/* One explained model on the page: its inputs to the left, what it says and why to the right. */
import { element } from "./dom.js";
import { ExplainedModel, metadata } from "./explained.js";
import { isCompanion, kindOf, DigitInput, TokenInput } from "./inputs.js";
import { indexOfLargest, megabytes, milliseconds, percent, shown, softmax } from "./numbers.js";

const CLASSES = 10; // shown of many

/* A model that is none of ours, with the command that makes it one. */
export class Unexplained extends Error {
  constructor(name) {
    super(`${name} is not explained yet. This makes the file to drop here:`);
    const stem = name.replace(/\.onnx$/i, "");
    this.command = `onnxexplainer explain ${name} --references references.npy --gap ` +
      `-o ${stem}.explained.onnx`;
  }
}

export class Panel {
  #running = false;
  #again = false;
  #opened = null; // the engine's session, and the generation it is of

  /* source: {name, load(progress)}, the bytes of the model. definition: what is known of it.
   * explainer: {text, explain(bytes)}, where a model can be explained here. */
  constructor({ place, engine, source, definition = {}, explainer = null }) {
    Object.assign(this, { place, engine, source, definition, explainer });
    this.status = element("p", { class: "status", role: "status" });
    this.alert = element("p", { class: "alert", role: "alert" });
    this.headline = element("h3", { class: "headline" });
    this.classes = element("ol", { class: "classes" });
    this.views = element("div", { class: "views" });
    this.facts = element("dl", { class: "facts" });
    this.input = element("div", { class: "card input" });
    this.result = element("div", { class: "card result" },
      this.headline, this.views, this.classes, this.facts);
    this.work = element("div", { class: "work", hidden: true }, this.input, this.result);
    place.replaceChildren(this.status, this.alert, this.work);
  }

  async open() {
    try {
      await this.#session();
      this.#build();
      this.work.hidden = false;
      await Promise.all(this.widgets.map((widget) => widget.ready));
      await this.update();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error) {
    this.status.textContent = "";
    this.alert.replaceChildren(error.message,
      ...(error.command ? [element("code", {}, error.command)] : []),
      ...(error.command && this.explainer ? [this.#offer()] : []));
  }

  #offer() {
    return element("button", { type: "button", class: "explain", onclick: () => this.#explain() },
      this.explainer.text);
  }

  /* Goes on with what the model becomes. */
  async #explain() {
    const { name, load } = this.source;
    this.alert.replaceChildren();
    this.status.textContent = `Explaining ${name} …`;
    try {
      const bytes = await this.explainer.explain(await load(() => {}));
      this.source = { name, load: async () => bytes.slice() };
    } catch (error) {
      this.#fail(error);
      return;
    }
    await this.open();
  }

  async #session() {
    const { generation } = this.engine;
    if (this.#opened?.generation === generation) {
      return this.#opened;
    }
    const { name } = this.source;
    this.status.textContent = `Loading ${name} …`;
    const bytes = await this.source.load((done) => {
      this.status.textContent = `Loading ${name}: ${megabytes(done)} …`;
    });
    const told = metadata(bytes);
    if (!told.version) {
      throw new Unexplained(name);
    }
    this.status.textContent =
      `Preparing ${name}, ${megabytes(bytes.length)}: its references are computed once …`;
    const session = await this.engine.open(bytes);
    this.model = new ExplainedModel(told, session);
    this.status.textContent = "";
    this.#opened = { ...session, generation };
    return this.#opened;
  }

  #build() {
    const { definition, model } = this;
    const companions = model.inputs.filter((input) => !model.isExplained(input) && isCompanion(input));
    const onchange = (error) => (error instanceof Error ? this.#fail(error) : this.update());
    this.widgets = model.inputs.filter((input) => !companions.includes(input)).map((input) => {
      const Kind = definition.kind === "digit" ? DigitInput : kindOf(input);
      const own = Kind === TokenInput ? companions : [];
      return new Kind({ input, model, definition, companions: own, onchange });
    });
    this.input.replaceChildren(...this.widgets.map(({ element }) => element));
    this.views.replaceChildren(...this.#shown().map(({ view }) => view));
  }

  #shown() {
    return this.widgets.filter(({ input }) => this.model.isExplained(input));
  }

  /* Gives a dropped array or picture to the first input that takes it. */
  async take(file) {
    const widget = this.widgets?.find((one) => one.take);
    try {
      await widget?.take(file, file.name);
    } catch (error) {
      this.#fail(error);
    }
  }

  /* Runs the model on what is given now; of changes during a run the last is what counts. */
  async update() {
    if (this.#running) {
      this.#again = true;
      return;
    }
    this.#running = true;
    try {
      do {
        this.#again = false;
        await this.#run();
      } while (this.#again);
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#running = false;
    }
  }

  #feeds() {
    const parts = this.widgets.map((widget) => widget.feeds());
    return parts.includes(null) ? null : Object.assign({}, ...parts);
  }

  async #run() {
    const feeds = this.#feeds();
    this.result.classList.toggle("empty", !feeds);
    this.alert.replaceChildren();
    if (!feeds) {
      this.headline.textContent = "Nothing to explain yet";
      return;
    }
    const { outputs, time } = await this.#ask(feeds);
    this.time = time;
    this.found = this.model.read(outputs);
    if (this.definition.logits) {
      this.found.shares ??= softmax(this.found.scores);
    }
    this.#choose(this.#first());
    this.place.dispatchEvent(new CustomEvent("onnxexplainer:result",
      { bubbles: true, detail: { feeds, outputs, time, engine: this.engine.settings } }));
  }

  async #ask(feeds) {
    const session = await this.#session();
    this.result.setAttribute("aria-busy", "true");
    try {
      return await this.engine.run(session.key, feeds);
    } catch (error) {
      if (session.generation === this.engine.generation) {
        throw error;
      }
      return this.#ask(feeds); // the settings were changed meanwhile
    } finally {
      this.result.removeAttribute("aria-busy");
    }
  }

  #label(index) {
    return index < 0 ? "the difference" : this.definition.labels?.[index] ?? `output ${index}`;
  }

  /* What the classes are compared by; null where there is nothing but targets. */
  #ranks() {
    return this.found.shares ?? this.found.scores;
  }

  /* The target of the largest score, else the first. */
  #first() {
    const { targets } = this.found;
    const ranks = this.#ranks();
    const best = ranks ? indexOfLargest(ranks) : targets[0].index;
    return Math.max(0, targets.findIndex(({ index }) => index === best));
  }

  #choose(k) {
    const target = { ...this.found.targets[k], label: this.#label(this.found.targets[k].index) };
    this.chosen = k;
    this.#tell(target);
    this.#list();
    for (const widget of this.#shown()) {
      widget.show(target);
    }
  }

  #tell(target) {
    const top = this.found.targets[this.#first()];
    const share = this.found.shares?.[top.index];
    this.headline.replaceChildren(element("strong", {}, this.#label(top.index)), " ",
      element("span", {}, share === undefined ? shown(top.score) : percent(share)));
    const { threads } = this.engine.settings;
    const engine = this.#opened.runsOn === "webgpu" ? "WebGPU"
      : `WebAssembly, ${threads} thread${threads > 1 ? "s" : ""}`;
    const facts = {
      "Base value": shown(target.base),
      "+ SHAP values": shown(target.total),
      [`= score of ${target.label}`]: shown(target.score),
      ...(Number.isNaN(target.gap) ? {} : { "missed by": shown(Math.abs(target.gap)) }),
      "Prediction and values in": `${milliseconds(this.time)}, ${engine}`,
    };
    this.facts.replaceChildren(...Object.entries(facts).map(([name, value]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, value))));
  }

  /* The classes, the likeliest first where there are many; those with values can be chosen. */
  #list() {
    const ranks = this.#ranks();
    const few = ranks && ranks.length <= CLASSES;
    const indices = !ranks ? this.found.targets.map(({ index }) => index)
      : few ? [...ranks.keys()] : [...ranks.keys()].sort((a, b) => ranks[b] - ranks[a]).slice(0, 5);
    const focused = this.classes.contains(document.activeElement)
      ? document.activeElement.dataset.index : null;
    this.classes.classList.toggle("short", Boolean(few && ranks.length > 4));
    const listed = indices.length > 1 ? indices : [];
    this.classes.replaceChildren(...listed.map((index) => this.#class(index)));
    this.classes.querySelector(`[data-index="${focused}"]`)?.focus();
  }

  #class(index) {
    const k = this.found.targets.findIndex((target) => target.index === index);
    const share = this.found.shares?.[index];
    const meter = element("i", { class: "meter", "aria-hidden": "true" });
    meter.style.setProperty("--share", share ?? 0);
    const score = this.found.scores?.[index] ?? this.found.targets[k].score;
    const parts = [element("span", { class: "name" }, this.#label(index)), meter,
      element("span", { class: "share" }, share === undefined ? shown(score) : percent(share))];
    return element("li", {}, k < 0 ? element("span", { class: "class" }, ...parts) : element("button", {
      type: "button", class: "class", "aria-pressed": String(k === this.chosen), "data-index": index,
      title: `What speaks for and against ${this.#label(index)}`, onclick: () => this.#choose(k),
    }, ...parts));
  }

  /* Draws again, as when the theme changes. */
  redraw() {
    for (const widget of this.found ? this.#shown() : []) {
      widget.show(widget.shown);
    }
  }

  async close() {
    if (this.#opened?.generation === this.engine.generation) {
      await this.engine.close(this.#opened.key);
    }
    this.#opened = null;
  }
}
