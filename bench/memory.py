"""Peak memory of `explain` and `run` by model, cache and number of references.

    bench/memory.py NETWORK|MODEL.onnx... [--refs 1 10 100 1000] [--cache auto load file none]
                    [--memory 2G] [--guard 8]

A network is one of networks.py; of a model file, inputs of floats are normal numbers, whole numbers
are small ones. Each step is a process of its own, which ends at --guard GiB of data. *explain* and
*run* are the highest resident sizes beyond that of `run` on the plain model, in MiB, and the seconds of
CPU behind them; *file* is what was written beyond the plain model."""
import argparse
import os
import resource
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import onnx

from models import COMMAND, Case, make_network

GIB = 2**30
FREE = 128  # a free axis behind the first


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--refs", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--cache", nargs="+", default=["auto"])
    parser.add_argument("--memory", help="of explain")
    parser.add_argument("--guard", type=float, default=8, help="GiB (default: 8)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("build/bench"), help="of networks")
    parser.add_argument("options", nargs="*", help="behind --: others of explain")
    return parser.parse_args()


def values(rng, info, count):
    """Numbers for an input."""
    kind = info.type.tensor_type
    dims = [d.dim_value or FREE for d in kind.shape.dim][1:]
    if kind.elem_type == onnx.TensorProto.FLOAT:
        return rng.standard_normal((count, *dims), np.float32)
    # masks are 1, and ids those of words
    low, high = (1, 2) if "mask" in info.name else (0, 2) if "type" in info.name else (1, 1000)
    return rng.integers(low, high, (count, *dims), dtype=np.int64)


def write_data(model, folder, count):
    """Options of `explain` and `run` for what was written."""
    graph = onnx.load(model, load_external_data=False).graph
    rng = np.random.default_rng(0)
    references, samples = [], []
    for i, info in enumerate(graph.input):
        np.save(folder / f"r{i}.npy", values(rng, info, count))
        np.save(folder / f"x{i}.npy", values(rng, info, 1))
        references.append(f"--references={info.name}={folder}/r{i}.npy")
        samples.append(f"--input={info.name}={folder}/x{i}.npy")
    return references, samples


def measure(guard, *arguments):
    """Seconds of CPU, highest MiB, and what was said; None in place of MiB where it failed."""
    def limit():
        resource.setrlimit(resource.RLIMIT_DATA, (int(guard * GIB),) * 2)
    with tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen([COMMAND, *map(str, arguments)], stdout=log, stderr=log,
                                 preexec_fn=limit)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        said = [line for line in log.read().splitlines() if line.startswith("onnxexplainer: ")]
    peak = usage.ru_maxrss / 1024 if child.returncode == 0 else None
    return usage.ru_utime + usage.ru_stime, peak, said


def size_of(path):
    return sum(f.stat().st_size for f in path.parent.glob(path.name + "*")) / 2**20


def row(o, model, cache, count, folder):
    references, samples = write_data(model, folder, count)
    threads = f"--threads={o.threads}"
    plain = measure(o.guard, "run", model, *samples, threads, "-o", folder / "y.npz")[1]
    explained = folder / "explained.onnx"
    memory = [f"--memory={o.memory}"] if o.memory else []
    making, explain, said = measure(o.guard, "explain", model, *references, "-o", explained,
                                    f"--cache={cache}", *memory, *o.options)
    cells = [Path(model).stem, cache, str(count), f"{plain:.0f}"]
    if explain is None:
        print("| " + " | ".join(cells + [said[-1].split("onnxexplainer: ")[-1]]) + " |", flush=True)
        return
    running, run, errors = measure(o.guard, "run", explained, *samples, threads, "-o",
                                   folder / "y.npz", "--no-tune", "-q")
    # what the file says, as one looks at it
    chosen = [line for line in said if "note: memory" in line]
    cells += [f"{explain - plain:.0f}", f"{making:.1f}",
              f"{run - plain:.0f}" if run else errors[-1], f"{running:.1f}",
              f"{size_of(explained) - size_of(Path(model)):.0f}",
              chosen[-1].split("note: memory: ")[-1] if chosen else ""]
    print("| " + " | ".join(cells) + " |", flush=True)
    for file in folder.glob("*"):
        file.unlink()


def main():
    o = parse()
    columns = ["model", "cache", "R", "plain MiB", "explain MiB", "s", "run MiB", "s", "file MiB",
               "chosen"]
    print("| " + " | ".join(columns) + " |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |", flush=True)
    for name in o.models:
        named = not name.endswith(".onnx")
        if named:
            make_network(o.folder, Case(name, 1))
        model = o.folder / f"{name}.onnx" if named else Path(name)
        for cache in o.cache:
            for count in o.refs:
                with tempfile.TemporaryDirectory() as folder:
                    row(o, model, cache, count, Path(folder))


if __name__ == "__main__":
    main()
