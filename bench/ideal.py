#!/usr/bin/env python3
"""How far an explained model is from ideal.

Ideal is what any exact method must at least do: one forward of the sample and one of the R
references, here by ONNX Runtime on the plain model, in two calls. Both contenders take turns
in this process, round by round, so that they meet the same noise; minimum and median over the
rounds are printed, and the ratio of the minima. Peak memory, load time and the first run are
measured before that, each contender in a process of its own.

The completeness error is |sum(phi) - (f(x) - mean f(r))| / max(|f(x) - mean f(r)|,
1e-3 sum|phi|), with f from the plain model, in float64.
"""
import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np


def session(path, threads):
    import onnxruntime  # not before the children have been measured

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def forward(plain, values):
    """Outputs of the plain model, by name; one row at a time where its batch is fixed to 1."""
    [entry] = plain.get_inputs()
    names = [output.name for output in plain.get_outputs()]
    batches = [values[i:i + 1] for i in range(len(values))] if entry.shape[0] == 1 else [values]
    parts = [plain.run(names, {entry.name: batch}) for batch in batches]
    return {name: np.concatenate(part) for name, part in zip(names, zip(*parts))}


def contender(options, name):
    """(session, what one run of the contender is)."""
    sample = np.load(options.input)
    if name == "explained":
        explained = session(options.explained, options.threads)
        names = [output.name for output in explained.get_outputs()]
        entry = explained.get_inputs()[0].name
        return lambda: dict(zip(names, explained.run(names, {entry: sample})))
    references = np.load(options.references)
    plain = session(options.model, options.threads)
    return lambda: (forward(plain, sample), forward(plain, references))


def timed(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def alone(options, name):
    """Load time, first run and peak memory of this process, as JSON on stdout."""
    start = time.perf_counter()
    run = contender(options, name)
    loaded = time.perf_counter() - start
    first = timed(run)
    run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"load": loaded, "first": first, "peak": peak}))


def size(path):
    """MiB of a model with its external data, which is expected beside it: NAME.onnx*."""
    return sum(file.stat().st_size for file in path.parent.glob(path.name + "*")) / 2**20


def accuracy(plain, explained, output):
    """(completeness error, relative difference of predictions), the largest over samples."""
    (at_sample, at_references) = plain
    output = output or next(iter(at_sample))
    target = explained["shap_target"]
    count = len(target)
    f = at_sample[output].astype(np.float64).reshape(count, -1)
    f0 = at_references[output].astype(np.float64).reshape(len(at_references[output]), -1)
    index = target.reshape(count, -1)
    dy = np.take_along_axis(f - f0.mean(0), index, 1)
    [phi] = [value for name, value in explained.items() if name.endswith("_shap")]
    phi = phi.astype(np.float64).reshape(*index.shape, -1)
    scale = np.maximum(abs(dy), 1e-3 * abs(phi).sum(-1))
    gap = abs(phi.sum(-1) - dy) / scale
    moved = abs(explained[output].reshape(count, -1) - f).max() / abs(f).max()
    return gap.max(), moved


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path, help="plain model of one input")
    parser.add_argument("explained", type=Path, help="explained model")
    parser.add_argument("--references", required=True, help=".npy the model was explained with")
    parser.add_argument("--input", required=True, help=".npy with the sample")
    parser.add_argument("--output-name", help="output explained (default: the first)")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--alone", choices=("ideal", "explained"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        return alone(options, options.alone)

    # These go first: ru_maxrss starts from that of the parent, which is still small here.
    names = ("ideal", "explained")
    alone_by_name = {}
    for name in names:
        command = [sys.executable, __file__, *sys.argv[1:], "--alone", name]
        alone_by_name[name] = json.loads(subprocess.run(
            command, check=True, stdout=subprocess.PIPE).stdout)

    runs = {name: contender(options, name) for name in names}
    gap, moved = accuracy(runs["ideal"](), runs["explained"](), options.output_name)
    seconds = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            seconds[name].append(timed(runs[name]))

    ideal = min(seconds["ideal"])
    print(f"{'':10}{'min ms':>9}{'median':>9}{'x ideal':>9}{'peak MiB':>10}{'load s':>8}"
          f"{'first s':>9}{'file MiB':>10}")
    for name, path in zip(names, (options.model, options.explained)):
        own, least = alone_by_name[name], min(seconds[name])
        print(f"{name:10}{least * 1e3:9.1f}{statistics.median(seconds[name]) * 1e3:9.1f}"
              f"{least / ideal:9.2f}{own['peak']:10.0f}{own['load']:8.2f}{own['first']:9.2f}"
              f"{size(path):10.1f}")
    print(f"completeness error {gap:.1e}, predictions differ by {moved:.1e} relative; "
          f"{options.rounds} rounds, {options.threads} threads")
    return None


if __name__ == "__main__":
    main()
