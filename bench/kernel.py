"""Kernel SHAP in the graph beside shap.KernelExplainer and beside the model alone.

An ensemble of trees (bench/trees.py) is explained with method kernel against one reference. It takes
turns with SHAP on the same model in ONNX Runtime, with as many coalitions, and with ONNX Runtime on
as many rows as a sample has coalitions, all at once. Needs lightgbm, shap, onnxmltools and
onnxruntime."""

import argparse
import functools
import pathlib
import subprocess
import tempfile
import time

import numpy as np
import onnx
import onnxruntime

from trees import COMMAND, export, grow


def options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, value in dict(trees=100, leaves=31, features=30, references=1, rows=10, rounds=5,
                            threads=2, samples=2108).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--no-shap", action="store_true")
    parser.add_argument("--option", action="append", default=[], help="of explain")
    return parser.parse_args()


def session(path, threads, **more):
    o = onnxruntime.SessionOptions()
    o.intra_op_num_threads = threads
    for name, value in more.items():
        setattr(o, name, value)
    return onnxruntime.InferenceSession(str(path), o, providers=["CPUExecutionProvider"])


def contenders(o, folder):
    model, r, x = grow(o)
    onnx.save(export(model, o.features), folder / "model.onnx")
    np.save(folder / "r.npy", r)
    subprocess.run([COMMAND, "explain", folder / "model.onnx", "-r", folder / "r.npy", "-o",
                    folder / "explained.onnx", "-q", "--method=kernel", f"--samples={o.samples}",
                    *o.option], check=True)
    plain, ours = (session(folder / f"{name}.onnx", o.threads) for name in ("model", "explained"))
    rng = np.random.default_rng(1)
    mixed = [np.where(rng.random((o.samples, o.features)) < 0.5, row, r[:1]) for row in x]
    found = {"ours, all samples": lambda: ours.run(["x_shap"], {"x": x})[0],
             "ours, one by one": lambda: np.concatenate(
                 [ours.run(["x_shap"], {"x": x[i:i + 1]})[0] for i in range(len(x))]),
             "the model's rows": lambda: [plain.run(None, {"x": m})[0] for m in mixed]}
    if not o.no_shap:
        import shap
        functions = {"ONNX Runtime": lambda a: plain.run(None, {"x": a.astype(np.float32)})[0][:, 0],
                     "LightGBM": model.predict}
        for name, f in functions.items():
            found[f"SHAP on {name}"] = functools.partial(
                shap.KernelExplainer(f, r).shap_values, x, nsamples=o.samples, silent=True,
                l1_reg=False)
    return found


def main():
    o = options()
    with tempfile.TemporaryDirectory() as folder:
        found = contenders(o, pathlib.Path(folder))
        seconds = {name: [] for name in found}
        for _ in range(o.rounds):
            for name, go in found.items():
                start = time.perf_counter()
                go()
                seconds[name].append(time.perf_counter() - start)
    ideal = min(seconds["the model's rows"])
    print(f"{o.trees} trees of {o.leaves} leaves, {o.features} features, {o.samples} coalitions, "
          f"{o.rows} samples, {o.threads} threads, {o.rounds} rounds\n")
    print("| | least s | of the model's rows |\n| --- | ---: | ---: |")
    for name, times in seconds.items():
        print(f"| {name} | {min(times):.3f} | {min(times) / ideal:.2f} |")


if __name__ == "__main__":
    main()
