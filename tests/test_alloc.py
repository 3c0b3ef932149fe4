"""The command line without memory: every allocation of ours, and of the C libraries that read and
write files for it, fails once. Each time there is an error and nothing is written, or what comes
out is what comes out otherwise: never another result."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from conftest import BUILD
from test_images import JPEG

PRELOADED = {  # before the allocator of the sanitizers, where there are any
    "LD_PRELOAD": str(BUILD / "tests" / "liballoc_preload.so"),
    "ASAN_OPTIONS": "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", "")}

# Of commands that open sessions only every STEP-th allocation fails, from the one that is n modulo
# STEP where OX_ALLOC=n; all with OX_ALLOC=all.
WHICH = os.environ.get("OX_ALLOC", "0")
STEP = 31

NAMES = ["age", "sex", "bmi", "bp"]


def network():
    """Relu between two products, so that there are functions, and kernels for them."""
    rng = np.random.default_rng(0)
    made = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18]>
        graph (float[N, 4] x) => (float[N, 3] y) {
            h = MatMul(x, A)
            r = Relu(h)
            y = MatMul(r, B)
        }""")
    for name, shape in {"A": (4, 5), "B": (5, 3)}.items():
        made.graph.initializer.append(
            numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name))
    return made


def three_inputs():
    """Two that are explained and one that the output does not depend on."""
    return onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18]>
        graph (float[N, 4] a, float[N, 4] b, float[N, 4] c) => (float[N, 4] y, float[N, 4] z) {
            s = Mul(a, b)
            y = Tanh(s)
            z = Relu(c)
        }""")


def images():
    """A convolution that tuning takes."""
    rng = np.random.default_rng(1)
    made = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18]>
        graph (float[N, 3, 8, 8] x) => (float[N, 32] y) {
            h = Conv <pads = [1, 1, 1, 1]> (x, A)
            r = Relu(h)
            k = Conv <pads = [1, 1, 1, 1]> (r, B)
            p = Relu(k)
            g = GlobalAveragePool(p)
            y = Flatten(g)
        }""")
    for name, shape in {"A": (32, 3, 3, 3), "B": (32, 32, 3, 3)}.items():
        made.graph.initializer.append(
            numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name))
    return made


def write_csv(path, columns, rows):
    lines = [",".join(columns)] + [",".join(map(repr, map(float, row))) for row in rows]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def files(tmp_path_factory, cli):
    """A folder with models and data for all commands."""
    folder = tmp_path_factory.mktemp("alloc")
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((5, 4)).astype(np.float32)
    pictures = rng.random((3, 3, 8, 8), dtype=np.float32)
    onnx.save(network(), folder / "net.onnx")
    onnx.save(three_inputs(), folder / "two.onnx")
    onnx.save(images(), folder / "images.onnx")
    onnx.save(images(), folder / "outside.onnx", save_as_external_data=True,
              location="weights.bin", size_threshold=0)
    np.save(folder / "rows.npy", rows)
    np.save(folder / "pictures.npy", pictures)
    np.savez(folder / "two.npz", a=rows, b=rows[::-1], c=rows)
    np.savez_compressed(folder / "rows.npz", x=np.asfortranarray(rows.astype(">f8")))
    (folder / "colours.jpg").write_bytes(JPEG)
    (folder / "names.txt").write_text("\n".join(NAMES) + "\n")
    order = [2, 0, 3, 1]
    write_csv(folder / "columns.csv", [f"x[{i}]" for i in order], rows[:, order])
    write_csv(folder / "features.csv", [NAMES[i] for i in order], rows[:, order])
    for command in (
            ["explain", "net.onnx", "-rrows.npy", "--gap", "-oplain.onnx"],
            ["explain", "net.onnx", "-rrows.npy", "--feature-names=names.txt", "-onamed.onnx"],
            ["explain", "images.onnx", "-rpictures.npy", "-oseen.onnx"],
            ["run", "seen.onnx", "-ipictures.npy", "--no-tune", "-oseen.npz"],
            ["plot", "seen.npz", "--image=pictures.npy", "--sample=0", "-ophoto.png"]):
        subprocess.run([cli, *command, "-q"], cwd=folder, check=True)
    return folder


def attempt(cli, folder, command, place, **environment):
    """Exit code, standard output and error, and the files written by the command at `place`."""
    out, temporary = folder / f"out{place}", folder / f"tmp{place}"
    for made in out, temporary:
        made.mkdir(exist_ok=True)
    done = subprocess.run(
        [cli, *(part.replace("OUT", out.name) for part in command)], cwd=folder,
        capture_output=True, input=(folder / "plain.onnx").read_bytes(),
        env=os.environ | environment | PRELOADED | {"TMPDIR": str(temporary)})
    written = {}
    for path in (*out.iterdir(), *temporary.glob("onnxexplainer*")):
        written[path.name] = path.read_bytes()
        path.unlink()
    texts = [text.replace(out.name.encode(), b"OUT") for text in (done.stdout, done.stderr)]
    return done.returncode, *texts, written


def walk(cli, folder, command, sessions):
    """Lets allocations fail, one a run; asserts that no failure gives another result."""
    counted = folder / "count"
    right = attempt(cli, folder, command, 0, ALLOC_COUNT=str(counted))
    assert right[0] == 0, right[2]
    total = int(counted.read_text())
    ns = range(1, total + 1)
    if sessions and WHICH != "all":
        ns = ns[int(WHICH) % STEP::STEP]

    unharmed = []

    def check(n):
        code, stdout, stderr, written = found = attempt(cli, folder, command, n, ALLOC_FAIL=str(n))
        if found == right:
            unharmed.append(n)
            return None
        clean = code == 1 and not written and stderr.startswith(b"onnxexplainer: ")
        if clean and (not stdout or command[0] == "show"):
            return None
        return n, found[:3], sorted(written)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = [result for result in pool.map(check, ns) if result is not None]
    print(f"{' '.join(command)}: {len(ns)} of {total} allocations, {len(unharmed)} do no harm")
    assert not wrong, wrong
    assert ns


FILES = {
    "show": ["show", "net.onnx", "--nodes"],
    "show as JSON": ["show", "net.onnx", "--json"],
    "show as text for Graphviz": ["show", "plain.onnx", "--dot"],
    "show as a page": ["show", "net.onnx", "--html=OUT/p.html"],
    "show a choice": ["show", "two.onnx", "-rtwo.npz"],
    "explain": ["explain", "net.onnx", "-rrows.npy", "--gap", "--feature-names=names.txt",
                "-oOUT/e.onnx"],
    "explain all": ["explain", "images.onnx", "-rpictures.npy", "--target=all", "--chunk=2",
                    "-oOUT/e.onnx"],
    "explain outside": ["explain", "outside.onnx", "-rpictures.npy", "-oOUT/e.onnx"],
    "explain of npz": ["explain", "net.onnx", "-rrows.npz", "-oOUT/e.onnx"],
    "explain two": ["explain", "two.onnx", "-rtwo.npz", "-oOUT/e.onnx"],
    "explain of pictures": ["explain", "images.onnx", "-rphoto.png", "-rcolours.jpg",
                            "-oOUT/e.onnx"],
    "plot": ["plot", "seen.npz", "--image=pictures.npy", "-oOUT/p.png"],
    "plot a photograph": ["plot", "seen.npz", "--image=photo.png", "--sample=1", "-oOUT/p.png"],
}

SESSIONS = {
    "explain file": ["explain", "net.onnx", "-rrows.npy", "--cache=file", "-oOUT/e.onnx"],
    "run npz": ["run", "plain.onnx", "-irows.npy", "--threads=1", "-oOUT/r.npz"],
    "run compressed": ["run", "plain.onnx", "-irows.npz", "--compress", "-oOUT/r.npz"],
    "run to a pipe": ["run", "-", "-irows.npy", "-o/dev/stdout", "-q"],
    "run csv": ["run", "plain.onnx", "-icolumns.csv", "-oOUT/r.csv"],
    "run features": ["run", "named.onnx", "-ifeatures.csv", "-oOUT/r.json"],
    "run tuned": ["run", "seen.onnx", "-ipictures.npy", "--tune", "--threads=1", "-oOUT/r.npz"],
    "tune": ["tune", "seen.onnx", "--threads=1", "-oOUT/t.onnx"],
    "check": ["check", "plain.onnx", "-irows.npy", "--threads=1", "--json"],
}


@pytest.mark.parametrize("name", FILES)
def test_files(cli, files, name):
    walk(cli, files, FILES[name], False)


@pytest.mark.parametrize("name", SESSIONS)
def test_sessions(cli, files, name):
    walk(cli, files, SESSIONS[name], True)


@pytest.mark.parametrize("kind", ["root", "beside"])
def test_search(cli, files, kind, monkeypatch, tmp_path):
    """ONNX Runtime that is not found for want of memory is not passed over, neither for another nor
    for a cache that needs none."""
    library = os.environ.get("ONNXRUNTIME_LIBRARY")
    if kind == "root" and library:
        (tmp_path / "libonnxruntime.so.1").symlink_to(library)
        monkeypatch.setenv("ONNXRUNTIME_ROOT", str(tmp_path))
    elif kind == "beside":
        monkeypatch.delenv("ONNXRUNTIME_ROOT", raising=False)
    monkeypatch.delenv("ONNXRUNTIME_LIBRARY", raising=False)
    command = ["explain", "net.onnx", "-rrows.npy", "--cache=auto", "-oOUT/e.onnx"]
    right = attempt(cli, files, command, 0)
    assert right[0] == 0, right[2]
    codes = [attempt(cli, files, command, n, ALLOC_FAIL=str(n))[0] for n in range(1, 7)]
    assert codes == [1] * 6


@pytest.mark.parametrize("command", [
    ["explain", "net.onnx", "-rrows.npy", "-q", "-olink"],
    ["explain", "net.onnx", "-rrows.npy", "-q", "-o/dev/null"],
    ["plot", "seen.npz", "-q", "-olink"]], ids=["model", "device", "picture"])
def test_links(cli, files, command, tmp_path):
    """What a link points to is written, or left as it is; the link stays."""
    link, target = files / "link", tmp_path / "target"
    link.unlink(missing_ok=True)
    link.symlink_to(target)

    def write(**environment):
        target.write_bytes(b"before")
        done = subprocess.run([cli, *command], cwd=files, capture_output=True,
                              env=os.environ | environment | PRELOADED)
        assert link.is_symlink() and list(tmp_path.iterdir()) == [target]
        return done.returncode, target.read_bytes()

    right = write(ALLOC_COUNT=str(files / "count"))
    assert right[0] == 0
    total = int((files / "count").read_text())
    results = [write(ALLOC_FAIL=str(n)) for n in range(1, total + 1)]
    assert total > 5 and set(results) <= {right, (1, b"before")}
