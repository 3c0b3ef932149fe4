/* `onnxexplainer explain`, as WebAssembly: one call a worker. */
import program from "../explainer/onnxexplainer_page.mjs";

const said = [];

self.onmessage = async ({ data: { model, references, options } }) => {
  try {
    const { FS, callMain } = await program({ print: () => {}, printErr: (line) => said.push(line) });
    FS.writeFile("model.onnx", model);
    if (references) {
      FS.writeFile("references.npy", references);
    }
    const code = callMain(["explain", "model.onnx", "-r", references ? "references.npy" : "fill:0",
      "-o", "explained.onnx", "--quiet", ...options]);
    if (code !== 0) {
      throw new Error(said.at(-1) ?? `explain ended with ${code}`);
    }
    const bytes = FS.readFile("explained.onnx");
    self.postMessage({ bytes }, [bytes.buffer]);
  } catch (error) {
    self.postMessage({ error: String(error?.message ?? error).replace(/^onnxexplainer: /, "") });
  }
};
