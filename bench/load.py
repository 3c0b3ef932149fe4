"""What loading explained models costs, as a multiple of the plain model's.

    bench/load.py FOLDER ... [--rounds 5]

Each folder has model.onnx, background.npy and input.npy. Sessions of the plain model, of the
explained one with kernels and without, and on what a first start keeps take turns in one thread;
*own kernels*: those that the model has, as sessions of ours register them. Figures are the least CPU time, and the least wall time of one sample with that session."""
import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from models import COMMAND, KERNELS

ENDING = 24  # bytes behind a plan that is kept


def options(kernels, names=None, kept=False):
    made = onnxruntime.SessionOptions()
    made.intra_op_num_threads, made.log_severity_level = 1, 4
    if kept:
        made.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if names is not None:
        made.add_session_config_entry("onnxexplainer.kernels", names)
    if kernels:
        made.register_custom_ops_library(str(KERNELS))
    return made


def explained(folder, work):
    """The explained model, and the bytes of the plan that is kept of it, None where none gains."""
    model, kept = work / "explained.onnx", work / "kept"
    subprocess.run([COMMAND, "explain", folder / "model.onnx", "-r", folder / "background.npy", "-q",
                    "-o", model], check=True)
    subprocess.run([COMMAND, "run", model, "-i", work / "one.npy", "--tune", "-q", "--threads=1"],
                   check=True, env=os.environ | {"ONNXEXPLAINER_CACHE": str(kept)})
    data = next(kept.glob("*.plan")).read_bytes()[:-ENDING]
    return model, data or None


def kernels_of(model):
    return {p.key: p.value for p in model.metadata_props}.get("onnxexplainer.kernels", "")


def measure(folder, rounds):
    """(CPU seconds of loading, wall seconds of a sample) by kind."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        sample = np.load(folder / "input.npy")[:1]
        np.save(work / "one.npy", sample)
        model, plan = explained(folder, work)
        names = kernels_of(onnx.load(model))
        kinds = {"plain": (str(folder / "model.onnx"), False), "kernels": (str(model), True),
                 "own kernels": (str(model), True, names), "portable": (str(model), False)}
        if plan is not None:
            kinds["second start"] = (plan, True, kernels_of(onnx.load_from_string(plan)), True)
        least = {kind: [np.inf, np.inf] for kind in kinds}
        for _ in range(rounds):
            for kind, (source, *how) in kinds.items():
                before = time.process_time()
                session = onnxruntime.InferenceSession(source, options(*how),
                                                       providers=["CPUExecutionProvider"])
                least[kind][0] = min(least[kind][0], time.process_time() - before)
                feeds = {session.get_inputs()[0].name: sample}
                for _ in range(20):
                    before = time.perf_counter()
                    session.run(None, feeds)
                    least[kind][1] = min(least[kind][1], time.perf_counter() - before)
        return least


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    kinds = ("kernels", "own kernels", "portable", "second start")
    heads = " | ".join(kinds)
    print(f"| model | plain load s | {heads} | plain ms | {heads} |\n| --- |" + " ---: |" * 10)
    for folder in given.folders:
        least = measure(folder, given.rounds)
        load, run = least["plain"]
        cells = [f"{load:.3f}"]
        cells += [f"{least[k][0] / load:.1f}" if k in least else "" for k in kinds]
        cells += [f"{1e3 * run:.3f}"]
        cells += [f"{least[k][1] / run:.2f}" if k in least else "" for k in kinds]
        print(f"| {folder.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
