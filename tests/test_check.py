"""What comes out of an explained model is checked: values that are not finite and sums that do not
add up are told, with the samples they belong to; rounding, in whatever layout and type, is not."""

import subprocess

import numpy as np
import onnx
import pytest
from library import check, notes
from onnx import TensorProto, helper, numpy_helper
from rulecheck import floats, node

FLOAT, HALF, DOUBLE = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE
X, R = floats(7, 6, seed=1), floats(5, 6, seed=2)
W1, W2 = floats(6, 8, seed=3), floats(8, 4, seed=4)
TARGETS = ["top", "2", "all", "0-3", "*", "1,3-0", "bottom:2"]

def made(nodes, weights, inputs=(("x", FLOAT, ["N", 6]),), outputs=(("y", FLOAT, ["N", 4]),)):
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info(*i) for i in inputs],
                              [helper.make_tensor_value_info(*o) for o in outputs],
                              [numpy_helper.from_array(np.asarray(w), k)
                               for k, w in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def mlp(kind=np.float32):
    code = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    return made([node("MatMul", "x w1", "h"), node("Tanh", "h", "a"), node("MatMul", "a w2", "y")],
                {"w1": W1.astype(kind), "w2": W2.astype(kind)},
                [("x", code, ["N", 6])], [("y", code, ["N", 4])])


def lacking(share):
    """A network to which the index of the largest input is added, times `share`: no multiplier
    passes there."""
    return made([node("MatMul", "x w1", "h"), node("Tanh", "h", "a"), node("MatMul", "a w2", "f"),
                 node("ArgMax", "x", "i", axis=1), node("Cast", "i", "c", to=FLOAT),
                 node("Mul", "c share", "s"), node("Add", "f s", "y")],
                {"w1": W1, "w2": W2, "share": np.float32(share) * np.float32([1, 2, 3, 4])})


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("gap", [(), ("--gap",)])
def test_rounding_is_not_told(explain, run, target, gap):
    path = explain(mlp(), R, f"--target={target}", *gap)
    for x in (X, R[:1], np.zeros_like(X), 1e-4 * X, 1e3 * X):
        assert check(path, run(path, x)) == ((len(x), 0, 0, 0), [])


@pytest.mark.parametrize("options", [("--chunk=2",), ("--cache=file", "--cache-dtype=float16")])
def test_rounding_of_other_ways_is_not_told(explain, run, options):
    path = explain(mlp(), R, "--target=all", *options)
    assert check(path, run(path, X)) == ((7, 0, 0, 0), [])


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_rounding_of_other_types_is_not_told(explain, run, kind):
    path = explain(mlp(kind), R.astype(kind), "--target=all")
    assert check(path, run(path, X.astype(kind))) == ((7, 0, 0, 0), [])


def test_rounding_of_f_to_16_bits_is_told_beside_the_gap(explain, cli, tmp_path):
    """Where f(x) is near the base value, rounding both is most of their difference."""
    x = np.float16([[1, 0], [0, 1]])
    model = made([node("MatMul", "x w", "h"), node("Add", "h big", "y")],
                 {"w": np.float16([[0.3], [-0.4]]), "big": np.float16([900])},
                 [("x", HALF, ["N", 2])], [("y", HALF, ["N", 1])])
    path = explain(model, 0 * x[:1])
    np.save(tmp_path / "x.npy", x)
    done = subprocess.run([cli, "run", path, "-i", tmp_path / "x.npy"], capture_output=True,
                          text=True, check=True)
    assert done.stderr == ""
    last = done.stdout.splitlines()[-1]
    assert last.startswith("largest relative gap") and "16 bits of f(x) and base value" in last
    assert float(last.split()[-1]) >= float(last.split()[3]) > 0.1


def test_doubles_are_held_to_their_own_rounding(explain, run):
    path = explain(mlp(np.float64), R.astype(float), "--target=all")
    out = run(path, X.astype(float))
    out["x_shap"][2, 1, 3] += 1e-9
    assert check(path, out)[0] == (7, 0, 1, 0)


@pytest.mark.parametrize("target", [t for t in TARGETS if t not in ("0-3", "*", "1,3-0")])
@pytest.mark.parametrize("gap", [(), ("--gap",)])
def test_a_part_in_a_thousand_is_told(explain, run, target, gap):
    """Of the SHAP values of one sample, its change moved by a thousandth."""
    path = explain(mlp(), R, f"--target={target}", *gap)
    out = run(path, X)
    whole = out["x_shap"].reshape(7, -1, 6)
    change = whole[4].sum(-1)
    size = np.abs(whole[4]).sum(-1) + np.abs(out["y"][4]).max() * 2
    k = int(np.argmax(np.abs(change) / size))
    whole[4, k, 2] += 1e-3 * change[k]
    found, lines = check(path, out)
    assert found == (7, 0, 1, 0) and len(lines) == 1
    place = out["shap_target"].reshape(7, -1)[4, k]
    assert f"of sample 4 do not add up to f(x) - base value: sample 4, target {place} " in lines[0]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("options", [(), ("--gap",), ("--chunk=2",)])
def test_a_lost_path_is_told(explain, run, target, options):
    """Every sample whose index differs from the references' mean lacks the difference."""
    path = explain(lacking(0.02), R, f"--target={target}", "--force", *options)
    out = run(path, X)
    found, lines = check(path, out)
    lost = np.abs(np.argmax(X, 1) - np.argmax(R, 1).mean()) > 0
    assert found == (7, 0, lost.sum(), 0) and len(lines) == 1


def test_values_that_cancel_are_told(explain, run):
    """a / (a + b) of a reference whose divisor is nearly 0: values of 10^9, of which rounding
    leaves hundreds."""
    model = made([node("ReduceSum", "x axis", "s", keepdims=1), node("Div", "x s", "y")],
                 {"axis": np.int64([1])}, [("x", FLOAT, ["N", 2])], [("y", FLOAT, ["N", 2])])
    x = np.float32([[0.3, 0.4], [0.123, 0.7]])
    path = explain(model, 1e-11 * np.float32([[1, 3]]), "--target=0")
    found, told = check(path, run(path, x))
    assert np.abs(run(path, x)["x_shap"]).max() > 1e6
    assert found == (2, 0, 2, 0) and "do not add up" in told[0]


def test_not_finite(explain, run):
    path = explain(mlp(), R, "--target=all")
    x = X.copy()
    x[1, 0], x[5, 3] = np.nan, np.inf
    out = run(path, x)
    found, lines = check(path, out)
    assert found == (7, 2, 0, 0)
    assert len(lines) == 1 and "samples 1, 5 (2 of 7) are not finite" in lines[0]


@pytest.mark.parametrize("name", ["x_shap", "base_value", "y"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_one_value_not_finite(explain, run, name, wrong):
    path = explain(mlp(), R, "--target=3")
    out = run(path, X)
    out[name].reshape(7, -1)[6, -1] = wrong
    found, lines = check(path, out)
    assert found == (7, 1, 0, 0) and "sample 6 " in lines[0] and f'"{name}"' in lines[0]


def test_infinities_that_are_not_explained_are_not_told(explain, run):
    """Masked logits of other classes, say."""
    path = explain(mlp(), R, "--target=3")
    out = run(path, X)
    out["y"][:, 0] = -np.inf
    assert check(path, out) == ((7, 0, 0, 0), [])


def test_many_samples_are_not_all_named(explain, run):
    path = explain(mlp(), R, "--target=3")
    out = run(path, np.repeat(X, 10, 0))
    out["x_shap"][10:, 0] += 1
    found, lines = check(path, out)
    assert found == (70, 0, 60, 0)
    assert "samples 10, 11, 12, 13, 14, 15, 16, 17, ... (60 of 70) " in lines[0]


def test_names_with_commas_and_a_prefix(explain, run):
    """Both inputs count, whatever they are called, and their sums together."""
    model = made([node("Add", "a,b a", "s"), node("MatMul", "s w1", "h"), node("Tanh", "h", "y")],
                 {"w1": W1[:, :4]}, [("a,b", FLOAT, ["N", 6]), ("a", FLOAT, ["N", 6])])
    path = explain(model, {"a,b": R, "a": R[::-1]}, "--prefix=our_", "--target=all")
    out = run(path, {"a,b": X, "a": X[::-1]})
    assert check(path, out) == ((7, 0, 0, 0), [])
    for name in ("our_a,b_shap", "our_a_shap"):
        wrong = {**out, name: out[name] * np.float32(1.01)}
        assert check(path, wrong)[0] == (7, 0, 7, 0)


@pytest.mark.parametrize("target", ["all", "top", "2-0"])
def test_batch_axis_elsewhere(explain, run, target):
    """The batch is the second axis of input and output."""
    model = made([node("Transpose", "x", "t", perm=[1, 0]), node("MatMul", "t w1", "h"),
                  node("Tanh", "h", "a"), node("MatMul", "a w2", "f"),
                  node("Transpose", "f", "y", perm=[1, 0])], {"w1": W1, "w2": W2},
                 [("x", FLOAT, [6, "N"])], [("y", FLOAT, [4, "N"])])
    path = explain(model, R.T, f"--target={target}")
    out = run(path, X.T)
    assert check(path, out) == ((7, 0, 0, 0), [])
    out["x_shap"][..., :] = np.where(out["x_shap"] == out["x_shap"].max(), 9, out["x_shap"])
    assert check(path, out)[0] == (7, 0, 1, 0)


@pytest.mark.parametrize("target", ["all", "top", "1-0"])
def test_without_a_batch(explain, run, target):
    model = made([node("MatMul", "x w1", "h"), node("Tanh", "h", "a"), node("MatMul", "a w2", "y")],
                 {"w1": W1, "w2": W2}, [("x", FLOAT, [6])], [("y", FLOAT, [4])])
    path = explain(model, R, f"--target={target}", "--no-batch")
    out = run(path, X[0])
    assert check(path, out) == ((1, 0, 0, 0), [])
    out["x_shap"].reshape(-1)[0] += 0.01
    assert check(path, out)[0] == (1, 0, 1, 0)


def test_at_a_tensor_inside(explain, run):
    path = explain(mlp(), R, "--target=all", "--at=h")
    out = run(path, X)
    assert check(path, out) == ((7, 0, 0, 0), [])
    out["h_shap"][3, 2, 1] += 0.1
    assert check(path, out)[0] == (7, 0, 1, 0)


def test_without_the_explained_tensor(explain, run):
    """Of an inner tensor f(x) is not there: then the gap says it, or nothing does."""
    path = explain(mlp(), R, "--output-name=a", "--target=3")
    assert check(path, run(path, X)) == ((7, 0, 0, 7), [])
    path = explain(mlp(), R, "--output-name=a", "--target=3", "--gap")
    out = run(path, X)
    assert check(path, out) == ((7, 0, 0, 0), [])
    out["completeness_gap"][5] = 0.01
    assert check(path, out)[0] == (7, 0, 1, 0)


def test_what_is_no_result_is_refused(explain, run, tmp_path):
    path = explain(mlp(), R, "--target=all")
    out = run(path, X)
    onnx.save(mlp(), tmp_path / "plain.onnx")
    assert "not all outputs of an explained model" in check(tmp_path / "plain.onnx", out)
    assert "not all outputs" in check(path, {"y": out["y"], "x_shap": out["x_shap"]})
    assert "another shape" in check(path, {**out, "x_shap": out["x_shap"][:6]})
    assert "another shape" in check(path, {**out, "y": out["y"][:6]})
    assert "another shape" in check(path, {**out, "base_value": out["base_value"][:6]})


def test_run_in_batches(explain, cli, tmp_path):
    """Samples are counted over all batches, with and without plans and kernels."""
    path = explain(lacking(0.02), R, "--force", "--target=1")
    x = np.repeat(R[np.argmax(R, 1) == np.argmax(R, 1).max()][:1], 20, 0)
    np.save(tmp_path / "x.npy", x)
    for options in (["--batch=3"], ["--tune"], ["--no-kernels", "--batch=all"]):
        done = subprocess.run([cli, "run", path, "-i", "x.npy", "-q", "-o", "-", *options],
                              cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout.count("\n") == 21
        assert done.stderr.count("\n") == 1 and "(20 of 20) do not add up" in done.stderr


# ---- scales -----------------------------------------------------------------------------------


UNIT = np.abs(floats(3, 6, seed=5)) % 1
BYTES = np.array([[0, 255, 31, 7, 90, 200], [12, 90, 255, 255, 3, 0]], np.uint8)


@pytest.mark.parametrize("references, given, expected", [
    (UNIT, BYTES, "uint8 values 0 to 255, its references are"),
    (UNIT, BYTES.astype(np.float32), "values 0 to 255, its references are"),
    ((UNIT - 0.485) / 0.225, BYTES.astype(np.float64), "values 0 to 255, its references are"),
    (0 * UNIT, BYTES, "uint8 values 0 to 255, its references are 0 to 0"),
    (BYTES[:1].astype(np.float32), UNIT, "its references are 0 to 255"),
], ids=range(5))
def test_another_scale_is_told(explain, references, given, expected):
    lines = notes(explain(mlp(), np.float32(references)), {"x": given})
    assert len(lines) == 1 and 'input "x" (float32) gets ' in lines[0] and expected in lines[0]


@pytest.mark.parametrize("references, given", [
    (BYTES.astype(np.float32), BYTES[::-1]),           # both in bytes
    (BYTES.astype(np.float32), (BYTES * 1.5)),         # a slight excess
    (BYTES.astype(np.float32), 0 * UNIT),              # black
    (UNIT, 3 * UNIT),
    (UNIT, (BYTES > 90).astype(np.uint8)),             # flags
    (1e-8 * floats(1, 6, seed=6), 2 * X),              # the mean of a normalised table
    (0 * UNIT, BYTES.astype(np.float32)),              # nothing is known of a scale
    ([[1, 30, 5e4, 0, 2, 1]], [[0, 51, 9e5, 1, 2, 1]]),  # a rich customer
    ([[0, 1, 3, 0, 2, 1]], [[0, 0, 40, 1, 2, 0]]),     # a count that is rare
    (UNIT, [[0.5, np.nan, np.inf, 0, 1, 1]]),
], ids=range(10))
def test_samples_beyond_the_references_are_not_told(explain, references, given):
    if np.asarray(given).dtype != np.uint8:
        given = np.float32(given)
    assert notes(explain(mlp(), np.float32(references)), {"x": given}) == []


def test_ranges_in_the_metadata(explain):
    model = made([node("Add", "a,b c", "s"), node("MatMul", "s w1", "h"), node("Tanh", "h", "y")],
                 {"w1": W1[:, :4]}, [("a,b", FLOAT, ["N", 6]), ("c", FLOAT, ["N", 6])])
    path = explain(model, {"a,b": UNIT, "c": BYTES[[0, 0, 1]].astype(np.float32)})
    stored = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert stored["onnxexplainer.reference_ranges"].split("\n") == [
        f"{UNIT.min():.9g} {UNIT.max():.9g} real a,b", "0 255 whole c"]
    assert len(notes(path, {"a,b": BYTES, "c": BYTES})) == 1
    assert len(notes(path, {"a,b": BYTES, "c": UNIT})) == 2


def test_plain_model_with_bytes(tmp_path):
    """Where nothing is known of references, the type says it."""
    onnx.save(mlp(), tmp_path / "plain.onnx")
    assert len(notes(tmp_path / "plain.onnx", {"x": BYTES})) == 1
    assert notes(tmp_path / "plain.onnx", {"x": BYTES.astype(np.float32)}) == []


def test_token_ids_have_no_scale(explain):
    model = made([node("Gather", "table x", "e"), node("ReduceMean", "e axes", "m", keepdims=0),
                  node("MatMul", "m w", "y")],
                 {"table": floats(300, 6, seed=7), "axes": np.array([1]),
                  "w": floats(6, 4, seed=8)},
                 [("x", TensorProto.INT64, ["N", 6])])
    path = explain(model, np.arange(6)[None] % 2)
    assert notes(path, {"x": BYTES.astype(np.int64)}) == notes(path, {"x": BYTES}) == []
