/* The page's side of the worker. Settings that only a new worker takes begin a new one: sessions
 * are gone then, and `generation` tells. */

export class Engine {
  #worker = null;
  #waiting = new Map();
  #count = 0;
  generation = 0;

  constructor(settings) {
    this.settings = settings;
  }

  set(settings) {
    this.settings = { ...this.settings, ...settings };
    this.#worker?.terminate();
    this.#worker = null;
    for (const { reject } of this.#waiting.values()) {
      reject(new Error("the engine was changed"));
    }
    this.#waiting.clear();
    this.generation++;
  }

  async #begin() {
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data: { id, result, error } }) => {
      const { resolve, reject } = this.#waiting.get(id) ?? {};
      this.#waiting.delete(id);
      error ? reject?.(new Error(error)) : resolve?.(result);
    };
    this.#worker.onerror = (event) => {
      for (const { reject } of this.#waiting.values()) {
        reject(new Error(event.message || "the worker could not be started"));
      }
      this.#waiting.clear();
    };
    this.#started = this.#send("start", this.settings);
  }

  #started;

  #send(kind, message, transfer = []) {
    const id = ++this.#count;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, kind, ...message }, transfer);
    });
  }

  async #call(kind, message, transfer) {
    if (!this.#worker) {
      this.#begin();
    }
    await this.#started;
    return this.#send(kind, message, transfer);
  }

  /* {key, inputs, outputs, runsOn}; the bytes go to the worker. */
  async open(bytes) {
    const key = ++this.#count;
    return { key, ...(await this.#call("open", { key, bytes }, [bytes.buffer])) };
  }

  run(key, feeds) {
    return this.#call("run", { key, feeds });
  }

  close(key) {
    return this.#worker ? this.#call("close", { key }) : Promise.resolve();
  }
}

/* Threads share memory, which browsers allow isolated pages only. */
export const threadsAllowed = () => self.crossOriginIsolated;

export function threadChoices() {
  const most = threadsAllowed() ? Math.min(navigator.hardwareConcurrency || 1, 8) : 1;
  return [1, 2, 4, 8].filter((threads) => threads <= most);
}
