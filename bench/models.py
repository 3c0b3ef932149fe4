"""The files that contenders read: networks made once (networks.py), explained and tuned models made
for one case and deleted after it."""
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from process import Failed

ROOT = Path(__file__).resolve().parent.parent
COMMAND = ROOT / "build" / "onnxexplainer"
KERNELS = ROOT / "build" / "libonnxexplainer_ops.so"
MIB = 2**20
REFERENCES = 100  # at least so many are written

# Interpreters by the name that contenders have for them.
PYTHON = {"ours": os.environ.get("BENCH_ORT_PYTHON", ROOT / "build/venv/bin/python"),
          "torch": os.environ.get("BENCH_TORCH_PYTHON", ROOT / "build/bench-venv/bin/python"),
          "tf": os.environ.get("BENCH_TF_PYTHON", ROOT / "build/bench-venv-tf/bin/python")}


@dataclass(frozen=True)
class Case:
    """What is explained: a network of networks.py or a model file, against how many references."""
    network: str
    refs: int
    batch: int = 1
    size: int = 0  # of images, 0: the usual one

    @property
    def is_file(self):
        return self.network.endswith(".onnx")

    @property
    def stem(self):
        name = Path(self.network).stem if self.is_file else self.network
        return f"{name}_{self.size}" if self.size else name


def has_references(folder, case):
    """Whether there are as many as the case takes."""
    path = folder / f"{case.stem}.references.npy"
    return path.exists() and len(np.load(path, mmap_mode="r")) >= case.refs


def make_data(folder, case):
    """References and a sample of normal random numbers for the first input of a model file."""
    folder.mkdir(parents=True, exist_ok=True)
    value = onnx.load(case.network, load_external_data=False).graph.input[0]
    dims = [d.dim_value for d in value.type.tensor_type.shape.dim][1:]
    if not all(dims):
        raise Failed(f"{case.network}: input \"{value.name}\" is free in other axes than the first")
    rng = np.random.default_rng(1)
    for name, count in (("references", max(REFERENCES, case.refs)), ("sample", 1)):
        np.save(folder / f"{case.stem}.{name}.npy",
                rng.standard_normal((count, *dims), np.float32))


def make_network(folder, case):
    """NAME.onnx and what belongs to it, unless it is there."""
    if case.is_file:
        make_data(folder, case)
    elif not has_references(folder, case):
        folder.mkdir(parents=True, exist_ok=True)
        size = ["--size", str(case.size)] if case.size else []
        subprocess.run([PYTHON["torch"], ROOT / "bench/networks.py", folder, "--only", case.network,
                        "--count", str(max(REFERENCES, case.refs)), *size], check=True)


def command(*arguments):
    """Runs onnxexplainer; the seconds that it took."""
    start = time.perf_counter()
    done = subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise Failed(done.stderr.strip().splitlines()[-1])
    return time.perf_counter() - start


def size_of(path):
    """MiB of a model with its external data, which lies beside it: NAME.onnx*."""
    return sum(file.stat().st_size for file in path.parent.glob(path.name + "*")) / MIB


class Files:
    """The explained models of one case, each made when it is first asked for."""

    def __init__(self, folder, case, threads):
        make_network(folder, case)
        self.case, self.threads = case, threads
        self.stem = folder / case.stem
        self.model = Path(case.network) if case.is_file else Path(f"{self.stem}.onnx")
        self.work = tempfile.TemporaryDirectory(dir=folder)
        self.references = Path(self.work.name) / "references.npy"
        np.save(self.references, np.load(f"{self.stem}.references.npy")[:case.refs])

    def job(self, contender):
        """What worker.py is told, with `made`: how long it took to make the model."""
        job = {"module": contender.module, "class": contender.cls, "network": self.case.network,
               "model": str(self.model), "weights": f"{self.stem}.pt",
               "references": f"{self.stem}.references.npy", "sample": f"{self.stem}.sample.npy",
               "refs": self.case.refs, "batch": self.case.batch, "threads": self.threads}
        if contender.ours:
            path, job["made"] = self.explained(contender.explain)
            if contender.tune:
                path, job["made"] = self.tuned(path)
            job |= {"explained": str(path), "file": size_of(path)}
            if "--cache=file" in contender.explain:
                job["cache"] = size_of(path) - size_of(Path(job["model"]))
        if contender.kernels:
            job["kernels"] = str(KERNELS)
        return job | contender.job

    def explained(self, options):
        path = Path(self.work.name) / ("explained" + "".join(options) + ".onnx")
        return path, 0 if path.exists() else command(
            "explain", self.model, "--references", self.references, "-o", path, "-q",
            *options)

    def rows(self, count):
        """A file with so many samples like that of the network."""
        path = Path(self.work.name) / "rows.npy"
        shape = np.load(f"{self.stem}.sample.npy").shape[1:]
        np.save(path, np.random.default_rng(1).standard_normal((count, *shape), np.float32))
        return path

    def tuned(self, explained):
        path = explained.with_suffix(".tuned.onnx")
        return path, command("tune", explained, "-o", path, "-q",
                             f"--threads={self.threads}")

    def close(self):
        self.work.cleanup()
