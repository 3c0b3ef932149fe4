"""--memory is a promise: what bounds a run chooses the cache and the chunks, says so, and is kept
to by `explain` and `run`, measured as resident size."""

import re
import subprocess
import sys

import numpy as np
import onnx
import pytest

from contract import R, mlp, model, refused, single, value

WIDTH, STAGES, INPUTS = 4096, 24, 16
MIB = 2**20

# A process starts with the peak of the one that it comes from: this is one that is small.
SMALL = """import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"""


def properties(path):
    return {p.key: p.value for p in onnx.load(path).metadata_props}


def footprint(path):
    """Bytes of references while a session is made, and afterwards; and those of a run besides."""
    return [int(n) for n in properties(path)["onnxexplainer.memory"].split()]


def needs(path):
    """The memory for which a cache is taken."""
    loads, holds, _ = footprint(path)
    return max(loads, 2 * holds)


def cache(path):
    return properties(path)["onnxexplainer.cache"]


def deep():
    """Many activations of some size: x W, then one Tanh and one factor after the other."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(INPUTS, WIDTH)).astype(np.float32) / 4,
               "v": rng.normal(size=(WIDTH, 2)).astype(np.float32) / 64}
    nodes = [("MatMul", "x w", "h0", {})]
    for i in range(STAGES):
        weights[f"f{i}"] = np.float32(1.5)
        nodes += [("Tanh", f"h{i}", f"t{i}", {}), ("Mul", f"t{i} f{i}", f"h{i + 1}", {})]
    nodes.append(("MatMul", f"h{STAGES} v", "y", {}))
    return model(nodes, [value("x", ["N", INPUTS])], [value("y", ["N", 2])], weights)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("memory")
    rng = np.random.default_rng(1)
    onnx.save(deep(), folder / "deep.onnx")
    np.save(folder / "x.npy", rng.normal(size=(1, INPUTS)).astype(np.float32))
    for count in (10, 100, 400):
        np.save(folder / f"r{count}.npy", rng.normal(size=(count, INPUTS)).astype(np.float32))
    return folder


def peak(*command):
    """MiB of the process, which has to succeed."""
    done = subprocess.run([sys.executable, "-c", SMALL, *map(str, command)], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout) / 1024


@pytest.fixture(scope="module")
def plain(cli, files):
    return peak(cli, "run", files / "deep.onnx", f"--input={files}/x.npy", "-q")


# ---- what is chosen -------------------------------------------------------------------------------

def test_the_cache_is_what_fits(explain, files):
    """Folding when there is room for it, else a file, else none, each at its very bound."""
    r = np.load(files / "r10.npy")
    load, file = (needs(explain(deep(), r, f"--cache={c}")) for c in ("load", "file"))
    assert file < load
    chosen = {m: cache(explain(deep(), r, f"--memory={m}"))
              for m in (load, load - 1, file, file - 1)}
    assert chosen == {load: "load", load - 1: "file", file: "file", file - 1: "none"}


def test_what_is_written_is_bounded(explain, refused):
    """No more than --cache-limit of the references, whoever asks for it."""
    path = explain(mlp(), single(R), "--cache=file")
    file, size = needs(path), footprint(path)[1]
    assert cache(explain(mlp(), single(R), f"--memory={file}", f"--cache-limit={size}")) == "file"
    assert cache(explain(mlp(), single(R), f"--memory={file}",
                         f"--cache-limit={size - 1}")) == "none"
    message = refused(mlp(), single(R), "--cache=file", f"--cache-limit={size - 1}")
    assert message == (
        f"onnxexplainer: {len(R)} references would write {size} bytes beside the model: "
        "--cache-limit=1M allows it, --cache=none writes the references alone\n")


def test_what_was_chosen_is_said(cli, files):
    done = subprocess.run([cli, "explain", files / "deep.onnx", "--memory=64M", "-o",
                           files / "said.onnx", f"--references={files}/r400.npy"],
                          capture_output=True, text=True)
    assert done.returncode == 0
    [note] = [line for line in done.stderr.splitlines() if "note: memory: " in line]
    assert re.search(r"memory: cache none, at most [4-6]\d.* MB of 67.1 MB in a run; "
                     r"load takes \d{3} MB, file \d{3} MB$", note)
    for line in done.stderr.splitlines():  # nothing is said twice, although it was tried twice
        assert done.stderr.count(line) == 1


@pytest.mark.parametrize("memory, chunk", [("512M", 5), ("384M", 2)])
def test_steps_lose_no_references(cli, tmp_path, memory, chunk):
    """4 at a time keep what they pass over in the processor's caches; of 10 they would compute 12.
    6 or 4 at a time fit into the memory."""
    w = np.ones((4, 1, 1, 1), np.float32)
    onnx.save(model([("Conv", "x w", "h", {}), ("Tanh", "h", "t", {}),
                     ("GlobalAveragePool", "t", "y", {})],
                    [value("x", ["N", 1, 512, 512])], [value("y", ["N", 4, 1, 1])], {"w": w}),
              tmp_path / "m.onnx")
    np.save(tmp_path / "r.npy", np.random.default_rng(0).random((10, 1, 512, 512), np.float32))
    done = subprocess.run([cli, "explain", "m.onnx", "-r", "r.npy", f"--memory={memory}",
                           "--cache=load"], capture_output=True, text=True, cwd=tmp_path)
    assert f"note: the references are taken in chunks of {chunk}, " in done.stderr


# ---- what it takes --------------------------------------------------------------------------------

@pytest.mark.parametrize("options", [
    ["--memory=64M"], ["--memory=64M", "--cache=none"], ["--memory=700M", "--cache=file"],
    ["--memory=64M", "--target=all"], ["--memory=64M", "--chunk=2"]], ids=" ".join)
@pytest.mark.parametrize("count", [10, 400])
def test_the_peak_is_within_the_memory(cli, files, plain, options, count):
    explained = files / "explained.onnx"
    memory = int(re.search(r"\d+", options[0]).group())
    making = peak(cli, "explain", files / "deep.onnx", f"--references={files}/r{count}.npy", "-q",
                  "-o", explained, *options)
    running = peak(cli, "run", explained, f"--input={files}/x.npy", "-q", "--no-tune")
    assert making - plain < memory and running - plain < memory
    assert sum(footprint(explained)[1:]) <= memory * MIB


def test_the_cache_is_what_the_bound_says(cli, files, plain):
    """The estimate is above what is taken, and not by much where it decides."""
    for kind in ("load", "file"):
        explained = files / "explained.onnx"
        making = peak(cli, "explain", files / "deep.onnx", f"--references={files}/r100.npy", "-q",
                      "-o", explained, f"--cache={kind}")
        running = peak(cli, "run", explained, f"--input={files}/x.npy", "-q", "--no-tune") - plain
        loads, holds, works = footprint(explained)
        assert 0.4 * loads < running * MIB < max(loads, holds + works) + 16 * MIB, kind
        assert making - plain < max(1.6 * holds / MIB, 2048 / 8 + 16), kind


def test_a_file_is_written_in_parts(cli, files, plain):
    """What is kept is not held meanwhile, nor while it is written: a part, twice."""
    making = peak(cli, "explain", files / "deep.onnx", f"--references={files}/r400.npy", "-q",
                  "-o", files / "explained.onnx", "--cache=file", "--memory=700M", "--chunk=20")
    assert making - plain < 2 * 700 / 8 + 16 < footprint(files / "explained.onnx")[1] / MIB


def test_a_cache_that_does_not_fit_is_refused(cli, files):
    done = subprocess.run(
        [cli, "explain", files / "deep.onnx", f"--references={files}/r400.npy", "-q", "-o",
         files / "no.onnx", "--memory=64M", "--cache=load"], capture_output=True, text=True)
    assert done.returncode == 1 and not (files / "no.onnx").exists()
    match = re.search(r"cache load of 400 references takes (\d+) MB while .* memory is 67.1 MB: "
                      r"--memory=(\d+M) allows it, --cache=none keeps nothing", done.stderr)
    assert match, done.stderr
    peak(cli, "explain", files / "deep.onnx", f"--references={files}/r400.npy", "-q", "-o",
         files / "yes.onnx", f"--memory={match.group(2)}", "--cache=load")


def test_chunks_do_not_change_values(explain, run, files):
    """What fits and what does not give the same values."""
    x, r = np.load(files / "x.npy"), np.load(files / "r10.npy")
    wide, narrow = (run(explain(deep(), r, f"--memory={m}"), x) for m in ("2G", "20M"))
    np.testing.assert_allclose(narrow["x_shap"], wide["x_shap"], rtol=1e-3, atol=1e-6)
