"""The wheel that is given to others, as tools/wheel makes it of the one that the build makes: it
carries the libraries that it needs, and works where only those are found."""

import base64
import csv
import hashlib
import io
import pathlib
import platform
import re
import subprocess
import sys
import textwrap
import zipfile

import pytest

from conftest import ROOT
from wheel import PRELUDE, Installed, installed  # noqa: F401, a fixture

# What the tag promises to be there, and what is in the wheel.
SYSTEM = re.compile(r"(libc|libm|libdl|libpthread|librt|libgcc_s|libz|ld-linux-[\w-]+)\.so\.\d+")


@pytest.fixture(scope="module")
def given(installed, tmp_path_factory):  # noqa: F811
    """A virtual environment with it."""
    folder = tmp_path_factory.mktemp("given")
    done = subprocess.run([sys.executable, ROOT / "tools/wheel", f"--from={installed.wheel}", folder],
                          capture_output=True, text=True, umask=0o002)
    assert done.returncode == 0, done.stdout + done.stderr
    wheel, = folder.glob("*.whl")
    assert done.stdout.strip() == str(wheel)
    return Installed(folder, wheel)


def dynamic(path):
    """Names of libraries that a file needs, and where it looks for them."""
    text = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True).stdout
    return (re.findall(r"\(NEEDED\).*\[(.*)\]", text),
            re.findall(r"\((?:RPATH|RUNPATH)\).*\[(.*)\]", text))


def test_tag(given):
    """No newer C library than the one here, and any Python 3."""
    name = re.fullmatch(r"onnxexplainer-[\d.]+-py3-none-manylinux_2_(\d+)_(\w+)\.whl",
                        given.wheel.name)
    assert int(name[1]) <= int(platform.libc_ver()[1].split(".")[1])
    assert name[2] == platform.machine()


def test_size(given):
    size = given.wheel.stat().st_size
    print(f"{given.wheel.name}: {size / 1e6:.1f} MB")
    assert size < 6e6


def test_modes_are_those_of_every_umask(given):
    """It was made with one that lets the group write."""
    with zipfile.ZipFile(given.wheel) as wheel:
        modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in wheel.infolist()}
    assert set(modes.values()) == {0o755, 0o644}
    assert all(modes[name] == 0o755 for name in modes if name.endswith("bin/onnxexplainer"))


def test_needs_nothing_of_the_machine(given):
    files = [path for path in given.packages.glob("onnxexplainer*/**/*")
             if path.is_file() and path.read_bytes()[:4] == b"\x7fELF"]
    carried = {path.name for path in files}
    assert {"libonnxexplainer.so", "libonnxexplainer_ops.so", "onnxexplainer"} <= carried
    assert any(name.startswith("libprotobuf-c") for name in carried)
    for path in files:
        needed, folders = dynamic(path)
        assert all(name in carried or SYSTEM.fullmatch(name) for name in needed), (path, needed)
        assert all(f.startswith("$ORIGIN") for line in folders for f in line.split(":")), folders


def test_record(given):
    """Every file with its hash, licences of others among them."""
    with zipfile.ZipFile(given.wheel) as wheel:
        name, = [name for name in wheel.namelist() if name.endswith(".dist-info/RECORD")]
        rows = list(csv.reader(io.StringIO(wheel.read(name).decode())))
        assert {row[0] for row in rows} == {n for n in wheel.namelist() if not n.endswith("/")}
        for path, digest, size in rows:
            data = wheel.read(path)
            found = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            assert path == name or (digest, int(size)) == (f"sha256={found}", len(data))
        texts = {path.rsplit("/", 1)[1]: wheel.read(path).decode(errors="replace")
                 for path in wheel.namelist() if re.search("/licenses/.", path)}
    assert "Apache License" in texts.pop("LICENSE")
    if platform.freedesktop_os_release()["ID"] == "debian":
        assert {"liblapacke-dev", "libprotobuf-c1"} <= set(texts) and all(texts.values())


def test_its_libraries_are_used(given):
    """Where the machine has the same ones, too."""
    maps = given.run(PRELUDE + textwrap.dedent("""
    explainer = ox.DeepExplainer(DIGITS / "digits.onnx", references)
    values = explainer.shap_values(samples[:2])
    assert values.shape == (2, 1, 28, 28, 10)
    print(open("/proc/self/maps").read())
    """))
    ours = {line.split()[-1] for line in maps.splitlines() if "protobuf-c" in line}
    assert len(ours) == 1 and "onnxexplainer.libs" in ours.pop()


def test_command_line(given, tmp_path):
    """A picture in, a table out: all of its libraries. `plot` is Python's where matplotlib is."""
    ours = given.run("from onnxexplainer._library import FOLDER; print(FOLDER)").strip()
    for command in (["explain", ROOT / "examples/digits/digits.onnx", "--references",
                     ROOT / "examples/digits/references.npy", "-o", tmp_path / "e.onnx"],
                    ["run", tmp_path / "e.onnx", "-i", ROOT / "examples/digits/input.npy", "-o",
                     tmp_path / "o.npz"],
                    ["plot", tmp_path / "o.npz", "-o", tmp_path / "o.png"]):
        program = pathlib.Path(ours if command[0] == "plot" else given.folder) / "bin/onnxexplainer"
        done = subprocess.run([program, *command], capture_output=True, text=True, env=given.env)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "o.png").read_bytes()[:4] == b"\x89PNG"
