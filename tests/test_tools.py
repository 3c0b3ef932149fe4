"""Explained models that pass through tools of others: the same values afterwards. What a tool cannot do,
by a fault or a limit of its own, is tested as well, so that docs/runtimes.md stays true."""

import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import test_portable

PACKAGES = pathlib.Path(__file__).parent.parent / "build" / "runtimes"
RNG = np.random.default_rng(5)
IMAGES, BLANKS = (RNG.normal(size=(rows, 1, 8, 8)).astype(np.float32) for rows in (2, 3))


def images(pool):
    """A CNN in small: a pool, a stride, squares of channels."""
    nodes = [("Conv", "x f1", "a", {"pads": [1] * 4}), ("Relu", "a", "b", {}),
             (pool, "b", "c", {"kernel_shape": [2, 2], "strides": [2, 2]}),
             ("Conv", "c f2", "d", {"pads": [1] * 4, "strides": [2, 2]}), ("Sigmoid", "d", "e", {}),
             ("GlobalAveragePool", "e", "f", {}), ("Flatten", "f", "g", {}), ("MatMul", "g w", "y", {})]
    constants = {"f1": (4, 1, 3, 3), "f2": (4, 4, 3, 3), "w": (4, 3)}
    graph = helper.make_graph(
        [helper.make_node(op, i.split(), o.split(), **a) for op, i, o, a in nodes], "images",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array((RNG.normal(size=s) / 3).astype(np.float32), n)
         for n, s in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


MODELS = {"pool": (lambda: images("AveragePool"), BLANKS, IMAGES),
          "max_pool": (lambda: images("MaxPool"), BLANKS, IMAGES),
          **{name: (made, test_portable.R, test_portable.X)
             for name, made in test_portable.MODELS.items()}}
FORMS = {"functions": [], "no_functions": ["--no-functions"]}
TOOLS = ["onnxsim", "onnxoptimizer", "onnxslim", "onnxslim_without_elimination", "extract_model",
         "external_data", "version_converter", "text", "infer_shapes", "float16", "ort_optimized"]

# What they end with: by tool, and by the models and forms that it is about.
FAULTS = {
    ("onnxslim", "max_pool", None): "list index out of range",
    ("version_converter", None, "functions"): "is not a registered function/op",
    ("float16", None, "functions"): "has inconsistent type tensor(float)",
    ("reference", "max_pool", None): "all dimensions of index and self should be the same size",
}

# ONNX Runtime 1.32 ends without a word where it folds a MatMul of float16, which its CPU has no kernel of.
LEFT_OUT = {("float16", "gates")}


def fault(tool, name, form):
    return next((said for (t, n, f), said in FAULTS.items()
                 if t == tool and n in (None, name) and f in (None, form)), None)


def values(model, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(model), options)
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, {"x": x})))


def check(found, wanted, tolerance):
    assert {"x_shap", "base_value"} <= set(found) <= set(wanted)
    for key, value in found.items():
        scale = np.abs(wanted[key]).max()
        np.testing.assert_allclose(value, wanted[key], rtol=0, atol=tolerance * scale, err_msg=key)


@pytest.fixture(scope="module", params=FORMS)
def explained(request, cli, tmp_path_factory):
    """form, folder, {name: (sample, values)}: all models explained, as folder/name.onnx."""
    folder, made = tmp_path_factory.mktemp("tools"), {}
    for name, (build, references, x) in MODELS.items():
        path = folder / f"{name}.onnx"
        onnx.save(build(), folder / "m.onnx")
        np.save(folder / "r.npy", references)
        subprocess.run([cli, "explain", folder / "m.onnx", "-r", folder / "r.npy", "--target=1", "-q",
                        "-o", path, *FORMS[request.param]], check=True)
        made[name] = x, values(path, x)
    return request.param, folder, made


def run_passed(folder, name, x):
    """What it gives, or what went wrong."""
    path, said = folder / f"{name}_passed.onnx", folder / f"{name}.txt"
    if not path.exists():
        return None, said.read_text()
    try:
        return values(path, x), None
    except Exception as failure:  # ONNX Runtime's have no class of their own
        return None, str(failure)


@pytest.mark.parametrize("tool", TOOLS)
def test_tool(tool, explained, tmp_path):
    assert (PACKAGES / "onnxslim").is_dir(), "tools/setup installs the tools into build/runtimes"
    form, folder, made = explained
    made = {name: each for name, each in made.items() if (tool, name) not in LEFT_OUT}
    for name in made:
        shutil.copy(folder / f"{name}.onnx", tmp_path)
    script = pathlib.Path(__file__).parent / "pass_tool.py"
    done = subprocess.run([sys.executable, script, tool, tmp_path, *made],
                          env={**os.environ, "PYTHONPATH": str(PACKAGES)}, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    for name, (x, wanted) in made.items():
        found, said = run_passed(tmp_path, name, x)
        expected = fault(tool, name, form)
        if expected is not None:
            assert found is None and expected in said, (name, said)
        else:
            assert found is not None, (name, said)
            check(found, wanted, 4e-3 if tool == "float16" else 1e-6)


def test_reference_evaluator(explained):
    form, folder, made = explained
    for name, (x, wanted) in made.items():
        session = ReferenceEvaluator(str(folder / f"{name}.onnx"))
        expected = fault("reference", name, form)
        if expected is not None:
            with pytest.raises(ValueError, match=expected):
                session.run(None, {"x": x})
        else:
            check(dict(zip(session.output_names, session.run(None, {"x": x}))), wanted, 1e-5)
