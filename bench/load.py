"""What loading explained models costs, as a multiple of the plain model's.

    bench/load.py FOLDER ... [--rounds 5]

Each folder has model.onnx, background.npy and input.npy. First sessions of ONNX Runtime's own: of
the plain model, of the explained one with kernels and without, and on what a first start keeps take
turns in one thread; *own kernels*: those that the model has, and without the passes that sessions of
ours leave out; *file*: the same with --cache=file. Figures are the least CPU time, and the least wall
time of one sample with that session. Then sessions of ours, as ox_session_open opens them: untuned,
one that finds nothing kept (and makes a plan, and measures it), and the next one."""
import argparse
import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from models import COMMAND, KERNELS, ROOT

sys.path.insert(0, str(ROOT / "build/python"))
import _abi

ENDING = 24  # bytes behind a plan that is kept
LEFT_OUT = "CommonSubexpressionElimination;ConstantSharing;GatherSliceToSplitFusion"
KEPT = "ONNXEXPLAINER_CACHE"


def options(kernels, names=None, kept=False):
    made = onnxruntime.SessionOptions()
    made.intra_op_num_threads, made.log_severity_level = 1, 4
    if kept:
        made.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if names is not None:
        made.add_session_config_entry("onnxexplainer.kernels", names)
        made.add_session_config_entry("optimization.disable_specified_optimizers", LEFT_OUT)
    if kernels:
        made.register_custom_ops_library(str(KERNELS))
    return made


def explain(folder, model, *options):
    subprocess.run([COMMAND, "explain", folder / "model.onnx", "-r", folder / "background.npy", "-q",
                    "-o", model, *options], check=True)
    return model


def explained(folder, work):
    """The explained model, and the bytes of the plan that is kept of it, None where none gains."""
    model, kept = explain(folder, work / "explained.onnx"), work / "kept"
    subprocess.run([COMMAND, "run", model, "-i", work / "one.npy", "--tune", "-q", "--threads=1"],
                   check=True, env=os.environ | {KEPT: str(kept)})
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
        file = str(explain(folder, work / "file.onnx", "--cache=file"))
        kinds = {"plain": (str(folder / "model.onnx"), False), "kernels": (str(model), True),
                 "own kernels": (str(model), True, names), "file": (file, True, names),
                 "portable": (str(model), False)}
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


def open_ours(library, path, tune):
    """CPU seconds."""
    options = _abi.ox_session_options(size=ctypes.sizeof(_abi.ox_session_options))
    options.threads, options.no_tune = 1, not tune
    before = time.process_time()
    session = library.ox_session_open(os.fsencode(path), ctypes.byref(options), None)
    took = time.process_time() - before
    assert session is not None, path
    library.ox_session_free(ctypes.c_void_p(session))
    return took


def measure_ours(folder, rounds):
    """CPU seconds of sessions of ours by kind."""
    library = ctypes.CDLL(str(ROOT / "build/libonnxexplainer.so"))
    library.ox_session_open.restype = ctypes.c_void_p
    least = {}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        model = explain(folder, work / "explained.onnx")
        os.environ[KEPT] = str(work / "kept")
        kinds = {"plain": (folder / "model.onnx", True), "untuned": (model, False),
                 "first": (model, True), "second": (model, True)}
        for _ in range(rounds):
            shutil.rmtree(work / "kept", ignore_errors=True)
            for kind, how in kinds.items():
                least[kind] = min(least.get(kind, np.inf), open_ours(library, *how))
    return least


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    kinds = ("kernels", "own kernels", "file", "portable", "second start")
    heads = " | ".join(kinds)
    print(f"| model | plain load s | {heads} | plain ms | {heads} |\n| --- |" + " ---: |" * 12)
    for folder in given.folders:
        least = measure(folder, given.rounds)
        load, run = least["plain"]
        cells = [f"{load:.3f}"]
        cells += [f"{least[k][0] / load:.1f}" if k in least else "" for k in kinds]
        cells += [f"{1e3 * run:.3f}"]
        cells += [f"{least[k][1] / run:.2f}" if k in least else "" for k in kinds]
        print(f"| {folder.name} | {' | '.join(cells)} |", flush=True)
    print("\n| model | plain ms | untuned | first | second |\n| --- |" + " ---: |" * 4)
    for folder in given.folders:
        ours = measure_ours(folder, given.rounds)
        cells = [f"{1e3 * ours['plain']:.2f}"]
        cells += [f"{ours[kind] / ours['plain']:.1f}" for kind in ("untuned", "first", "second")]
        print(f"| {folder.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
