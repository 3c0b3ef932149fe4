"""An ensemble of trees beside SHAP's.

Explains a LightGBM regressor with shap.TreeExplainer (interventional, its C++) and with its
explained export, in Python's ONNX Runtime and by `onnxexplainer run`, with kernels and without,
taking turns. Needs lightgbm, shap, onnxmltools and onnxruntime; ONNXEXPLAINER names the command
line, by default that of build/. Prints a table of seconds; `run` is with its start, reading and
writing."""

import argparse
import os
import pathlib
import subprocess
import tempfile
import time

import numpy as np
import onnx
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parent.parent
COMMAND = os.environ.get("ONNXEXPLAINER", str(ROOT / "build" / "onnxexplainer"))
KERNELS = str(pathlib.Path(COMMAND).parent / "libonnxexplainer_ops.so")


def options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, value in dict(trees=100, leaves=31, features=30, references=100, rows=1000, rounds=3,
                            threads=2).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    return parser.parse_args()


def grow(o):
    """A model of a function with products and waves of normal numbers, and these."""
    import lightgbm
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000 + o.rows, o.features)).astype(np.float32)
    y = x @ (rng.normal(size=o.features) * (rng.random(o.features) < 0.5))
    y += np.sin(3 * x[:, 0]) * x[:, 1] + x[:, 2] * x[:, 3]
    model = lightgbm.LGBMRegressor(n_estimators=o.trees, num_leaves=o.leaves, random_state=0,
                                   n_jobs=o.threads, verbose=-1).fit(x[:4000], y[:4000])
    return model, x[:o.references], x[4000:]


def export(model, features):
    import onnxmltools
    from onnxmltools.convert.common.data_types import FloatTensorType
    return onnxmltools.convert_lightgbm(
        model, initial_types=[("x", FloatTensorType([None, features]))], target_opset=15)


def by_shap(model, r, x):
    import shap
    explainer = shap.TreeExplainer(model, r, feature_perturbation="interventional",
                                   model_output="raw")
    return lambda: explainer.shap_values(x, check_additivity=False)


def by_session(path, x, threads, kernels):
    o = onnxruntime.SessionOptions()
    o.intra_op_num_threads = threads
    if kernels:
        o.register_custom_ops_library(KERNELS)
    session = onnxruntime.InferenceSession(str(path), o, providers=["CPUExecutionProvider"])
    return lambda: session.run(["x_shap"], {"x": x})[0]


def by_run(path, folder, threads, *more):
    out = folder / "out.npz"

    def go():
        subprocess.run([COMMAND, "run", path, "--input", folder / "x.npy", "-o", out, "-q",
                        f"--threads={threads}", *more], check=True)
        with np.load(out) as arrays:
            return arrays["x_shap"]

    return go


def explained(o, folder):
    model, r, x = grow(o)
    onnx.save(export(model, o.features), folder / "model.onnx")
    np.save(folder / "x.npy", x)
    np.save(folder / "r.npy", r)
    path = folder / "explained.onnx"
    subprocess.run([COMMAND, "explain", folder / "model.onnx", "-r", folder / "r.npy", "-o", path,
                    "-q"], check=True)
    return {"SHAP TreeExplainer": by_shap(model, r, x),
            "portable": by_session(path, x, o.threads, False),
            "kernels": by_session(path, x, o.threads, True),
            "run, portable": by_run(path, folder, o.threads, "--no-kernels"),
            "run, kernels": by_run(path, folder, o.threads)}


def main():
    o = options()
    with tempfile.TemporaryDirectory() as folder:
        contenders = explained(o, pathlib.Path(folder))
        seconds, found = {name: [] for name in contenders}, {}
        for _ in range(o.rounds):
            for name, go in contenders.items():
                start = time.perf_counter()
                found[name] = go()
                seconds[name].append(time.perf_counter() - start)
    wanted = next(iter(found.values()))
    print(f"{o.trees} trees of {o.leaves} leaves, {o.features} features, {o.references} "
          f"references, {o.rows} rows, {o.threads} threads, {o.rounds} rounds\n")
    print("| | least s | median s | of SHAP's | largest difference, of the largest value |")
    print("| --- | ---: | ---: | ---: | ---: |")
    base = min(next(iter(seconds.values())))
    for name, times in seconds.items():
        apart = np.abs(found[name] - wanted).max() / np.abs(wanted).max()
        print(f"| {name} | {min(times):.2f} | {np.median(times):.2f} | {min(times) / base:.2f} | "
              f"{apart:.1e} |")


if __name__ == "__main__":
    main()
