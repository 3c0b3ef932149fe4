#!/usr/bin/env python3
"""How long a million, or a billion, explanations take on how many machines, and what holds them up:
simulate.py. Pieces of rows are given to workers as Ray Data does; each reads, computes and writes
them. Times of one row are CPU time of one thread, as `simulate.py --measure` takes them here (which
needs onnxexplainer and ../shared); the rest are assumptions, which are options."""

import argparse
import heapq
import pathlib
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent

# name, R: (microseconds a row, bytes of a row in, bytes out, seconds to open, MB of the model).
# Taken by --measure, of five rounds the least.
MODELS = {
    ("MLP 30-256-128-1", 1): (4.2, 120, 136, 0.01, 0.2),
    ("MLP 30-256-128-1", 10): (14, 120, 136, 0.01, 0.2),
    ("MLP 30-256-128-1", 100): (128, 120, 136, 0.01, 0.2),
    ("CNN of digits", 1): (176, 3136, 3188, 0.05, 0.1),
    ("CNN of digits", 10): (1084, 3136, 3188, 0.07, 0.1),
}


def simulate(rows, model, machines, a):
    """Seconds until all is written, and shares of the workers' time by what they did."""
    us, into, out, opening, size = model
    rng = np.random.default_rng(0)
    units = max(int(np.ceil(rows / a.unit_rows)), 1)
    share = np.full(units, rows / units)
    cost = share * us * 1e-6 * rng.lognormal(-a.skew ** 2 / 2, a.skew, units)
    bytes_moved = share * (into + out)
    network = np.zeros(machines)  # until when each machine's link is busy
    storage = 0.0                 # and the storage that all share
    spent = dict.fromkeys(("start", "compute", "network", "idle"), 0.0)
    first = a.start + size * 1e6 * 8 / (a.network * 1e9) * a.cores + opening
    free = [(first, worker) for worker in range(machines * a.cores)]
    spent["start"] = first * len(free)
    end = 0.0
    for seconds, moved in zip(cost, bytes_moved):
        now, worker = heapq.heappop(free)
        machine = worker // a.cores
        link = max(now, network[machine]) + moved * 8 / (a.network * 1e9)
        network[machine] = link
        storage = max(now, storage) + moved * 8 / (a.storage * 1e9)
        ready = max(link, storage)
        done = ready + seconds + a.overhead
        spent["network"] += ready - now
        spent["compute"] += seconds
        spent["start"] += a.overhead
        heapq.heappush(free, (done, worker))
        end = max(end, done)
    total = end * machines * a.cores
    spent["idle"] = sum(end - when for when, _ in free)
    return end, {what: value / total for what, value in spent.items()}


def text(seconds):
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" \
        if seconds < 7200 else f"{seconds / 3600:.1f} h"


def table(a):
    print(f"{a.cores} cores a machine, {a.network} Gbit/s each, storage {a.storage} Gbit/s in all, "
          f"pieces of {a.unit_rows} rows, skew {a.skew}, {a.price} a core and hour\n")
    print("| model | R | rows | machines | time | price of a million | compute | network | start | "
          "idle at the end |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for (name, references), model in MODELS.items():
        for rows in a.rows:
            for machines in a.machines:
                seconds, spent = simulate(rows, model, machines, a)
                price = seconds / 3600 * machines * a.cores * a.price / rows * 1e6
                parts = " | ".join(f"{100 * spent[what]:.0f} %" for what in
                                   ("compute", "network", "start", "idle"))
                print(f"| {name} | {references} | {rows:.0e} | {machines} | {text(seconds)} | "
                      f"{price:.3g} | {parts} |")


def measure():
    import onnxexplainer
    import onnxexplainer._batch
    from rows_on_ray import FEATURES, network

    rng = np.random.default_rng(0)
    digits = np.load(ROOT / "examples/digits/references.npy")
    rows = rng.normal(size=(4096, FEATURES)).astype(np.float32)
    cases = [("MLP 30-256-128-1", network(rng), rows, rows, (1, 10, 100)),
             ("CNN of digits", ROOT / "examples/digits/digits.onnx", digits,
              np.resize(digits, (256, *digits.shape[1:])), (1, 10, 50))]
    net = ROOT.parent / "shared/models/efficientnet_lite0/model.onnx"
    if net.exists():
        with_shape = onnxexplainer.Session(net, tune=False).inputs[0].shape
        photos = rng.normal(size=(10, *with_shape[1:])).astype(np.float32)
        cases.append(("EfficientNet-Lite0", net, photos, photos[:4], (1, 10)))
    for name, model, references, samples, counts in cases:
        for count in counts:
            explained = onnxexplainer.explain(model, references[:count], quiet=True)
            before = time.process_time()
            session = onnxexplainer.Session(explained, threads=1)
            opened = time.process_time() - before
            inputs, best = {session.inputs[0].name: samples}, np.inf
            for _ in range(6): # the first one warms up
                before = time.process_time()
                outputs = onnxexplainer._batch.run(session, inputs)
                best = min(best, time.process_time() - before)
            out = sum(array.nbytes for array in outputs.values()) // len(samples)
            print(f'("{name}", {count}): ({1e6 * best / len(samples):.4g}, '
                  f'{samples[0].nbytes}, {out}, {opened:.2f}, {len(explained) / 1e6:.1f}),',
                  flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--rows", type=float, nargs="+", default=[1e6, 1e9])
    parser.add_argument("--machines", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--cores", type=int, default=8)
    parser.add_argument("--network", type=float, default=10, help="Gbit/s of a machine")
    parser.add_argument("--storage", type=float, default=40, help="Gbit/s of all together")
    parser.add_argument("--start", type=float, default=20, help="seconds until a worker is there")
    parser.add_argument("--overhead", type=float, default=0.05, help="seconds of a piece")
    parser.add_argument("--unit-rows", type=int, default=65536)
    parser.add_argument("--skew", type=float, default=0.1, help="deviation of log(time) of pieces")
    parser.add_argument("--price", type=float, default=0.04)
    a = parser.parse_args()
    measure() if a.measure else table(a)


if __name__ == "__main__":
    main()
