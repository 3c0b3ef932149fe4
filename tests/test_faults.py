"""Commands that are ended, by the signal that nobody sees, at moments that are drawn, and disks
that are full: there is the whole output, or what was there before. OX_KILLS says how many."""

import os
import random
import shutil
import signal
import subprocess
import time

import numpy as np
import onnx
import pytest

from test_alloc import images

KILLS = int(os.environ.get("OX_KILLS", 30))
BEFORE = b"what was there before"

COMMANDS = {
    "explain": ["explain", "net.onnx", "-rpictures.npy", "--target=all", "-qoOUT/e.onnx"],
    "explain beside": ["explain", "net.onnx", "-rpictures.npy", "--external-data", "-qoOUT/e.onnx"],
    "explain cache": ["explain", "net.onnx", "-rpictures.npy", "--cache=file", "-qoOUT/e.onnx"],
    "run npz": ["run", "e.onnx", "-ipictures.npy", "--threads=1", "--no-tune", "-qoOUT/r.npz"],
    "run csv": ["run", "e.onnx", "-ipictures.npy", "--threads=1", "--no-tune", "-qoOUT/r.csv"],
    "run json": ["run", "e.onnx", "-ipictures.npy", "--threads=1", "--no-tune", "-qoOUT/r.json"],
    "tune": ["tune", "e.onnx", "--threads=1", "-qoOUT/t.onnx"],
    "plot": ["plot", "r.npz", "--image=pictures.npy", "-qoOUT/p.png"],
    "show": ["show", "e.onnx", "--html=OUT/p.html"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, cli):
    folder = tmp_path_factory.mktemp("faults")
    rng = np.random.default_rng(2)
    onnx.save(images(), folder / "net.onnx")
    np.save(folder / "pictures.npy", rng.random((8, 3, 8, 8), dtype=np.float32))
    for command in (["explain", "net.onnx", "-rpictures.npy", "-qoe.onnx"],
                    ["run", "e.onnx", "-ipictures.npy", "--no-tune", "-qor.npz"]):
        subprocess.run([cli, *command], cwd=folder, check=True)
    return folder


class Command:
    """One of COMMANDS, and what it writes when nothing comes between."""

    def __init__(self, cli, folder, name):
        self.words, self.folder = [cli, *COMMANDS[name]], folder
        self.out = folder / "out"
        self.name = next(w for w in self.words if "OUT/" in w).split("OUT/")[1]
        self.clear()
        start = time.monotonic()
        self.start(self.out).wait()
        self.duration = time.monotonic() - start
        self.right = self.found(self.out)
        assert self.name in self.right

    def clear(self):
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()

    def start(self, out, prefix=(), **options):
        words = [word.replace("OUT", str(out)) for word in self.words]
        return subprocess.Popen([*prefix, *words], cwd=self.folder, stdout=subprocess.DEVNULL,
                                **options)

    def found(self, out):
        return {path.name: path.read_bytes() for path in out.iterdir()}


def kill(command, rng):
    """Whether it had ended before. Nothing is half written, and the next run tidies up."""
    had = rng.random() < 0.5
    if had:
        (command.out / command.name).write_bytes(BEFORE)
    process = command.start(command.out)
    time.sleep(1.1 * command.duration * rng.random())
    process.send_signal(signal.SIGKILL)
    assert process.wait() in (0, -signal.SIGKILL)
    found = command.found(command.out)
    written = found.get(command.name, BEFORE)
    if written not in (BEFORE, command.right[command.name]):
        pytest.fail(f"{command.name}: {len(written)} bytes of {len(command.right[command.name])}")
    whole = written != BEFORE
    beside = [n for n in command.right if n != command.name]
    assert not whole or all(found.get(n) == command.right[n] for n in beside)
    left = any(n.endswith(".tmp") for n in found)
    if left:
        assert command.start(command.out).wait() == 0
        assert command.found(command.out) == command.right
    command.clear()
    return whole, left


@pytest.mark.parametrize("name", COMMANDS)
def test_killed(cli, folder, name):
    command, rng = Command(cli, folder, name), random.Random(name)
    ends = [kill(command, rng) for _ in range(max(1, KILLS // len(COMMANDS)))]
    print(f"{name}: {len(ends)} kills, {sum(e[0] for e in ends)} outputs whole, "
          f"{sum(e[1] for e in ends)} left a temporary file")


# ---- full disks -----------------------------------------------------------------------------------

def refused(command, process, out):
    _, error = process.communicate()
    assert process.returncode == 1 and error.count("\n") == 1, error
    assert "cannot write: " in error or "no space left" in error or "too large" in error, error
    assert command.found(out) in ({}, {command.name: BEFORE}), error


@pytest.mark.parametrize("name", COMMANDS)
def test_files_that_may_not_grow(cli, folder, name):
    """Beyond a size that is drawn: the write fails wherever it is."""
    command, rng = Command(cli, folder, name), random.Random(name)
    largest = max(map(len, command.right.values())) // 1024
    limits = {0, *(rng.randrange(largest) for _ in range(max(1, KILLS // 15)))} if largest else {0}
    for kilobytes in sorted(limits):
        command.clear()
        (command.out / command.name).write_bytes(BEFORE)
        refused(command, command.start(
            command.out, ["bash", "-c", f'ulimit -f {kilobytes}; trap "" XFSZ; exec "$0" "$@"'],
            stderr=subprocess.PIPE, text=True), command.out)


MOUNTS = subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/tmp"],
                        capture_output=True).returncode == 0 if shutil.which("unshare") else False

# The folder to write to is a disk of some kilobytes, which only this process sees; what is on it
# afterwards is listed to descriptor 3.
FULL = """mkdir -p "$1" && mount -t tmpfs -o size="$2" tmpfs "$1" || exit 99
cd "$3"; shift 3; "$@"; code=$?; ls -A "$OUT" >&3; exit $code"""


@pytest.mark.parametrize("name", COMMANDS if MOUNTS else ())
def test_full_disk(cli, folder, name):
    """One that holds half of what is written."""
    command = Command(cli, folder, name)
    size = max(4096, sum(map(len, command.right.values())) // 2 // 4096 * 4096)
    if sum(map(len, command.right.values())) <= 8192:
        return  # fits on the smallest one
    disk, listed = folder / "disk", folder / "listed"
    with open(listed, "w") as file:
        process = command.start(
            disk, ["unshare", "-rm", "sh", "-c", f"exec 3>'{listed}'; {FULL}", "sh", str(disk),
                   str(size), str(folder)], stderr=subprocess.PIPE, text=True,
            env=os.environ | {"OUT": str(disk)})
        _, error = process.communicate()
    assert process.returncode == 1 and error.count("\n") == 1, error
    assert "no space left on device" in error, error
    assert listed.read_text() == ""
