"""What is kept of the references: in float16, in parts, and in a file where folding would be
large."""

import json
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from contract import (FEATURES, R, REFERENCES, WEIGHTS, X, deeplift, explained, mlp, model,
                      refused, single, subgraphs, value)

HALF = 2.0 ** -11  # relative rounding of float16


def initializers(made, kind):
    return [numpy_helper.to_array(i) for i in made.graph.initializer if i.data_type == kind]


def properties(path):
    return {p.key: p.value for p in onnx.load(path).metadata_props}


# ---- float16 -------------------------------------------------------------------------------------

@pytest.mark.parametrize("batch", ["N", 1])
@pytest.mark.parametrize("options", [
    [], ["--cache=file"], ["--chunk=1"], ["--chunk=4"], ["--no-functions"], ["--target=all"],
    ["--target=all", "--memory=1"], ["--target=5", "--memory=1"]], ids="".join)
def test_float16(explained, batch, options):
    x = X[:1] if batch == 1 else X
    narrow, wide = (explained(mlp(batch), single(R), single(x), "--gap", *options, *more)
                    for more in (["--cache-dtype=float16"], []))
    np.testing.assert_allclose(narrow["base_value"], wide["base_value"], rtol=3e-7)
    h, h0 = (np.abs(v @ WEIGHTS["w1"]) + np.abs(WEIGHTS["b1"]) for v in (x, R))
    terms = max(h.max(), h0.max()) * np.abs(WEIGHTS["w2"]).sum(axis=0).max()
    assert np.abs(narrow["completeness_gap"]).max() <= HALF * terms
    size = np.linalg.norm(wide["x_shap"])
    assert 0 < np.linalg.norm(narrow["x_shap"] - wide["x_shap"]) <= 8 * HALF * size


def test_float16_halves_the_cache(explain):
    made = onnx.load(explain(mlp(), single(R), "--cache-dtype=float16", "--chunk=3"))
    kept = initializers(made, TensorProto.FLOAT16)
    h = single(R) @ single(WEIGHTS["w1"]) + single(WEIGHTS["b1"])
    assert [k.shape[:2] for k in kept] == [(2, 3)] * len(kept)
    assert any(np.abs(k.reshape(h.shape) - h).max() <= HALF * np.abs(h).max() for k in kept
               if k.size == h.size)
    floats = sum(a.size for a in initializers(made, TensorProto.FLOAT) if a.ndim > 3)
    assert floats == REFERENCES * (FEATURES + 6)  # the references and the output, for exactness
    assert {"onnxexplainer.cache": "file", "onnxexplainer.cache_dtype": "float16"}.items() <= {
        p.key: p.value for p in made.metadata_props}.items()


def test_float16_is_not_folded_back(explain, tmp_path):
    """onnxruntime keeps the halves as they are and casts what a step takes."""
    path = explain(mlp(), single(R), "--cache-dtype=float16")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    before, after = (onnx.load(p) for p in (path, options.optimized_model_filepath))
    halves = [sum(a.nbytes for a in initializers(m, TensorProto.FLOAT16)) for m in (before, after)]
    assert halves[0] == halves[1] > 0
    casts = [n for body in subgraphs(after.graph) for n in body.node if n.op_type == "Cast"]
    assert len(casts) >= len(initializers(after, TensorProto.FLOAT16))


def through_relu(values):
    """The sum of relu(-x): what is kept is -x, as it is."""
    made = model([("Neg", "x", "h", {}), ("Relu", "h", "a", {}), ("Exp", "h", "e", {}),
                  ("Add", "a e", "b", {}), ("ReduceSum", "b axis", "y", {"keepdims": 1})],
                 [value("x", ["N", len(values)])], [value("y", ["N", 1])], {"axis": np.array([1])})
    return made, -np.float32([values])


def test_rounding_to_float16(explain):
    """To nearest, ties to even, as NumPy does it: zeros, subnormals, and the largest."""
    rng = np.random.default_rng(5)
    values = np.concatenate([
        [0, -0.0, 65504, -65504, 65519.9, 2.0**-14, 2.0**-24, 2.0**-25, 1.01 * 2.0**-25, 3 * 2.0**-25,
         1 + 2.0**-11, 1 + 3 * 2.0**-11, 2047.5, 2048.5, 2.0**-14 - 2.0**-25, 1e-30],
        rng.normal(size=200) * 2.0 ** rng.integers(-30, 12, 200)]).astype(np.float32)
    made, references = through_relu(values)
    kept = initializers(onnx.load(explain(made, references, "--cache-dtype=float16", "--target=0")),
                        TensorProto.FLOAT16)
    expected = values.astype(np.float16)
    assert any(np.array_equal(k.reshape(-1).view(np.uint16), expected.view(np.uint16))
               for k in kept if k.size == values.size)


def test_what_float16_cannot_hold_stays_float32(cli, tmp_path, run):
    made, references = through_relu([1e5, -3, 2])
    onnx.save(made, tmp_path / "m.onnx")
    np.save(tmp_path / "r.npy", references)
    done = subprocess.run([cli, "explain", "m.onnx", "-r", "r.npy", "--cache-dtype=float16", "-o",
                           "e.onnx", "--target=0"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'onnxexplainer: note: "h" has values beyond float16 and is kept in float32' in (
        done.stderr.splitlines())
    x = np.float32([[-1e5, 4, -2.5]])
    outputs = run(str(tmp_path / "e.onnx"), x)
    np.testing.assert_array_equal(outputs["x_shap"][:, 0], 0)


@pytest.mark.parametrize("options", [["--cache=load"], ["--cache=none"]], ids="".join)
def test_float16_needs_a_file(refused, options):
    message = refused(mlp(), single(R), "--cache-dtype=float16", *options)
    assert message == "onnxexplainer: cache dtype float16 needs cache file\n"


# ---- parts and sizes -----------------------------------------------------------------------------

@pytest.mark.parametrize("options", [[], ["--chunk=4"], ["--cache-dtype=float16"]], ids="".join)
def test_references_run_in_parts(explain, options):
    """What is kept does not depend on how many references are run at a time."""
    parts, whole = (onnx.load(explain(mlp(), single(R), "--cache=file", "--chunk=2", *options, m))
                    for m in ("--memory=1", "--memory=1G"))
    assert parts == whole


def test_chunks_are_even(explain, run):
    """Seven references where six fit into memory: four and three, not six and one."""
    rng = np.random.default_rng(4)
    references = rng.normal(size=(7, FEATURES)).astype(np.float32)
    path = explain(mlp(), references, "--memory=2100", "--cache=none", "--target=2")
    [scan] = [n for n in onnx.load(path).graph.node if n.op_type == "Scan"]
    [body] = [a.g for a in scan.attribute if a.name == "body"]
    dims = [[d.dim_value for d in i.type.tensor_type.shape.dim] for i in body.input]
    assert [4, 1, FEATURES] in dims
    phi = run(path, single(X))["x_shap"]
    np.testing.assert_allclose(phi, deeplift(X, references)[:, 2], rtol=1e-4, atol=1e-5)


def test_multipliers_wait_for_the_walk(explain, tmp_path):
    """What a rule computes of sample and references comes when its multiplier does: computed in the
    forward pass, it would be held for all layers at a time. Small values need not wait."""
    width = 1024
    layers, constants, x = [], {"w": np.eye(width), "b": np.ones(width)}, "x"
    for i in range(4):  # residual, so that sums of multipliers arrive
        layers += [("Gemm", f"{x} w b", f"h{i}", {}), ("Relu", f"h{i}", f"a{i}", {}),
                   ("Add", f"{x} a{i}", f"x{i}", {})]
        x = f"x{i}"
    layers.append(("Neg", x, "y", {}))
    made = model(layers, [value("x", ["N", width])], [value("y", ["N", width])], constants)
    references = np.random.default_rng(6).normal(size=(4, width)).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    session = onnxruntime.InferenceSession(explain(made, references, "--target=0"), options,
                                           providers=["CPUExecutionProvider"])
    session.run(None, {"x": references[:2]})
    events = json.loads(open(session.end_profiling()).read())
    order = [e["name"].removesuffix("_kernel_time") for e in events if e.get("cat") == "Node"
             and e["name"].endswith("_kernel_time")]
    flows = [i for i, name in enumerate(order) if "ReluFlow" in name or "ReluSumFlow" in name]
    forward = [i for i, name in enumerate(order) if name.startswith("make_h")]
    assert len(flows) >= 16 and len(forward) >= 4 and max(forward) < min(flows)
