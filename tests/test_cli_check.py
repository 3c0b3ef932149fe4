"""What `check` says of models whose values it cannot compare, and where sums or samples are not all that
there is to look at."""

import json
import re
import subprocess

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

X = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
R = X[:2] + np.float32(0.5)
W = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)


def net(width=4, batch="N", kind="float"):
    """y = relu(x W), float or double."""
    made = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 18]> graph ({kind}[{batch}, {width}] x) => '
                                   f"({kind}[{batch}, 3] y) {{ h = MatMul (x, w) y = Relu (h) }}")
    weights = np.random.default_rng(1).normal(size=(width, 3))
    made.graph.initializer.append(numpy_helper.from_array(
        weights.astype(np.float64 if kind == "double" else np.float32), "w"))
    return made


@pytest.fixture
def check(cli, tmp_path):
    """check(model, options of explain, options of check, samples): the finished process."""
    def check(model, made, asked=(), x=X):
        onnx.save(model, tmp_path / "m.onnx")
        np.save(tmp_path / "x.npy", x)
        np.save(tmp_path / "r.npy", R)
        done = subprocess.run([cli, "explain", "m.onnx", *made, "-oe.onnx", "-q"], cwd=tmp_path,
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return subprocess.run([cli, "check", "e.onnx", "-ix.npy", *asked], cwd=tmp_path, capture_output=True, text=True)
    return check


def test_what_is_not_in_the_model(check, tmp_path):
    np.save(tmp_path / "labels.npy", np.int64([0, 0, 1, 1]))
    np.save(tmp_path / "mask.npy", np.float32([1, 2, 3]))
    for option, said, given in (
            ("--groups=labels.npy", "its groups are maps of labels, which --groups gives", "--groups=labels.npy"),
            ("--target=mask.npy", "its target is of an array, which --target gives", "--target=mask.npy")):
        made = check(net(), ["-rr.npy", option])
        assert made.returncode == 0 and f"not compared: {said}" in made.stdout, made.stdout + made.stderr
        compared = check(net(), ["-rr.npy", option], [given])
        assert compared.returncode == 0 and "not compared" not in compared.stdout, compared.stdout


def test_references_of_their_own(check, cli, tmp_path):
    """With a reference for each sample there is no mean to compare with."""
    onnx.save(net(), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "p.npy", X[::-1])
    subprocess.run([cli, "explain", "m.onnx", "-rpaired", "-oe.onnx", "-q"], cwd=tmp_path, check=True)
    done = subprocess.run([cli, "check", "e.onnx", "-ix=x.npy", "-ix_references=p.npy"], cwd=tmp_path, text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stderr
    assert "not compared: each sample has a reference of its own" in done.stdout


def test_weights_of_references_come_out_again(check, tmp_path):
    """The Shapley values are those of the weighted mean, which the first reference alone is here."""
    np.save(tmp_path / "weights.npy", np.float64([1, 0]))
    done = check(net(), ["-rr.npy", "--weights=weights.npy", "--method=exact"], ["--tolerance=1e-5"])
    assert done.returncode == 0 and "good" in done.stdout, done.stdout + done.stderr


def test_values_that_are_not_finite(check):
    x = X.copy()
    x[1, 2] = np.nan
    done = check(net(), ["-rr.npy"], x=x)
    assert done.returncode == 1 and "there are values that are not finite" in done.stdout, done.stdout


def test_values_that_are_not_meant_to_add_up(check):
    done = check(net(), ["-rr.npy", "--method=gradient"])
    assert done.returncode == 0
    assert "completeness  values of gradient are not meant to add up" in done.stdout, done.stdout


def test_doubles(check):
    done = check(net(kind="double"), ["-rr.npy"])
    assert done.returncode == 0 and "good" in done.stdout, done.stdout + done.stderr


def test_only_the_first_samples_are_compared(check):
    """Where the others would take more runs than are worth it; and how far sampling is off."""
    x = np.random.default_rng(2).normal(size=(900, 40)).astype(np.float32)
    model = net(40)
    done = check(model, ["-rfill:0"], x=x)
    assert done.returncode == 0, done.stderr
    assert ", on the first " in done.stdout and " of 900 samples" in done.stdout, done.stdout
    assert ", of which sampling leaves about " in done.stdout


def test_a_model_without_batch(check, tmp_path):
    np.save(tmp_path / "one.npy", R[:, None])
    done = check(net(batch=1), ["-rone.npy", "--no-batch"])
    assert done.returncode == 0, done.stderr
    assert "curves        not drawn: curves of a model without batch are those of one sample at a time" in done.stdout
    assert "verdict       doubtful: Shapley values were not compared with, or no curves were drawn" in done.stdout
    done = check(net(batch=1), ["-rr.npy"])
    assert done.returncode == 0 and "deletion      area " in done.stdout, done.stdout


def test_the_original_is_cut_as_the_explained_model(check):
    """A scale of the whole batch rounds each sample otherwise beside others; explained models of such
    take one at a time."""
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 18]> graph (float[N, 4] x) => (float[N, 3] y) '
        "{ q, s, z = DynamicQuantizeLinear (x) d = DequantizeLinear (q, s, z) y = MatMul (d, w) }")
    model.graph.initializer.append(numpy_helper.from_array(W, "w"))
    done = check(model, ["-rr.npy"], x=X * np.float32([[1], [10], [0.1], [3]]))
    assert 'prediction    "y" differs by 0.0e+00 of its largest value' in done.stdout, done.stdout


def damage(path):
    """Makes all SHAP values three times as large."""
    model = onnx.load(path)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["one" if name == "x_shap" else name for name in names]
    model.graph.initializer.append(numpy_helper.from_array(np.float32(3), "three"))
    model.graph.node.append(onnx.helper.make_node("Mul", ["one", "three"], ["x_shap"]))
    onnx.save(model, path)


def sigmoids():
    model = onnx.parser.parse_model('<ir_version: 9, opset_import: ["" : 18]> graph (float[N, 4] x) => (float[N, 3] y) '
                                    "{ t = Tanh (x) h = MatMul (t, w) y = Sigmoid (h) }")
    model.graph.initializer.append(numpy_helper.from_array(W, "w"))
    return model


@pytest.mark.parametrize("options", [["--target=2-0"], ["--target=2-0", "--gap"], ["--target=logit:1"],
                                     ["--target=logit:1", "--gap"], ["--target=top"], ["--target=all"]], ids=" ".join)
def test_sums_that_miss_what_is_no_output(options, check, cli, tmp_path):
    """As f(x) of a difference or a logit: Shapley values of the original know it."""
    right = check(sigmoids(), ["-rr.npy", *options], ["--json"])
    assert right.returncode == 0, right.stdout + right.stderr
    told = json.loads(right.stdout)
    gaps = np.float64(told["completeness"]["gaps"])
    assert told["verdict"] == "good" and np.abs(gaps).max() < 1e-5
    assert told["completeness"]["summed"] == (0 if options[0] in ("--target=top", "--target=all") else len(X))
    damage(tmp_path / "e.onnx")
    done = subprocess.run([cli, "check", "e.onnx", "-ix.npy"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "verdict       wrong: sums miss f(x) - base value" in done.stdout, done.stdout
    largest = float(re.search("largest gap ([0-9.e+-]+)", done.stdout)[1])
    assert largest > 0.1


@pytest.mark.parametrize("width, references, asked, method, samples", [
    (4, 2, [], "exact", 4), (4, 2, ["--samples=3"], "permutation", 4), (12, 100, [], "exact", 2),
    (13, 200, [], "permutation", 4), (16, 12, [], "exact", 1)])
def test_what_enumeration_costs(width, references, asked, method, samples, check, tmp_path):
    """A million runs of the model at most, else permutations, if they allow a sample or not."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "many.npy", rng.normal(size=(references, width)).astype(np.float32))
    done = check(net(width), ["-rmany.npy", "--target=0"], [*asked, "--json"],
                 rng.normal(size=(4, width)).astype(np.float32))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)["agreement"]
    assert (found["method"], len(found["each"])) == (method, samples)
