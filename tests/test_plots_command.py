"""python -m onnxexplainer plot: from models, photographs and results to files."""

import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from conftest import ROOT
from package import ox  # noqa: F401, a fixture

DIGITS = ROOT / "examples" / "digits"


@pytest.fixture
def plot(ox, capsys):
    """plot(*arguments): what it says on standard output and error, and its exit code."""
    def plot(*arguments):
        from onnxexplainer._plot_command import main
        try:
            code = main([str(a) for a in arguments])
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        return said.out, said.err, code
    return plot


def model(path, shape, outputs, seed=0, name="x"):
    """A linear model of samples of a shape."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    nodes = [helper.make_node("Reshape", [name, "flat"], ["rows"]),
             helper.make_node("MatMul", ["rows", "w"], ["y"])]
    weights = [onnx.numpy_helper.from_array(rng.normal(size=(size, outputs)).astype(np.float32) /
                                            np.float32(size ** 0.5), "w"),
               onnx.numpy_helper.from_array(np.array([-1, size]), "flat")]
    graph = helper.make_graph(nodes, "g",
                              [helper.make_tensor_value_info(name, TensorProto.FLOAT,
                                                             ["N", *shape])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT,
                                                             ["N", outputs])], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
              path)
    return path


def test_photograph(plot, tmp_path):
    """One command from a photograph to a picture, with the model not explained before."""
    photo = tmp_path / "photo.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)).save(photo)
    (tmp_path / "classes.txt").write_text("cat\ndog\nnewt\n")
    path, out = model(tmp_path / "m.onnx", (3, 32, 32), 3), tmp_path / "photo.png"
    _, said, code = plot(path, "-i", photo, "--preprocess", "imagenet", "--labels",
                         tmp_path / "classes.txt", "-o", out)
    assert code == 0 and "grey" in said and said.endswith("image of 1 sample\n")
    with Image.open(out) as picture:
        assert picture.width > 3 * picture.height / 2
    assert plot(path, "-i", photo, "--target", "newt", "-o", out, "--labels",
                tmp_path / "classes.txt", "-q", "-r", "fill:0", "--sign", "positive,negative",
                "--smooth", 1, "--blend", 0.2, "--probability", "none") == ("", "", 0)
    _, said, code = plot(path, "-i", photo, "--feature", 3, "-o", out)
    assert code == 1 and '--feature is nothing that the plot "image" takes' in said


def test_results(plot, ox, tmp_path):
    """From an explained model and from the file of `run` comes the same picture."""
    explained, npz = tmp_path / "e.onnx", tmp_path / "e.npz"
    ox.explain(DIGITS / "digits.onnx", DIGITS / "references.npy", target="top:2", gap=True,
               output=explained)
    np.savez(npz, **ox.Session(explained, tune=False).run(np.load(DIGITS / "input.npy")))
    for source, name in ((explained, "a.png"), (npz, "b.png")):
        _, said, code = plot(source, "-i", DIGITS / "input.npy", "--sample", 2, "-o",
                             tmp_path / name)
        assert code == 0, said
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    _, said, code = plot("bar", npz, "-o", tmp_path / "bar.svg", "--count", 5)
    assert code == 0 and (tmp_path / "bar.svg").read_text().startswith("<?xml")


def test_table(plot, tmp_path):
    """CSV files name the features; tables go to the terminal."""
    rng = np.random.default_rng(0)
    for name in ("x.csv", "r.csv"):
        np.savetxt(tmp_path / name, rng.normal(size=(9, 3)), delimiter=",", header="age,size,hue",
                   comments="")
    path = model(tmp_path / "m.onnx", (3,), 1)
    common = (path, "-i", tmp_path / "x.csv", "-r", tmp_path / "r.csv", "-q")
    text, said, code = plot("table", *common, "--sample", 2)
    assert code == 0, said
    assert {"age", "size", "hue", "prediction"} <= {line.split(" ")[0] for line in
                                                    text.splitlines()}
    for options in ((), ("scatter",), ("waterfall",)):
        out = tmp_path / f"{len(options)}.html"
        assert plot(*options, *common, "-o", out) == ("", "", 0) and out.stat().st_size > 5000
    _, said, code = plot("bar", *common)
    assert code == 1 and "give the file to write" in said


@pytest.mark.parametrize("arguments, text", [
    (["none.onnx", "-i", "x.npy"], "none.onnx"),
    (["pie", "{m}"], "'pie' is none of image, text"),
    (["{m}"], 'input "x" is not given: --input x=FILE'),
    (["{m}", "-i", "z={x}"], 'input "z": the model has x'),
    (["{m}", "-i", "{x}"], "give --references"),
    (["{m}", "-i", "none.npy"], "none.npy"),
    (["{m}", "-i", "{x}", "-r", "{x}", "--labels", "none.txt", "--target", "cat"], "none.txt"),
    (["logo", "{m}", "-i", "{x}", "-r", "{x}"], "no one-hot sequences"),
    (["image", "{m}", "-i", "{x}", "-r", "{x}"], "no images"),
    (["{m}", "-i", "{x}", "-r", "{x}", "--target", "9", "-o", "x.png"], "9")])
def test_refused(plot, tmp_path, monkeypatch, arguments, text):
    """One line that names the culprit, and an exit code."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.ones((2, 3), np.float32))
    given = {"m": model("m.onnx", (3,), 2), "x": "x.npy"}
    _, said, code = plot(*(argument.format(**given) for argument in arguments))
    assert code == 1 and text in said and said.count("\n") == 1, said
    assert said.startswith("onnxexplainer: ")


def test_usage(plot):
    _, said, code = plot("x.npz", "--colour", "red")
    assert code == 2 and "--colour" in said


def test_program(ox, tmp_path):
    """`python -m onnxexplainer` has plots, and all other commands as before."""
    folder = os.path.dirname(os.path.dirname(ox.__file__))
    environment = {**os.environ, "PYTHONPATH": folder}
    for arguments, text in ((["plot", "--help"], "beeswarm"), (["--version"], "0.1"),
                            (["--help"], "\n  report     write one page"),
                            (["-h"], "\n  explain    make a model"), (["-h"], "  --version"),
                            (["-h"], "\n  plot       draw SHAP values: image, text, bar, waterfall")):
        done = subprocess.run([sys.executable, "-m", "onnxexplainer", *arguments],
                              capture_output=True, text=True, env=environment)
        assert done.returncode == 0 and text in done.stdout


SAMPLES = {"image": (1, 8, 8), "logo": (6, 4), "text": (5,)} # shapes; of other kinds (3,)


@pytest.mark.parametrize("kind", [None, "image", "text", "waterfall", "force", "table", "bar",
                                  "decision", "heatmap", "logo"])
def test_samples_that_are_not_there(plot, tmp_path, kind):
    """One line, for each kind; and where they are there, what is drawn is what is said."""
    shape, words = SAMPLES.get(kind, (3,)), [kind] if kind else []
    path, x = model(tmp_path / "m.onnx", shape, 2), tmp_path / "x.npy"
    np.save(x, np.random.default_rng(0).integers(0, 2, (10, *shape)).astype(np.float32))
    for sample in (10, 99, -1, -11):
        out, said, code = plot(*words, path, "-i", x, "-r", "fill:0", "--sample", sample, "-o",
                               tmp_path / "x.png")
        assert (out, code) == ("", 1) and not (tmp_path / "x.png").exists()
        assert said == f"onnxexplainer: sample {sample}: there are 10, from 0\n"
    for options, count in ((("--sample", 9), "sample 9"), ((), {
            None: "10 samples", "bar": "10 samples", "decision": "10 samples",
            "heatmap": "10 samples", "image": "the first 8 of 10 samples",
            "text": "the first 8 of 10 samples"}.get(kind, "the first of 10 samples"))):
        _, said, code = plot(*words, path, "-i", x, "-r", "fill:0", *options, "-o",
                             tmp_path / "x.png")
        drawn = kind or ("waterfall" if options else "beeswarm")
        assert code == 0 and said.endswith(f": {drawn} of {count}\n"), said


def test_no_samples(plot, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((0, 3), np.float32))
    for kind in ("waterfall", "beeswarm"):
        _, said, code = plot(kind, model(tmp_path / "m.onnx", (3,), 2), "-i", tmp_path / "x.npy",
                             "-r", "fill:0", "-o", tmp_path / "x.png")
        assert code == 1 and said.count("\n") == 1 and "sample" in said, said


def test_original_of_a_sample(plot, tmp_path):
    """With pictures of all samples, that of the one that is drawn is shown."""
    path, x = model(tmp_path / "m.onnx", (1, 8, 8), 2), tmp_path / "x.npy"
    images = np.random.default_rng(0).uniform(size=(3, 1, 8, 8)).astype(np.float32)
    np.save(x, images)
    np.save(tmp_path / "other.npy", images[[1, 1, 2]])
    for name, options in (("a", ()), ("b", ("--image", x)), ("c", ("--image", tmp_path / "other.npy"))):
        assert plot("image", path, "-i", x, "-r", "fill:0", "--sample", 2, "-q", *options, "-o",
                    tmp_path / f"{name}.png") == ("", "", 0)
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b == c


def test_steps_last(plot, ox, tmp_path):
    """Of samples (channels, steps) steps go from left to right."""
    from onnxexplainer._report import main
    path, x = model(tmp_path / "m.onnx", (2, 30), 1), tmp_path / "x.npz"
    np.savez(x, x=np.random.default_rng(0).normal(size=(1, 2, 30)).astype(np.float32))
    common = (path, "-i", x, "-r", "fill:0", "-q")
    assert plot("heatmap", *common, "--steps-last", "-o", tmp_path / "a.svg") == ("", "", 0)
    outputs = ox.Session(ox.explain(path, "fill:0", target="top")).run(np.load(x)["x"])
    made = ox.plots.heatmap(outputs, steps_last=True)
    assert (tmp_path / "a.svg").read_text() == made.svg()
    assert [t.get_text() for t in made.figure.axes[0].get_yticklabels()] == ["feature 0", "feature 1"]
    assert plot(*common, "--steps-last", "-o", tmp_path / "b.svg") == ("", "", 0)
    assert (tmp_path / "a.svg").read_text() == (tmp_path / "b.svg").read_text()
    assert main([*map(str, common), "--steps-last", "-o", str(tmp_path / "r.html")]) == 0
    svg = made.svg()
    assert svg[svg.index("<svg"):] in (tmp_path / "r.html").read_text()
    _, said, code = plot("bar", *common, "--steps-last", "-o", tmp_path / "c.svg")
    assert code == 1 and "--steps-last is nothing that" in said
