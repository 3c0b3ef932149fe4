"""What commands read and write as files: outputs are whole or not there, whatever ends a run, and
replace nothing that was read; names, links and pipes of all kinds do. `output_test.c` ends runs at
each of their system calls."""

import fcntl
import os
import random
import signal
import stat
import subprocess
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from conftest import data_file

X = np.float32([[1, 2, 3], [-1, 0, 4]])


def network(value=1.0, width=3):
    """y = x W + value, all weights being `value`."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "W"], ["h"]), helper.make_node("Add", ["h", "b"], ["y"])],
        "network", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", width])],
        [numpy_helper.from_array(np.full((3, width), value, np.float32), "W"),
         numpy_helper.from_array(np.float32([value]), "b")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


SPLIT = ["explain", "external.onnx", "-r", "fill:0", "--external-data"]


@pytest.fixture
def folder(tmp_path):
    """With m.onnx, external.onnx and its data, explained.onnx, x in all formats, results.npz."""
    work = tmp_path / "work"
    work.mkdir()
    onnx.save(network(), work / "m.onnx")
    onnx.save_model(network(2, 1000), work / "external.onnx", save_as_external_data=True,
                    location="external.npz", size_threshold=1024)
    np.save(work / "x.npy", X)
    np.savez(work / "x.npz", x=X)
    np.savetxt(work / "x.csv", X, delimiter=",", header="x[0],x[1],x[2]", comments="")
    return work


@pytest.fixture
def ox(cli, folder):
    """ox(*arguments, **options of subprocess.run): the finished process, in the folder."""
    def ox(*arguments, code=0, **options):
        done = subprocess.run([cli, *map(str, arguments)], cwd=folder, capture_output=True,
                              **options)
        assert done.returncode == code, done.stderr
        assert code == 0 or done.stderr.count(b"\n") == 1, done.stderr
        return done
    return ox


def names(folder):
    return sorted(p.name for p in folder.iterdir())


# ---- ends at any time -----------------------------------------------------------------------


def values_of(path):
    """The weights of network() in an explained model, all of them."""
    made = onnx.load(path)
    arrays = {i.name: numpy_helper.to_array(i) for i in made.graph.initializer}
    return set(np.unique(arrays["W"])) | set(np.unique(arrays["b"]))


KILLS = int(os.environ.get("OX_KILLS", 40))


def test_killed_at_any_time(cli, folder, ox):
    """Always one whole model with its own data, and nothing beside it after the next run. Signals
    that a program can see leave nothing at all. OX_KILLS says how many."""
    seed = random.Random(0)
    for value in 1, 2:
        onnx.save_model(network(value, 1 << 20), folder / f"{value}.onnx",
                        save_as_external_data=True, location=f"{value}.bin")
    (folder / "out").mkdir()

    def command(value):
        return [cli, "explain", f"{value}.onnx", "-r", "fill:0", "--external-data", "-qo",
                "out/o.onnx"]

    start = time.monotonic()
    ox(*command(1)[1:])
    duration = time.monotonic() - start
    counts = {}
    for i in range(KILLS):
        end = seed.choice([signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
        process = subprocess.Popen(command(1 + i % 2), cwd=folder)
        if seed.random() < 0.7:  # while it writes
            while process.poll() is None and not any(n.endswith(".tmp")
                                                     for n in os.listdir(folder / "out")):
                time.sleep(0.0002)
            time.sleep(0.02 * seed.random())
        else:
            time.sleep(duration * seed.random())
        process.send_signal(end)
        assert process.wait() in (0, -end)
        left = [n for n in os.listdir(folder / "out") if n.endswith(".tmp")]
        assert not left or end == signal.SIGKILL
        counts[end.name] = counts.get(end.name, 0) + 1
        counts["left"] = counts.get("left", 0) + bool(left)
        assert len(values_of(folder / "out/o.onnx")) == 1
        if left:
            ox(*command(1)[1:])
            assert names(folder / "out") == ["o.onnx", data_file(folder / "out/o.onnx").name]
    print(counts)
    ox(*command(2)[1:])
    assert values_of(folder / "out/o.onnx") == {2}
    assert names(folder / "out") == ["o.onnx", data_file(folder / "out/o.onnx").name]


@pytest.mark.parametrize("suffix", ["npz", "csv", "json"])
def test_leftovers(folder, ox, suffix):
    """What a run of before has left for the same output goes, unless it is still locked."""
    out = f"o.{suffix}"
    for name in (f"{out}.77-0.tmp", f"{out}.77-1.tmp", f"{out}.more.77-0.tmp", f"{out}.x-0.tmp"):
        (folder / name).write_bytes(b"half")
    with open(folder / f"{out}.77-1.tmp") as alive:
        fcntl.flock(alive, fcntl.LOCK_SH)
        ox("run", "m.onnx", "-i", "x.npy", "-o", out)
    assert [n for n in names(folder) if n.endswith(".tmp")] == sorted([
        f"{out}.77-1.tmp", f"{out}.more.77-0.tmp", f"{out}.x-0.tmp"])


def test_data_of_models(folder, ox):
    """A new model takes the data of the one before with it, and no other's."""
    out = folder / "o.onnx"
    ox(*SPLIT, "-o", out)
    before = data_file(out)
    other = folder / "o.onnx.onnx.0123456789abcdef.data"
    other.write_bytes(b"other")
    onnx.save_model(network(3, 1000), folder / "third.onnx", save_as_external_data=True,
                    location="third.bin", size_threshold=1024)
    ox("explain", "third.onnx", "-r", "fill:0", "--external-data", "-o", out)
    assert not before.exists() and other.exists() and values_of(out) == {3}
    ox("explain", "m.onnx", "-r", "fill:0", "-o", out)
    assert data_file(out) is None and other.exists()
    # A renamed model goes on using its data.
    ox(*SPLIT, "-o", out)
    out.rename(folder / "renamed.onnx")
    ox("explain", "renamed.onnx", "--output-name", "y", "-r", "fill:0", "--prefix", "p", "-o", out)
    assert values_of(folder / "renamed.onnx") == {2}


# ---- what is replaced -----------------------------------------------------------------------


@pytest.mark.parametrize("out, command", [
    ("o.onnx", SPLIT),
    *((f"o.{suffix}", ["run", "m.onnx", "-i", "x.npy"]) for suffix in ("npz", "csv", "json"))])
def test_permissions(folder, ox, out, command):
    old = os.umask(0o027)
    try:
        ox(*command, "-o", out)
        assert stat.S_IMODE((folder / out).stat().st_mode) == 0o640
        for mode in 0o600, 0o664, 0o444:
            (folder / out).chmod(mode)
            ox(*command, "-o", out)
            assert stat.S_IMODE((folder / out).stat().st_mode) == mode
            data = data_file(folder / out)
            assert data is None or stat.S_IMODE(data.stat().st_mode) == mode
    finally:
        os.umask(old)


@pytest.mark.parametrize("command, inputs", [
    (["explain", "m.onnx", "-r", "x.npy", "--feature-names", "names"],
     ["m.onnx", "x.npy", "names"]),
    (["explain", "external.onnx", "-r", "x=x.npy"], ["external.onnx", "external.npz", "x.npy"]),
    (["run", "m.onnx", "-i", "x.csv"], ["m.onnx", "x.csv"]),
    (["run", "external.onnx", "-i", "x.npz"], ["external.npz", "x.npz"]),
    (["tune", "external.onnx"], ["external.onnx", "external.npz"]),
    (["plot", "x.npz", "--image", "x.npy"], ["x.npz", "x.npy"])])
def test_inputs_are_not_replaced(folder, ox, command, inputs):
    (folder / "names").write_text("a\nb\nc\n")
    for name in inputs:
        (folder / "soft.csv").symlink_to(name)
        os.link(folder / name, folder / "hard.csv")
        before = (folder / name).read_bytes()
        for out in (name, "soft.csv", "hard.csv", folder / "." / name):
            if str(out).endswith((".npz", ".csv")) or command[0] != "run":
                code = 1 if name == "external.npz" else 2
                done = ox(*command, "-o", out, code=code)
                assert f"{out}: the output would replace".encode() in done.stderr
        assert (folder / name).read_bytes() == before
        for link in "soft.csv", "hard.csv":
            (folder / link).unlink()


def test_standard_input_is_not_replaced(folder, ox):
    with open(folder / "m.onnx", "rb") as file:
        ox("explain", "-", "-r", "fill:0", "-o", "m.onnx", stdin=file, code=2)


def test_links(folder, ox):
    """Links are followed, also to what is not there yet."""
    (folder / "a").mkdir()
    for name, to in (("l.onnx", "a/link.onnx"), ("a/link.onnx", "../real.onnx"),
                     ("l.npz", folder / "a/real.npz"), ("circle.npz", "circle.npz"),
                     ("lost.npz", "none/at/all.npz")):
        (folder / name).symlink_to(to)
    for _ in range(2):
        ox(*SPLIT, "-o", "l.onnx")
        ox("run", "m.onnx", "-i", "x.npy", "-o", "l.npz")
    assert (folder / "l.onnx").is_symlink() and (folder / "a/link.onnx").is_symlink()
    assert data_file(folder / "real.onnx") and values_of(folder / "real.onnx") == {2}
    assert (folder / "l.npz").is_symlink() and "y" in np.load(folder / "a/real.npz")
    for name, reason in ("circle", b"too many levels"), ("lost", b"no such file"):
        done = ox("run", "m.onnx", "-i", "x.npy", "-o", f"{name}.npz", code=1)
        assert f"{name}.npz: cannot write: ".encode() + reason in done.stderr


def test_long_names(folder, ox):
    """Names as long as they may be; their data and what lies beside them has shorter ones."""
    (folder / "b").mkdir()
    for suffix, command in ((".onnx", SPLIT),
                            (".npz", ["run", "m.onnx", "-i", "x.npy"]),
                            (".csv", ["run", "m.onnx", "-i", "x.npy"])):
        name = "é" * 123 + "a" * (9 - len(suffix)) + suffix
        assert len(name.encode()) == 255
        ox(*command, "-o", f"b/{name}")
        assert (folder / "b" / name).exists()
        done = ox(*command, "-o", f"b/a{name}", code=1)
        assert b"cannot write: file name too long" in done.stderr
        if suffix == ".onnx":
            assert values_of(folder / "b" / name) == {2}
    assert len(names(folder / "b")) == 4


# ---- pipes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.csv"])
@pytest.mark.parametrize("spec", ["-", "/dev/stdin", "pipe"])
def test_arrays_from_pipes(folder, ox, name, spec):
    content = (folder / name).read_bytes()
    if spec == "pipe":
        os.mkfifo(folder / "pipe")
        with subprocess.Popen(["cp", name, "pipe"], cwd=folder):
            ox("run", "m.onnx", "-i", spec, "-o", "o.npz")
    else:
        ox("run", "m.onnx", "-i", spec, "-o", "o.npz", input=content)
        with open(folder / name, "rb") as file:
            ox("run", "m.onnx", "-i", spec, "-o", "redirected.npz", stdin=file)
        assert (folder / "o.npz").read_bytes() == (folder / "redirected.npz").read_bytes()
    np.testing.assert_array_equal(np.load(folder / "o.npz")["y"], X @ np.ones((3, 3)) + 1)


@pytest.mark.parametrize("spec", ["-", "/dev/stdin"])
def test_models_through_pipes(folder, ox, spec):
    content = (folder / "m.onnx").read_bytes()
    for out in "-", "/dev/stdout", None:
        made = ox("explain", spec, "-r", "x.npy", *(["-o", out] if out else []), input=content)
        assert "x_shap" in [o.name for o in onnx.ModelProto.FromString(made.stdout).graph.output]
    ox("run", spec, "-i", "x.npy", "-o", "o.npz", input=made.stdout)
    assert np.load(folder / "o.npz")["x_shap"].shape == X.shape
    assert b"differentiated" in ox("show", spec, input=content).stdout


def test_outputs_to_devices(folder, ox):
    for command in (["explain", "m.onnx", "-r", "x.npy"], ["run", "m.onnx", "-i", "x.npy", "-q"]):
        assert ox(*command, "-o", "/dev/null").stdout == b""
        done = ox(*command, "-o", "/dev/full", code=1)
        assert done.stderr == b"onnxexplainer: /dev/full: cannot write: no space left on device\n"
        piped = ox(*command, "-o", "/dev/stdout").stdout
        os.mkfifo(folder / "fifo")
        with subprocess.Popen(["cat", "fifo"], cwd=folder, stdout=subprocess.PIPE) as reader:
            ox(*command, "-o", "fifo")
            assert reader.stdout.read() == piped != b""
        assert stat.S_ISFIFO((folder / "fifo").stat().st_mode)
        (folder / "fifo").unlink()
        (folder / "log").write_bytes(b"before")  # what a shell appends to goes on
        with open(folder / "log", "ab") as log:
            subprocess.run([*ox("--version").args[:1], *command, "-o", "/dev/stdout"], cwd=folder,
                           stdout=log, check=True)
        assert (folder / "log").read_bytes() == b"before" + piped


@pytest.mark.parametrize("path", ["/dev/fd/{}", "/proc/self/fd/{}"])
def test_outputs_to_descriptors(folder, ox, path):
    """What a shell has opened is gone on with, not begun anew."""
    with open(folder / "o.onnx", "wb") as file:
        file.write(b"before\n")
        file.flush()
        ox("explain", "m.onnx", "-r", "x.npy", "-o", path.format(file.fileno()), "-q",
           pass_fds=[file.fileno()])
    ox("explain", "m.onnx", "-r", "x.npy", "-o", "same.onnx", "-q")
    assert (folder / "o.onnx").read_bytes() == b"before\n" + (folder / "same.onnx").read_bytes()


def test_readers_that_leave(cli, folder):
    """A pipe that is closed is an error like others."""
    for command in (["run", "m.onnx", "-i", "x.npy", "-qo", "-"], ["ops"],
                    ["explain", "m.onnx", "-r", "x.npy", "-o", "-"]):
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run([cli, *command], cwd=folder, stdout=write, stderr=subprocess.PIPE,
                              text=True)
        os.close(write)
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        assert done.stderr.endswith("cannot write: broken pipe\n")


def test_closed_streams(folder, cli):
    """No file gets the number of a standard stream, nor what is printed to it."""
    for command in ("explain m.onnx -r x.npy -o o.onnx", "run m.onnx -i x.npy -qo o.npz"):
        subprocess.run(["bash", "-c", f'"$0" {command} <&- >&- 2>&-', cli], cwd=folder, check=True)
    assert onnx.load(folder / "o.onnx").graph.output
    assert np.load(folder / "o.npz")["y"].shape == (2, 3)
    done = subprocess.run(["bash", "-c", '"$0" ops >&-', cli], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "onnxexplainer: standard output: cannot write: bad file descriptor\n"


def test_full_disk(folder, cli):
    """Files may grow to 4 KB only: one line, what was there stays, nothing beside it."""
    big = np.ones((1000, 3), np.float32)
    np.save(folder / "big.npy", big)
    before = names(folder)
    for out, command in (("o.npz", "run m.onnx -i big.npy"), ("o.csv", "run m.onnx -i big.npy"),
                         ("o.json", "run m.onnx -i big.npy"),
                         ("o.onnx", "explain external.onnx -r big.npy --external-data")):
        (folder / out).write_bytes(b"before")
        done = subprocess.run(["bash", "-c", f'ulimit -f 4; exec "$0" {command} -qo {out}', cli],
                              cwd=folder, capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr == f"onnxexplainer: {out}: cannot write: file too large\n"
        assert (folder / out).read_bytes() == b"before"
        (folder / out).unlink()
    assert names(folder) == before


# ---- external data --------------------------------------------------------------------------


def test_links_of_external_data(folder, ox, tmp_path):
    """They may lead to what is in the model's folder, or in that which its own link leads to."""
    inside, outside = folder / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    data = folder / "external.npz"
    data.rename(inside / "data")
    data.symlink_to("inside/data")
    ox("show", "external.onnx")
    (inside / "data").rename(outside / "data")
    data.unlink()
    data.symlink_to(outside / "data")
    done = ox("show", "external.onnx", code=1)
    assert b"has external data outside of the model's folder" in done.stderr
    (folder / "external.onnx").rename(outside / "model")  # as caches keep models
    (folder / "external.onnx").symlink_to(outside / "model")
    ox("show", "external.onnx")
    (folder / "up").symlink_to(outside)
    model = onnx.load(outside / "model", load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "up/data"
    onnx.save(model, folder / "through.onnx")
    assert b"outside" in ox("show", "through.onnx", code=1).stderr


def test_data_that_is_cut(cli, folder):
    """After it was mapped, and before it is read: an error, and nothing beside the output."""
    onnx.save_model(network(2, 1 << 18), folder / "large.onnx", save_as_external_data=True,
                    location="large.bin")
    os.mkfifo(folder / "references")
    process = subprocess.Popen([cli, "explain", "large.onnx", "-r", "references", "-o", "o.onnx"],
                               cwd=folder, stderr=subprocess.PIPE, text=True)
    with open(folder / "references", "wb") as file:  # opens when the model has been read
        os.truncate(folder / "large.bin", 4096)
        file.write((folder / "x.npy").read_bytes())
    _, error = process.communicate()
    assert process.returncode == 1 and error.count("\n") == 1
    assert not any(name.startswith("o.onnx") for name in names(folder))
