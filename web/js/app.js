/* The page: tabs, each with a model of its own, the engine's settings, the theme. */
import { choice, dropZone, element, labelled } from "./dom.js";
import { DIGITS } from "./samples.js";
import { EXPLAINS } from "./build.js";
import { explain } from "./explain.js";
import { Engine, threadChoices, threadsAllowed } from "./engine.js";
import { Panel } from "./panel.js";
import { TextTokenizer, wordPiece } from "./tokens.js";

const asked = new URLSearchParams(location.search);
const threads = threadChoices();
const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
const engine = new Engine({
  backend: asked.get("backend") === "webgpu" && adapter ? "webgpu" : "wasm",
  threads: threads.find((count) => String(count) === asked.get("threads")) ?? threads.at(-1),
});
const panels = new Map(); // by the tab's name
const downloaded = new Set(); // addresses of models

/* ---- files that come with the page ------------------------------------------------------- */

async function download(url, progress) {
  downloaded.add(url);
  const answer = await fetch(url);
  if (!answer.ok) {
    throw new Error(`${url}: ${answer.status} ${answer.statusText}`);
  }
  const parts = [];
  let size = 0;
  for (const reader = answer.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) {
      break;
    }
    parts.push(value);
    size += value.length;
    progress(size);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

async function demo(name) {
  const definition = await (await fetch(`models/${name}.json`)).json();
  if (definition.kind === "digit") {
    definition.samples = DIGITS;
  }
  if (definition.vocabulary) {
    definition.tokenizer = await TextTokenizer.from(wordPiece(definition.vocabulary));
  }
  const url = `models/${name}.onnx`;
  return { definition, source: { name: `${name}.onnx`, load: (progress) => download(url, progress) } };
}

async function openDemo(name, section) {
  const place = section.querySelector(".place");
  place.replaceChildren(element("p", { class: "status", role: "status" }, "Loading …"));
  const panel = new Panel({ place, engine, ...(await demo(name)) });
  panels.set(name, panel);
  await panel.open();
}

/* ---- a model of one's own ---------------------------------------------------------------- */

const alert = (text) => element("p", { class: "alert", role: "alert" }, text);

const named = (files, pattern) => files.find(({ name }) => pattern.test(name));

async function textLines(file) {
  return (await file.text()).replace(/\r?\n$/, "").split(/\r?\n/);
}

/* What the files beside a model say: names of its classes, or the vocabulary of its texts. */
async function definitionOf(files) {
  const definition = {};
  const json = named(files, /\.json$/i);
  if (json) {
    definition.tokenizer = await TextTokenizer.from(JSON.parse(await json.text()));
  }
  for (const file of files.filter(({ name }) => /\.txt$/i.test(name))) {
    const found = await textLines(file);
    if (found.includes("[UNK]")) {
      definition.tokenizer = await TextTokenizer.from(wordPiece(found));
    } else {
      definition.labels = found;
    }
  }
  return definition;
}

/* References of a model that is explained here come as .npy of this name. */
const REFERENCES = /(references|background)[^/]*\.npy$/i;

/* What makes an explained model of one's own, of these references. */
function explainerOf(references) {
  return EXPLAINS ? {
    text: `Explain it here, against ${references ? references.name : "zeros"}`,
    explain: async (bytes) =>
      explain(bytes, references ? new Uint8Array(await references.arrayBuffer()) : null),
  } : null;
}

let own = { model: null, files: [], references: null };

async function takeOwn(section, files) {
  const place = section.querySelector(".place");
  const model = named(files, /\.onnx$/i);
  const beside = files.filter(({ name }) => /\.(txt|json)$/i.test(name));
  const references = named(files, REFERENCES) ?? null;
  own = model ? { model, files: beside, references }
    : { ...own, files: [...own.files, ...beside], references: references ?? own.references };
  if (!own.model) {
    place.replaceChildren(alert("An explained model, a .onnx file, comes first."));
    return;
  }
  if (model || references || beside.length) {
    await panels.get("own")?.close();
    const load = async () => new Uint8Array(await own.model.arrayBuffer());
    const panel = new Panel({ place, engine, source: { name: own.model.name, load },
      explainer: explainerOf(own.references) });
    panels.set("own", panel);
    try {
      panel.definition = await definitionOf(own.files);
    } catch (error) {
      place.append(alert(error.message));
    }
    await panel.open();
  }
  for (const file of files.filter(({ name }) => !/\.(onnx|txt|json)$/i.test(name) && !REFERENCES.test(name))) {
    await panels.get("own").take(file);
  }
}

function prepareOwn(section) {
  section.querySelector(".zone").append(dropZone({
    text: "Drop an explained .onnx here; with it, if you like, its classes (.txt), its tokenizer.json " +
      "or vocab.txt, a sample (.npy, a picture)",
    button: "Choose files", multiple: true, accept: ".onnx,.txt,.json,.npy,image/*",
    onfiles: (files) => takeOwn(section, files),
  }));
}

/* ---- tabs -------------------------------------------------------------------------------- */

function prepareTabs(available) {
  const all = [...document.querySelectorAll("[role=tab]")];
  const tabs = all.filter((tab) => available.includes(tab.dataset.name) || tab.dataset.name === "own");
  all.filter((tab) => !tabs.includes(tab)).forEach((tab) => {
    tab.hidden = true;
  });
  const select = (chosen, focus) => {
    for (const tab of tabs) {
      const here = tab === chosen;
      tab.setAttribute("aria-selected", String(here));
      tab.tabIndex = here ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !here;
    }
    const { name } = chosen.dataset;
    if (focus) {
      chosen.focus();
    }
    chosen.scrollIntoView({ block: "nearest", inline: "nearest" });
    if (name !== "own" && !panels.has(name)) {
      panels.set(name, null);
      openDemo(name, document.getElementById(name)).catch((error) => {
        panels.delete(name);
        document.querySelector(`#${name} .status`).textContent = error.message;
      });
    } else {
      panels.get(name)?.redraw();
      if (panels.get(name)?.stale) {
        refresh(panels.get(name));
      }
    }
  };
  const of = (name) => tabs.find((tab) => tab.dataset.name === name) ?? tabs[0];
  const keys = { ArrowRight: 1, ArrowLeft: -1 };
  tabs.forEach((tab, i) => {
    tab.addEventListener("click", () => {
      history.replaceState(null, "", `#${tab.dataset.name}`);
      select(tab);
    });
    tab.addEventListener("keydown", (event) => {
      const next = event.key in keys ? (i + keys[event.key] + tabs.length) % tabs.length
        : { Home: 0, End: tabs.length - 1 }[event.key];
      if (next !== undefined) {
        event.preventDefault();
        history.replaceState(null, "", `#${tabs[next].dataset.name}`);
        select(tabs[next], true);
      }
    });
  });
  addEventListener("hashchange", () => select(of(location.hash.slice(1))));
  select(of(location.hash.slice(1)));
}

/* ---- settings ---------------------------------------------------------------------------- */

function refresh(panel) {
  panel.stale = false;
  panel.update();
}

function apply(settings) {
  engine.set(settings);
  for (const [name, panel] of panels) {
    if (panel) {
      panel.stale = true;
      if (!document.getElementById(name).hidden) {
        refresh(panel);
      }
    }
  }
}

function prepareSettings() {
  const place = document.getElementById("settings");
  const backends = [["wasm", "WebAssembly"], ...(adapter ? [["webgpu", "WebGPU"]] : [])];
  if (backends.length > 1) {
    place.append(labelled("Runs on", choice(backends, engine.settings.backend,
      (backend) => apply({ backend }))));
  }
  place.append(labelled("Threads", choice(threads.map((count) => [String(count), String(count)]),
    String(engine.settings.threads), (count) => apply({ threads: Number(count) }))));
  if (!threadsAllowed()) {
    place.append(element("p", {}, "More threads need the page to be isolated: reload it once."));
  }
}

function prepareTheme() {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const isDark = () => (root.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  const redraw = () => {
    button.setAttribute("aria-label", isDark() ? "Use light colours" : "Use dark colours");
    panels.forEach((panel) => panel?.redraw());
  };
  const kept = localStorage.getItem("theme");
  if (kept) {
    root.dataset.theme = kept;
  }
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
    redraw();
  });
  dark.addEventListener("change", redraw);
  redraw();
}

/* What was read before the service worker was there passes it once more. */
async function keepForOffline() {
  const workers = navigator.serviceWorker;
  if (!workers) {
    return; // the page needs its server
  }
  workers.addEventListener("controllerchange", () => {
    downloaded.forEach((url) => fetch(url, { cache: "force-cache" }).catch(() => {}));
  }, { once: true });
  await workers.register("sw.js").catch(() => {});
}

prepareTheme();
prepareSettings();
prepareOwn(document.getElementById("own"));
prepareTabs(await (await fetch("models/index.json")).json());
document.documentElement.dataset.ready = "";
keepForOffline();
