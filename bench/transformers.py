"""Transformers beside ideal: CPU time, R = 10, kernels, in turns.

    bench/transformers.py [--refs 10] [--threads 2] [--rounds 8] [--only vit ...]

Networks of networks_other.py. *held*: a mask of ones is held, in a session of the package, which has
it as a constant from the third call on; *first call*: the same before that; *fixed*: by --fix;
*explained*: the mask is a player, too. Figures are the least CPU time of a call as a multiple of that
of ideal, one forward of the sample and one of the references; the seconds that a session takes to
open beside."""
import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime

from models import COMMAND, KERNELS, ROOT, Case, command, make_network

CASES = {  # label: network, options of explain
    "MiniLM-6": ("transformer", []), "ViT": ("vit", []), "GPT-2-like": ("gpt2", []),
    "MiniLM-6, mask held": ("transformer_masked", ["--hold=mask"]),
    "MiniLM-6, mask fixed": ("transformer_masked", ["--fix=mask={ones}"]),
    "MiniLM-6, mask explained": ("transformer_masked", ["--references=mask={masks}"])}


def package(folder):
    """The Python package of the build."""
    home = folder / "onnxexplainer"
    shutil.copytree(ROOT / "python/onnxexplainer", home)
    shutil.copy(ROOT / "build/python/_abi.py", home)
    (home / "lib").mkdir()
    for library in (COMMAND.parent / "libonnxexplainer.so", KERNELS):
        shutil.copy(library, home / "lib")
    sys.path.insert(0, str(folder))
    import onnxexplainer  # pylint: disable=import-outside-toplevel
    return onnxexplainer


def plain(path, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def cpu(call, *arguments):
    start = time.process_time()
    call(*arguments)
    return time.process_time() - start


class Measured:
    def __init__(self, ox, label, o, folder):
        network, options = CASES[label]
        make_network(o.folder, Case(network, o.refs))
        model, references = o.folder / f"{network}.onnx", folder / "references.npy"
        kept = np.load(o.folder / f"{network}.references.npy", mmap_mode="r")[:o.refs]
        sample = np.load(o.folder / f"{network}.sample.npy")
        self.masked = "masked" in network
        paths = {"ones": folder / "ones.npy", "masks": folder / "masks.npy"}
        np.save(references, kept)
        np.save(paths["ones"], np.ones((1, sample.shape[1]), np.float32))
        np.save(paths["masks"], np.ones((o.refs, sample.shape[1]), np.float32))
        command("explain", model, f"--references=input={references}", "-q", "-o", folder / "e.onnx",
                "--cache=load", *(text.format(**paths) for text in options))
        start = time.perf_counter()
        self.session = ox.Session(folder / "e.onnx", threads=o.threads, tune=True)
        self.opening = time.perf_counter() - start
        self.ideal = plain(model, o.threads)
        self.feeds = self.with_mask({"input": sample})
        self.of_references = self.with_mask({"input": np.array(kept)})
        if "--fix=mask={ones}" in options:
            del self.feeds["mask"]
        self.sample = self.with_mask({"input": sample})

    def with_mask(self, feeds):
        if self.masked:
            feeds["mask"] = np.ones(feeds["input"].shape[:2], np.float32)
        return feeds

    def run_ideal(self):
        self.ideal.run(None, self.sample)
        self.ideal.run(None, self.of_references)


def row(ox, label, o):
    with tempfile.TemporaryDirectory() as folder:
        m = Measured(ox, label, o, Path(folder))
    ideal, ours = [cpu(m.run_ideal)], []
    first = min(cpu(m.session.run, m.feeds) for _ in range(2))
    m.session.run(m.feeds)  # from here on what is held is a constant
    for _ in range(o.rounds):
        ideal.append(cpu(m.run_ideal))
        ours.append(cpu(m.session.run, m.feeds))
    least = min(ideal)
    print(f"| {label} | {least * 1e3:.0f} | {min(ours) / least:.2f} | {first / least:.2f} "
          f"| {m.opening:.1f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--refs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--only", nargs="+", default=[""], metavar="TEXT", help="cases whose name has it")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "bench", help="of networks")
    o = parser.parse_args()
    print("| | ideal, ms | x ideal | first calls | load s |")
    print("| --- | ---: | ---: | ---: | ---: |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        ox = package(Path(folder))
        for label in CASES:
            if any(text in label for text in o.only):
                row(ox, label, o)


if __name__ == "__main__":
    main()
