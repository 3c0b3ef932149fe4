#!/usr/bin/env python3
"""A million rows of a table through Ray Data with two workers, one of which is killed midway, beside
one single-threaded process: rows_on_ray.py [--rows=1000000] [--rounds=2] FOLDER. Says whether every
row came out once and equal, and how the throughputs compare. The two take turns, since the machine
may be shared. Needs onnxexplainer, onnx, pyarrow and ray installed."""

import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import onnx
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper

import onnxexplainer
import onnxexplainer.arrow

FEATURES, HIDDEN, REFERENCES, FILES, WORKERS = 30, (256, 128), 50, 16, 2


def network(rng):
    nodes, weights, at, size = [], [], "x", FEATURES
    for i, out in enumerate((*HIDDEN, 1)):
        weights += [numpy_helper.from_array(rng.normal(scale=size ** -0.5, size=(size, out))
                                            .astype(np.float32), f"w{i}")]
        nodes += [helper.make_node("MatMul", [at, f"w{i}"], [f"h{i}"])]
        at, size = f"h{i}", out
        if i < len(HIDDEN):
            nodes += [helper.make_node("Relu", [at], [f"r{i}"])]
            at = f"r{i}"
    nodes[-1].output[0] = "y"
    graph = helper.make_graph(nodes, "mlp",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", FEATURES])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
                              weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def make(folder, rows):
    """The explained model and the table, in which a row in 100,000 is bad."""
    import pyarrow as pa

    rng = np.random.default_rng(0)
    names = [f"f{i}" for i in range(FEATURES)]
    references = rng.normal(size=(REFERENCES, FEATURES)).astype(np.float32)
    (folder / "explained.onnx").write_bytes(
        onnxexplainer.explain(network(rng), references, feature_names=names))
    shutil.rmtree(folder / "in", ignore_errors=True)
    (folder / "in").mkdir()
    for k, part in enumerate(np.array_split(np.arange(rows), FILES)):
        table = rng.normal(size=(len(part), FEATURES)).astype(np.float32)
        table[part % 100_000 == 7, 3] = np.nan
        columns = {"id": part, **{name: table[:, i] for i, name in enumerate(names)}}
        pq.write_table(pa.table(columns), folder / f"in/{k:02d}.parquet", row_group_size=20_000)


def alone(folder):
    """The single process, on one thread."""
    return onnxexplainer.arrow.explain_parquet(folder / "in", folder / "explained.onnx",
                                               folder / "alone", unit_rows=20_000, progress=False)


def workers():
    """Processes of this program's Ray that do the work; another one may be running."""
    lines = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True,
                           text=True).stdout.splitlines()
    rows = [line.split(None, 2) for line in lines]
    parent = {int(pid): int(above) for pid, above, _ in rows}

    def is_ours(pid):
        while pid in parent and pid != os.getpid():
            pid = parent[pid]
        return pid == os.getpid()

    return [int(pid) for pid, _, args in rows if "ray::MapWorker" in args and is_ours(int(pid))]


def kill_midway(folder, units, killed):
    """Kills a worker once half of the pieces are there."""
    while len(list((folder / "ray").glob("part-*"))) < units // 2:
        time.sleep(0.2)
    found = workers()
    if found:
        os.kill(found[0], signal.SIGKILL)
        killed.append((found[0], len(list((folder / "ray").glob("part-*")))))


def on_ray(folder, units):
    import onnxexplainer.ray

    killed = []
    thread = threading.Thread(target=kill_midway, args=(folder, units, killed), daemon=True)
    thread.start()
    assert units > WORKERS
    report = onnxexplainer.ray.explain(str(folder / "in"), str(folder / "explained.onnx"),
                                       output=str(folder / "ray"), concurrency=WORKERS,
                                       unit_rows=20_000, progress=False)
    thread.join(1)
    assert killed, "no worker was found to kill"
    return report, killed


def compare(folder, rows):
    one, other = (pq.read_table(folder / name) for name in ("alone", "ray"))
    aside = [len(pq.read_table(folder / name / "_set_aside")) for name in ("alone", "ray")]
    ids = other["id"].to_numpy()
    assert len(ids) + aside[1] == rows and len(np.unique(ids)) == len(ids), (len(ids), aside)
    assert np.array_equal(ids, one["id"].to_numpy())
    worst = max(float(np.abs(one[name].to_numpy() - other[name].to_numpy()).max())
                for name in one.column_names)
    print(f"{len(ids)} rows once, {aside[1]} set aside, largest difference {worst:.1e}")
    assert worst <= 1e-6


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    a = parser.parse_args()
    a.folder.mkdir(exist_ok=True)
    make(a.folder, a.rows)
    units = sum(-(-pq.read_metadata(path).row_group(g).num_rows // 20_000)
                for path in sorted((a.folder / "in").glob("*"))
                for g in range(pq.read_metadata(path).num_row_groups))
    import ray

    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False)
    os.nice(15) # as the workers of Ray are
    ratios = []
    for _ in range(a.rounds):
        for name in ("alone", "ray"):
            shutil.rmtree(a.folder / name, ignore_errors=True)
        one = alone(a.folder)
        other, killed = on_ray(a.folder, units)
        ratios.append(one.seconds / other.seconds / WORKERS)
        print(f"one process {one.seconds:.0f} s ({1e6 * one.seconds / a.rows:.0f} us a row), "
              f"{WORKERS} workers on Ray {other.seconds:.0f} s, worker {killed} killed; "
              f"{ratios[-1]:.2f} of the throughput times workers; CPU time {one.cpu_seconds:.0f} and "
              f"{other.cpu_seconds:.0f} s, load {os.getloadavg()[0]:.1f}",
              flush=True)
        compare(a.folder, a.rows)
    print(f"best of {a.rounds}: {max(ratios):.2f}")


if __name__ == "__main__":
    sys.exit(main())
