/* Makes an explained model of one that is none, here. */

/* The bytes of the explained model; `references` are those of a .npy, or null: zeros. */
export function explain(model, references, options = []) {
  const worker = new Worker(new URL("./explain_worker.js", import.meta.url), { type: "module" });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data: { bytes, error } }) => (error ? reject(new Error(error)) : resolve(bytes));
    worker.onerror = (event) => reject(new Error(event.message || "the worker could not be started"));
    worker.postMessage({ model, references, options });
  }).finally(() => worker.terminate());
}
