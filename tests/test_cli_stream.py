"""`run` on samples that need not fit into memory: what comes out is what comes out of all at once,
in parts, and whatever ended a run before."""

import fcntl
import os
import random
import re
import signal
import subprocess
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

ROWS, WIDTH = 3000, 4
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(ROWS, WIDTH)).astype(np.float32)


def network(width=WIDTH, batch="n", mixed=False):
    """relu(x W) V, of which the mean over the samples is taken off where they are `mixed`."""
    nodes = [helper.make_node("MatMul", ["x", "W"], ["h"]), helper.make_node("Relu", ["h"], ["r"]),
             helper.make_node("MatMul", ["r", "V"], ["v" if mixed else "y"])]
    if mixed:
        nodes += [helper.make_node("ReduceMean", ["v", "axes"], ["m"]),
                  helper.make_node("Sub", ["v", "m"], ["y"])]
    rng = np.random.default_rng(1)
    graph = helper.make_graph(
        nodes, "network", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 3])],
        [numpy_helper.from_array(rng.normal(size=(width, 8)).astype(np.float32), "W"),
         numpy_helper.from_array(rng.normal(size=(8, 3)).astype(np.float32), "V"),
         numpy_helper.from_array(np.int64([0]), "axes")][:3 if mixed else 2])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.fixture
def folder(tmp_path, explain):
    """With e.onnx, and the samples as x.npy and x.csv."""
    work = tmp_path / "work"
    work.mkdir()
    os.rename(explain(network(), X[:5]), work / "e.onnx")
    np.save(work / "x.npy", X)
    np.savetxt(work / "x.csv", X, delimiter=",", fmt="%.9g", comments="",
               header="x[0],x[1],x[2],x[3]")
    return work


@pytest.fixture
def ox(cli, folder):
    """ox(*arguments, code=0): standard error of `run` in the folder."""
    def ox(*arguments, code=0):
        done = subprocess.run([cli, "run", *map(str, arguments)], cwd=folder, text=True,
                              capture_output=True)
        assert done.returncode == code, done.stderr
        return done.stderr
    return ox


def arrays(folder):
    return {path.stem: np.load(path) for path in folder.iterdir()}


# ---- the same results -----------------------------------------------------------------------


def test_folder(folder, ox):
    ox("e.onnx", "-i", "x.npy", "-o", "whole.npz")
    ox("e.onnx", "-i", "x.npy", "-o", "out/")
    whole, made = np.load(folder / "whole.npz"), arrays(folder / "out")
    assert set(made) == set(whole.files) == {"y", "x_shap", "shap_target", "base_value"}
    for name, array in made.items():
        np.testing.assert_array_equal(array, whole[name])
        assert array.dtype == whole[name].dtype
    assert not (folder / "out.part").exists()


def test_table(folder, ox):
    ox("e.onnx", "-i", "x.csv", "-o", "whole.csv")
    ox("e.onnx", "-i", "x.csv", "-o", "out.csv", "--resume")
    assert (folder / "out.csv").read_bytes() == (folder / "whole.csv").read_bytes()


@pytest.mark.parametrize("shards", [2, 3, 7])
def test_shards(folder, ox, shards):
    """Put together they are the whole, to the byte."""
    ox("e.onnx", "-i", "x.csv", "-o", "whole.csv", "--resume")
    ox("e.onnx", "-i", "x.npy", "-o", "whole/")
    lines, parts = [], []
    for i in range(1, shards + 1):
        ox("e.onnx", "-i", "x.csv", "-o", f"{i}.csv", f"--shard={i}/{shards}")
        ox("e.onnx", "-i", "x.npy", "-o", f"{i}/", f"--shard={i}/{shards}")
        lines += (folder / f"{i}.csv").read_bytes().splitlines(True)[i > 1:]
        parts.append(arrays(folder / str(i)))
    assert b"".join(lines) == (folder / "whole.csv").read_bytes()
    for name, array in arrays(folder / "whole").items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), array)


@pytest.mark.parametrize("form", [
    lambda text: text.replace("\n", "\r\n"),
    lambda text: text.replace("\n", "\r"),
    lambda text: "\ufeff" + text,
    lambda text: text.replace("\n", "\n\n"),
    lambda text: text.rstrip("\n"),
    lambda text: re.sub(r"^(-?\d+\.\d+),", r'"\1",', text, flags=re.M),
    lambda text: text.replace("x[1]", '"a ""b"",\nc"').replace("x[", "y["),
], ids=["crlf", "cr", "bom", "blank", "unended", "quoted", "names"])
def test_forms_of_csv(folder, ox, form):
    """Rows are the same ones as where the file is read at once."""
    text = form("".join((folder / "x.csv").read_text().splitlines(True)[:300]))
    (folder / "f.csv").write_bytes(text.encode())
    ox("e.onnx", "-i", "f.csv", "-o", "whole.csv")
    ox("e.onnx", "-i", "f.csv", "-o", "out.csv", "--resume")
    assert (folder / "out.csv").read_bytes() == (folder / "whole.csv").read_bytes()
    assert (folder / "out.csv").read_bytes().count(b"\n") == 300


def test_one_column(folder, ox, explain):
    """Blank lines are rows of it, with a missing value."""
    os.replace(explain(network(1), X[:5, :1]), folder / "one.onnx")
    (folder / "one.csv").write_text("x\n1\n\n2\n")
    ox("one.onnx", "-i", "one.csv", "-o", "whole.csv")
    ox("one.onnx", "-i", "one.csv", "-o", "out.csv", "--resume")
    assert (folder / "out.csv").read_bytes() == (folder / "whole.csv").read_bytes()
    assert (folder / "out.csv").read_bytes().count(b"\n") == 4


def test_fixed_batch(folder, ox, explain):
    """A last batch is filled up; parts end where batches do."""
    os.replace(explain(network(batch=8), X[:5]), folder / "fixed.onnx")
    np.save(folder / "odd.npy", X[:301])
    ox("fixed.onnx", "-i", "odd.npy", "-o", "whole.npz")
    ox("fixed.onnx", "-i", "odd.npy", "-o", "1/", "--shard=1/2")
    ox("fixed.onnx", "-i", "odd.npy", "-o", "2/", "--shard=2/2")
    whole, first, second = np.load(folder / "whole.npz"), arrays(folder / "1"), arrays(folder / "2")
    assert len(first["y"]) == 152
    for name in whole.files:
        np.testing.assert_array_equal(np.concatenate([first[name], second[name]]), whole[name])


def test_inputs_by_name(folder, ox, explain):
    """Two inputs, of which one is a setting for all samples."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "s"], ["y"])], "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4]),
         helper.make_tensor_value_info("s", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8),
              folder / "two.onnx")
    np.save(folder / "s.npy", np.float32([[1, 2, 3, 4]]))
    ox("two.onnx", "-i", "s=s.npy", "-i", "x=x.npy", "-o", "out/")
    np.testing.assert_array_equal(np.load(folder / "out/y.npy"), X * np.float32([1, 2, 3, 4]))


# ---- ends at any time -----------------------------------------------------------------------


def run_killed(cli, folder, number, wait, *arguments):
    """Ends a run after `wait` seconds; whether it had ended before."""
    with subprocess.Popen([cli, "run", *arguments], cwd=folder, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True) as running:
        time.sleep(wait)
        running.send_signal(number)
        said = running.stderr.read()
    assert running.returncode in (0, -number), said
    if running.returncode == -signal.SIGINT and said:
        assert re.search(r"ended after \d+ of \d+ rows, which are kept: --resume goes on", said)
    return running.returncode == 0


@pytest.fixture
def long(folder):
    """Samples whose run takes about a second."""
    np.save(folder / "long.npy", np.tile(X, (40, 1)))
    with open(folder / "long.csv", "wb") as file:
        lines = (folder / "x.csv").read_bytes().splitlines(True)
        file.writelines([lines[0], *lines[1:] * 10])
    return folder


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("samples, output", [("long.csv", "out.csv"), ("long.npy", "out/")])
def test_resumed(cli, long, ox, number, samples, output):
    """A run that is ended again and again has the bytes of one that is not."""
    waits = random.Random(int(number))
    ox("e.onnx", "-i", samples, "-o", "whole" + output[3:], "--resume")
    took = 0.5
    for kill in range(20):
        if run_killed(cli, long, number, waits.uniform(0, took), "e.onnx", "-i", samples, "-o",
                      output, "--resume"):
            break
        if (long / output.rstrip("/")).exists(): # the signal came behind the last row
            break
    ox("e.onnx", "-i", samples, "-o", output, "--resume")
    whole, made = long / ("whole" + output[3:]).rstrip("/"), long / output.rstrip("/")
    files = sorted(path.name for path in whole.iterdir()) if whole.is_dir() else [""]
    assert not made.is_dir() or sorted(path.name for path in made.iterdir()) == files
    for name in files:
        assert (made / name).read_bytes() == (whole / name).read_bytes()
    assert not list(long.glob("*.part"))


def state(folder, output):
    return folder / f"{output}.part" / ".onnxexplainer-run"


@pytest.fixture
def begun(cli, long):
    """`long`, with a run that has written some rows and not all."""
    arguments = ["run", "e.onnx", "-i", "long.csv", "-o", "out.csv", "--shard=1/1"]
    with subprocess.Popen([cli, *arguments], cwd=long, stdout=subprocess.DEVNULL) as running:
        while running.poll() is None and not (state(long, "out.csv").exists() and
                                              b"\nfile" in state(long, "out.csv").read_bytes()):
            time.sleep(0.002)
        running.kill()
    assert state(long, "out.csv").exists()
    return long


SAME = ("e.onnx", "-i", "long.csv", "-o", "out.csv", "--resume")


def test_not_gone_on_with_unasked(begun, ox):
    before = state(begun, "out.csv").read_bytes()
    said = ox(*SAME[:-1], "--shard=1/1", code=1)
    assert "out.csv.part: a run for this output has not ended: go on with --resume" in said
    assert state(begun, "out.csv").read_bytes() == before


@pytest.mark.parametrize("change", ["model", "samples", "batch", "shard"])
def test_not_gone_on_with_another(begun, ox, change):
    more = {"batch": ["--batch=3"], "shard": ["--shard=1/2"]}.get(change, [])
    if more == []:
        os.utime(begun / {"model": "e.onnx", "samples": "long.csv"}[change])
    said = ox(*SAME, *more, code=1)
    assert "out.csv.part: is of a run with another model, samples or options" in said


@pytest.mark.parametrize("text", [b"", b"of \n", b"\0", b"of 1\nrows 1 2\n"])
def test_broken_state(begun, ox, text):
    state(begun, "out.csv").write_bytes(text)
    assert "remove that folder to start anew" in ox(*SAME, code=1)


def test_lost_rows(begun, ox):
    os.truncate(begun / "out.csv.part/table.csv", 10)
    assert "out.csv.part: has lost what was written" in ox(*SAME, code=1)


def test_two_at_once(begun, ox):
    held = os.open(begun / "out.csv.part", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    assert "out.csv.part: another run is writing to it" in ox(*SAME, code=1)
    os.close(held)
    ox(*SAME)


def test_done_already(folder, ox):
    """Nothing is done, unless what it is of is newer."""
    same = ("e.onnx", "-i", "x.csv", "-o", "out.csv", "--resume")
    ox(*same)
    before = (folder / "out.csv").stat()
    assert "note: out.csv is there already" in ox(*same)
    assert (folder / "out.csv").stat().st_mtime_ns == before.st_mtime_ns
    os.utime(folder / "x.csv", (time.time() + 10, time.time() + 10))
    assert "out.csv: is older than the model or the samples: remove it first" in ox(*same, code=1)


# ---- what is refused ------------------------------------------------------------------------


def test_refused(folder, ox, explain):
    for arguments, message in {
        ("-o", "out.npz", "--shard=1/2"): "--shard: results go to -o FILE.csv or -o FOLDER/",
        ("--resume",): "--resume: results go to",
        ("-o", "-", "--resume"): "--resume: results go to",
        ("-o", "out/", "--shard=0/2"): '--shard: "0/2" is not I/N',
        ("-o", "out/", "--shard=3/2"): "--shard: ",
        ("-o", "out/", "--shard=1"): "--shard: ",
        ("-o", "out/", "--json"): "-o FOLDER/ does not go with --json",
        ("-o", "out.csv", "--resume", "--batch=all"): "--resume does not go with --batch=all",
    }.items():
        assert message in ox("e.onnx", "-i", "x.npy", *arguments, code=2)
    np.savez(folder / "x.npz", x=X)
    assert "samples come from .npy" in ox("e.onnx", "-i", "x.npz", "-o", "out/", code=2)
    np.save(folder / "f.npy", np.asfortranarray(X))
    assert "f.npy: in column-major order" in ox("e.onnx", "-i", "f.npy", "-o", "out/", code=1)
    (folder / "cut.npy").write_bytes((folder / "x.npy").read_bytes()[:-4])
    assert "cut.npy: its size is not" in ox("e.onnx", "-i", "cut.npy", "-o", "out/", code=1)
    assert "--shard=99/99: no rows" in ox("e.onnx", "-i", "x.npy", "-o", "out/", "--shard=1/9999",
                                          code=1).replace("1/9999", "99/99")
    (folder / "out").mkdir()
    assert "out/: is there already" in ox("e.onnx", "-i", "x.npy", "-o", "out/", code=1)
    os.replace(explain(network(mixed=True), X[:5]), folder / "mixed.onnx")
    assert "depend on the others of their batch" in ox("mixed.onnx", "-i", "x.npy", "-o", "o/",
                                                       code=1)
    assert not list(folder.glob("*.part"))


def test_bad_row(folder, ox):
    """It is named by its number in the file, and the rows before are kept."""
    lines = (folder / "x.csv").read_text().splitlines(True)
    lines[2501] = "1,2,three,4\n"
    (folder / "bad.csv").write_text("".join(lines))
    said = ox("e.onnx", "-i", "bad.csv", "-o", "out.csv", "--resume", code=1)
    assert 'bad.csv: row 2501, column "x[2]": "three" is no number' in said
    assert re.search(rb"\nrows [1-9]\d* 3000\n", state(folder, "out.csv").read_bytes())


def test_memory_is_bounded(folder, ox, explain):
    """A file of 300 MB is not read at once, also where nobody asks for it."""
    width = 1000
    os.replace(explain(network(width), np.zeros((2, width), np.float32)), folder / "wide.onnx")
    wide = np.lib.format.open_memmap(folder / "wide.npy", "w+", np.float32, (75_000, width))
    wide[::1000, 0] = 1
    del wide
    said = ox("wide.onnx", "-i", "wide.npy", "--stats")
    peak = int(re.search(r"peak memory (\d+) MiB", said)[1])
    print(f"300 MB of samples in {peak} MiB")
    assert peak < (150 if "asan" not in os.environ.get("OX_BUILD", "") else 800)
