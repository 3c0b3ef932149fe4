/* ONNX Runtime in a worker of its own, so that the page stays quick. Its wasm files lie beside it
 * as they are: bundled, their threads would not find them. */
const FILES = new URL("../ort/", import.meta.url);
const sessions = new Map();
let ort;
let backend;

const kinds = {
  async start(settings) {
    backend = settings.backend;
    ort = await import(`${FILES}ort.${backend}.min.mjs`);
    ort.env.wasm.wasmPaths = FILES.href;
    ort.env.wasm.numThreads = settings.threads;
    ort.env.logLevel = "error";
  },

  async open({ key, bytes }) {
    const create = (backend) =>
      ort.InferenceSession.create(bytes, { executionProviders: [...new Set([backend, "wasm"])] });
    let runsOn = backend;
    const session = await create(backend).catch((error) => {
      if (backend === "wasm") {
        throw error;
      }
      runsOn = "wasm"; // WebGPU does not take every model
      return create("wasm");
    });
    sessions.set(key, session);
    const told = (list) => list.map(({ name, type, shape }) => ({ name, type, shape: [...(shape ?? [])] }));
    return {
      inputs: told(session.inputMetadata),
      outputs: told(session.outputMetadata),
      runsOn,
    };
  },

  async run({ key, feeds }) {
    const tensors = {};
    for (const [name, { type, data, dims }] of Object.entries(feeds)) {
      tensors[name] = new ort.Tensor(type, data, dims);
    }
    const began = performance.now();
    const results = await sessions.get(key).run(tensors);
    const time = performance.now() - began;
    const outputs = {};
    for (const [name, tensor] of Object.entries(results)) {
      outputs[name] = { type: tensor.type, dims: [...tensor.dims], data: await tensor.getData() };
      tensor.dispose();
    }
    return { outputs, time };
  },

  async close({ key }) {
    await sessions.get(key)?.release();
    sessions.delete(key);
  },
};

self.onmessage = async ({ data: { id, kind, ...rest } }) => {
  try {
    self.postMessage({ id, result: await kinds[kind](rest) });
  } catch (error) {
    self.postMessage({ id, error: String(error?.message ?? error) });
  }
};
