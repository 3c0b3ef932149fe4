"""What the command line says of input that it cannot take, and no file is written; and spellings of input
that are rare and right."""

import io
import os
import struct
import subprocess
import zipfile

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from conftest import ROOT

X = (np.arange(20, dtype=np.float32).reshape(5, 4) - 6) / 4
W = np.float32([[1, 0.5], [-2, 1], [0.25, 3], [4, -1]])


def graph(text, **weights):
    made = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 18]> graph {text}')
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name)
                                  for name, value in weights.items())
    return made


MODELS = {
    "linear": graph("(float[N, 4] x) => (float[N, 2] y) { y = MatMul (x, w) }", w=W),
    "fixed": graph("(float[5, 4] x) => (float[5, 2] y) { y = MatMul (x, w) }", w=W),
    "slash": graph('(float[N, 4] x) => (float[N, 2] "a/b%") { "a/b%" = MatMul (x, w) }', w=W),
    "scalar": graph("(float[N, 4] x, float r) => (float[N, 4] y, float z) { y = Mul (x, r) z = Identity (r) }"),
    "rows": graph("(float[N, 4] x) => (float[N, 4] y, float[3] z) { y = Neg (x) z = Identity (w) }",
                  w=np.float32([1, 2, 3])),
    "any": graph("(float[N, M] x) => (float[N, 1] y) { y = ReduceSum (x, a) }", a=np.int64([1])),
    "free": graph("(float[N, M] a, float[N, 3] b) => (float[N, M] y, float[N, 3] z) { y = Neg (a) z = Neg (b) }"),
    "pair": graph("(float[N, 2] a, float[N, 1] b) => (float[N, 2] y) { y = Add (a, b) }"),
    "imaginary": graph("(float[N, 4] x, complex64[N] c) => (float[N, 4] y) { y = Neg (x) }"),
    "words": graph("(string[N, 1] x) => (string[N, 1] y) { y = Identity (x) }"),
    "wide": graph("(double[N, 4] x, bool flag) => (double[N, 4] y) { m = Neg (x) y = Where (flag, x, m) }"),
    "jumps": graph("(float[N, 4] x) => (float[N, M] y) { t = ReduceMax <keepdims = 0> (x, a) i = Cast <to = 7> (t)"
                   " e = Reshape (i, o) y = Slice (x, s, e, o) }",
                   a=np.int64([0, 1]), o=np.int64([1]), s=np.int64([0])),
    "no_rules": graph("(float[N, 4] x) => (float[N, 1] y) { " +
                      " ".join(f"i{k} = ArgMax <axis = 1> (x) c{k} = Cast <to = 1> (i{k})" for k in range(22)) +
                      " y = Sum (" + ", ".join(f"c{k}" for k in range(22)) + ") }"),
}


def bomb():
    """A zip archive whose directory names the same bytes three times."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        data = io.BytesIO()
        np.save(data, np.random.default_rng(0).random(500))
        archive.writestr("x.npy", data.getvalue())
    whole = out.getvalue()
    begin, end = whole.index(b"PK\1\2"), whole.index(b"PK\5\6")
    entry = whole[begin:end]
    directory = b"".join(entry.replace(b"x.npy", name) for name in (b"x.npy", b"y.npy", b"z.npy"))
    return whole[:begin] + directory + struct.pack(
        "<4sHHHHIIH", b"PK\5\6", 0, 0, 3, 3, len(directory), begin, 0)


@pytest.fixture(scope="module")
def data(tmp_path_factory, cli):
    folder = tmp_path_factory.mktemp("refusals")
    for name, made in MODELS.items():
        onnx.save(made, folder / f"{name}.onnx")
    np.save(folder / "x.npy", X)
    np.save(folder / "b.npy", X[:, :3])
    np.save(folder / "rate.npy", np.float32(2))
    np.save(folder / "jumps.npy", np.float32([[1] * 4, [3] * 4]))
    np.save(folder / "complex.npy", X.astype(np.complex64))
    np.save(folder / "words.npy", np.array([["a"], ["b"]]))
    whole = (folder / "x.npy").read_bytes()
    (folder / "header.npy").write_bytes(b"\x93NUMPY\2\0" + struct.pack("<I", 1 << 20) + whole[10:])
    (folder / "axes.npy").write_bytes(whole.replace(b"(5, 4)", b"(5  4)"))
    (folder / "kind.npy").write_bytes(whole.replace(b"'<f4'", b"1<f4'"))
    (folder / "binary.csv").write_bytes(b"x[0],x[1],x[2],x[3]\n1,2,3,4\n1,\0,3,4\n")
    (folder / "long.npy").write_bytes(whole.replace(b"'<f4'", b"'<f4,"))
    (folder / "bare.npy").write_bytes(whole.replace(b"(5, 4), }", b"(5, 4)}  "))
    (folder / "five_wide.csv").write_text("p,q,r,s,t\n1,2,3,4,5\n6,7,8,9,10\n")
    (folder / "python2.npy").write_bytes(whole.replace(b"(5, 4), }  ", b"(5L, 4L), }"))
    (folder / "bomb.npz").write_bytes(bomb())
    np.savez(folder / "x.npz", x=X)
    header = ",".join(f"x[{i}]" for i in range(4))
    rows = [",".join(map(repr, map(float, row))) for row in X]
    (folder / "marked.csv").write_text("\n".join(["\ufeff" + header, *rows]), encoding="utf-8")
    (folder / "spaced.csv").write_text("\n".join([header, *(row.replace(",", " ,\t") for row in rows)]))
    (folder / "five.csv").write_text("p,q,r,s,t\n1,2,3,4,5\n")
    (folder / "junk.csv").write_text("p,q,junk\n1,2,3\n")
    (folder / "less.csv").write_text("b[0],a[0]\n1,2\n")
    (folder / "misspelt.csv").write_text("b[0],a[0],a[l]\n1,2,3\n")
    (folder / "names.txt").write_text("p\nq\n")
    (folder / "four.txt").write_text("a\nb\nc\nd\n")
    np.savez(folder / "pictures.npz", x_shap=np.ones((20, 1, 4, 4), np.float32),
             shap_target=np.zeros(20, np.int64))
    Image.new("RGB", (8, 8), (10, 20, 30)).save(folder / "photo.png")
    np.save(folder / "ab.npy", X[:, :2])
    np.save(folder / "one.npy", X[:, :1])
    for command in (["linear.onnx", "-rx.npy", "-oe.onnx"],
                    ["pair.onnx", "-rab.npy", "--hold=b", "--feature-names=names.txt",
                     "-onamed.onnx"]):
        subprocess.run([cli, "explain", *command, "-q"], cwd=folder, check=True)
    return folder


EXPLAIN, RUN = ["explain", "linear.onnx", "-rx.npy", "-oOUT/e.onnx"], ["run", "linear.onnx", "-oOUT/o.npz"]
REFUSED = [
    (2, "--integrate is not of the form K or K:Op,Op", [*EXPLAIN, "--integrate=4:"]),
    (2, "--integrate is not of the form K or K:Op,Op", [*EXPLAIN, "--integrate=many"]),
    (2, "--integrate is not of the form K or K:Op,Op", [*EXPLAIN, "--integrate=4,MaxPool"]),
    (1, "photo.png: one photograph for 16 samples: use --sample",
     ["plot", "pictures.npz", "--image=photo.png", "-oOUT/p.png"]),
    (1, "linear.onnx: not an explained model", ["tune", "linear.onnx", "-oOUT/t.onnx"]),
    (1, 'outputs "y" and "z" are no table, they differ in rows: write .npz instead',
     ["run", "rows.onnx", "-ix.npy", "-oOUT/o.csv"]),
    (1, 'output "y" changes its shape from batch to batch: use --batch=1 on single samples or --batch=all',
     ["run", "jumps.onnx", "-ijumps.npy", "--batch=1", "-oOUT/o.npz"]),
    (1, "the model has no output of numbers", ["run", "words.onnx", "-iwords.npy", "-oOUT/o.npz"]),
    (1, 'input "c" takes what no array can hold',
     ["run", "imaginary.onnx", "-ix=x.npy", "-ic=x.npy", "-oOUT/o.npz"]),
    (1, "--fix=c=1: input \"c\" takes no numbers",
     ["explain", "imaginary.onnx", "-rx=x.npy", "--fix=c=1", "-oOUT/e.onnx"]),
    (1, '--fix=flag=truest: not whole numbers, as input "flag" takes bool',
     ["explain", "wide.onnx", "-rx=x.npy", "--fix=flag=truest", "-oOUT/e.onnx"]),
    (1, '--fix=x=1,2,3,four: not numbers, as input "x" takes float64',
     ["explain", "wide.onnx", "-rx=x.npy", "--fix=x=1,2,3,four", "-oOUT/e.onnx"]),
    (1, 'five.csv: input "a" has no fixed number of columns: give a .npy',
     ["run", "free.onnx", "-ifive.csv", "-oOUT/o.npz"]),
    (1, "five.csv: 5 columns where the model takes 4, and their names do not say which",
     [*RUN, "-ifive.csv"]),
    (1, 'less.csv: no column "a[1]" (2 columns, of which the model takes 3)',
     ["run", "pair.onnx", "-iless.csv", "-oOUT/o.npz"]),
    (1, 'misspelt.csv: no column "a[1]" (3 columns, of which the model takes 3)',
     ["run", "pair.onnx", "-imisspelt.csv", "-oOUT/o.npz"]),
    (1, "junk.csv: no columns for the inputs without features",
     ["run", "named.onnx", "-ijunk.csv", "-oOUT/o.npz"]),
    (1, "header.npy: header of 1048576 bytes", [*RUN, "-iheader.npy"]),
    (1, "axes.npy: not a .npy file: broken header", [*RUN, "-iaxes.npy"]),
    (1, "kind.npy: not a .npy file: broken header", [*RUN, "-ikind.npy"]),
    (1, "long.npy: not a .npy file: broken header", [*RUN, "-ilong.npy"]),
    (1, "missing.npy: cannot read: no such file or directory", [*EXPLAIN, "--weights=missing.npy"]),
    (1, "binary.csv: not text", ["run", "linear.onnx", "-ibinary.csv", "-oOUT/o/"]),
    (1, "bomb.npz: its entries overlap", [*RUN, "-ibomb.npz"]),
    (1, "complex.npy: element type is none of float16/32/64, integers, bool, text",
     ["run", "linear.onnx", "-icomplex.npy", "-oOUT/o/"]),
    (1, "the samples have no axis that can be cut: run without --shard and --resume",
     ["run", "fixed.onnx", "-ix.npy", "--shard=1/2", "-oOUT/o/"]),
    (1, 'output "z" has no sample axis, so that rows cannot be written one after another: write .npz',
     ["run", "scalar.onnx", "-ix=x.npy", "-ir=rate.npy", "-oOUT/o/"]),
    (2, "-o FOLDER/ does not go with a model from a pipe", ["run", "-", "-ix.npy", "-oOUT/o/"]),
    (2, "--hold: given more than ", [*EXPLAIN, *["--hold=x"] * 2000]),
]


@pytest.mark.parametrize("code, said, command", REFUSED, ids=[said[:50] for _, said, _ in REFUSED])
def test_refused(code, said, command, cli, data, tmp_path):
    command = [part.replace("OUT", str(tmp_path)) for part in command]
    done = subprocess.run([cli, *command], cwd=data, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == code, done.stderr
    assert said in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["marked.csv", "spaced.csv", "python2.npy", "bare.npy"])
def test_read_all_the_same(name, cli, data, tmp_path):
    """A byte order mark, spaces beside numbers, sizes as Python 2 wrote them, no comma before the brace."""
    subprocess.run([cli, "run", "linear.onnx", f"-i{name}", f"-o{tmp_path}/o.npz", "-q"], cwd=data, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "o.npz")["y"], X @ W, rtol=1e-6)


def test_columns_of_a_free_width(cli, data, tmp_path):
    """One input of any width takes what columns there are."""
    subprocess.run([cli, "run", "any.onnx", "-ifive_wide.csv", f"-o{tmp_path}/o.npz", "-q"], cwd=data, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "o.npz")["y"], [[15], [40]])


def test_arrays_from_pipes(cli, data, tmp_path):
    """Archives from a pipe, which cannot be sought in, and weights from standard input."""
    os.mkfifo(tmp_path / "p.npz")
    with subprocess.Popen([cli, "run", "linear.onnx", f"-i{tmp_path}/p.npz", f"-o{tmp_path}/o.npz", "-q"],
                          cwd=data) as running:
        (tmp_path / "p.npz").write_bytes((data / "x.npz").read_bytes())
    assert running.returncode == 0
    np.testing.assert_allclose(np.load(tmp_path / "o.npz")["y"], X @ W, rtol=1e-6)
    weights = io.BytesIO()
    np.save(weights, np.float64([1, 0, 0, 0, 0]))
    subprocess.run([cli, "explain", "linear.onnx", "-rx.npy", "--weights=-", "--target=0", f"-o{tmp_path}/e.onnx",
                    "-q"], cwd=data, check=True, input=weights.getvalue())
    subprocess.run([cli, "run", tmp_path / "e.onnx", "-ix.npy", f"-o{tmp_path}/o.npz", "-q"], cwd=data, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "o.npz")["x_shap"], (X - X[0]) * W[:, 0], atol=1e-5)


def test_long_names_from_a_pipe(cli, data, tmp_path):
    names = [f"{letter}{'-' * 40000}" for letter in "abcd"]
    subprocess.run([cli, "explain", "linear.onnx", "-rx.npy", "--feature-names=/dev/stdin", f"-o{tmp_path}/e.onnx",
                    "-q"], cwd=data, check=True, text=True, input="\n".join(names))
    told = {p.key: p.value for p in onnx.load(tmp_path / "e.onnx").metadata_props}
    assert told["onnxexplainer.feature_names"].split("\n") == names


def test_names_with_quotes(cli, data, tmp_path):
    """Graphviz reads names as they are."""
    made = graph("(float[N, 4] x) => (float[N, 2] y) { y = MatMul (x, w) }", w=W)
    made.graph.node[0].name = 'a "quoted\\\\ name"'
    onnx.save(made, tmp_path / "q.onnx")
    done = subprocess.run([cli, "show", tmp_path / "q.onnx", "--dot"], capture_output=True, text=True, check=True)
    assert 'a \\"quoted' in done.stdout, done.stdout


def test_rows_by_a_provider(cli, data, tmp_path):
    subprocess.run([cli, "run", "linear.onnx", "-ix.npy", "--provider=CPU", f"-o{tmp_path}/o/", "-q"], cwd=data,
                   check=True)
    np.testing.assert_allclose(np.load(tmp_path / "o" / "y.npy"), X @ W, rtol=1e-6)


def test_names_of_outputs_are_no_paths(cli, data, tmp_path):
    subprocess.run([cli, "run", "slash.onnx", "-ix.npy", f"-o{tmp_path}/o/", "-q"], cwd=data, check=True)
    assert os.listdir(tmp_path / "o") == ["a%2Fb%25.npy"]
    np.testing.assert_allclose(np.load(tmp_path / "o" / "a%2Fb%25.npy"), X @ W, rtol=1e-6)


def test_truth_values_and_doubles_are_fixed(cli, data, tmp_path):
    for flag, sign in ("true", 1), ("false", -1):
        subprocess.run([cli, "explain", "wide.onnx", "-rx=x.npy", f"--fix=flag={flag}", "--target=1",
                        f"-o{tmp_path}/e.onnx", "-q"], cwd=data, check=True)
        subprocess.run([cli, "run", tmp_path / "e.onnx", "-ix.npy", f"-o{tmp_path}/o.npz", "-q"],
                       cwd=data, check=True)
        phi = np.load(tmp_path / "o.npz")["x_shap"]
        expected = np.zeros_like(phi)
        expected[:, 1] = sign * (X[:, 1] - X[:, 1].astype(np.float64).mean())
        np.testing.assert_allclose(phi, expected, atol=1e-12)


def test_many_nodes_without_rules(cli, data):
    done = subprocess.run([cli, "show", "no_rules.onnx"], cwd=data, capture_output=True, text=True)
    assert done.stderr.count("cannot be explained") == 20
    assert "no_rules.onnx: 2 more such nodes" in done.stderr


def test_the_first_samples_are_drawn(cli, data, tmp_path):
    done = subprocess.run([cli, "plot", "pictures.npz", f"-o{tmp_path}/p.png"], cwd=data, capture_output=True,
                          text=True, check=True)
    assert done.stderr == "onnxexplainer: note: drew the first 16 of 20 samples\n"


def test_outputs_that_others_changed(cli, data, tmp_path):
    """Results of a model that lost an output come out, and are said to be unchecked."""
    changed = onnx.load(data / "e.onnx")
    outputs = {output.name: output for output in changed.graph.output}
    changed.graph.output.remove(outputs["base_value"])
    onnx.save(changed, tmp_path / "m.onnx")
    command = [cli, "run", tmp_path / "m.onnx", "-ix.npy", f"-o{tmp_path}/o.npz"]
    done = subprocess.run(command, cwd=data, capture_output=True, text=True)
    assert done.returncode == 0 and "warning: not checked: " in done.stderr, done.stderr
    assert set(np.load(tmp_path / "o.npz").files) == set(outputs) - {"base_value"}
    done = subprocess.run([*command, "--strict"], cwd=data, capture_output=True, text=True)
    assert done.returncode == 1


FAKE = """
#include <stddef.h>
typedef struct base { const void *(*get)(unsigned version); const char *(*version)(void); } base;
static const void *get(unsigned version) { (void)version; return NULL; }
static const char *version(void) { return VERSION; }
const base *OrtGetApiBase(void) { static const base it = {get, version}; return &it; }
"""


@pytest.mark.parametrize("version, said", [
    ("1.2.3", "onnxruntime 1.2.3 is too old, 1."), ("0.9", "onnxruntime 0.9 is too old, 1."),
    ("2.0.0", "onnxruntime 2.0.0 does not offer API version "), ("", "onnxruntime  is too old, 1.")])
def test_other_runtimes(version, said, cli, data, tmp_path):
    """Libraries that are ONNX Runtime, and cannot be used, are named with their version."""
    (tmp_path / "fake.c").write_text(FAKE)
    library = tmp_path / "libonnxruntime.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", f'-DVERSION="{version}"', tmp_path / "fake.c", "-o", library],
                   check=True)
    done = subprocess.run([cli, "run", "linear.onnx", "-ix.npy", f"-o{tmp_path}/o.npz"], cwd=data, text=True,
                          capture_output=True, env=os.environ | {"ONNXRUNTIME_LIBRARY": str(library)})
    assert done.returncode == 1 and f"{library}: {said}" in done.stderr, done.stderr
    assert not (tmp_path / "o.npz").exists()


def test_a_tuned_model_is_not_tuned_again(cli, data, tmp_path):
    digits = ROOT / "examples/digits"
    for command in (["explain", digits / "digits.onnx", "-r", digits / "references.npy", f"-o{tmp_path}/e.onnx"],
                    ["tune", tmp_path / "e.onnx", f"-o{tmp_path}/t.onnx"]):
        subprocess.run([cli, *command, "-q"], check=True)
    done = subprocess.run([cli, "tune", tmp_path / "t.onnx", f"-o{tmp_path}/u.onnx"], capture_output=True, text=True)
    assert done.returncode == 1 and "the model is tuned already" in done.stderr, done.stderr
    assert not (tmp_path / "u.onnx").exists()
