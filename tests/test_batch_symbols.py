"""Inputs whose batch axes are called differently, as tf2onnx does it (unk__1, unk__2), or not at
all, have one batch."""

import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper

rng = np.random.default_rng(0)
W = rng.normal(size=(5, 3)).astype("f")
REFERENCES = {"x": rng.normal(size=(5, 3)).astype("f"), "z": rng.normal(size=(5, 2)).astype("f")}
SAMPLES = {"x": rng.normal(size=(7, 3)).astype("f"), "z": rng.normal(size=(7, 2)).astype("f")}


def model(x, z, y):
    nodes = [helper.make_node("Concat", ["x", "z"], ["c"], axis=1),
             helper.make_node("MatMul", ["c", "w"], ["d"]), helper.make_node("Tanh", ["d"], ["y"])]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", T.FLOAT, [x, 3]),
                     helper.make_tensor_value_info("z", T.FLOAT, [z, 2])],
        [helper.make_tensor_value_info("y", T.FLOAT, [y, 3])], [numpy_helper.from_array(W, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


NAMES = [("A", "B", "A"), ("N", None, "C"), (None, None, None), ("unk__1", "unk__2", "unk__3")]


@pytest.mark.parametrize("hold", (False, True))
@pytest.mark.parametrize("names", NAMES, ids=str)
def test_one_batch(cli, tmp_path, names, hold):
    onnx.save(model(*names), tmp_path / "m.onnx")
    np.savez(tmp_path / "r.npz", **(REFERENCES if not hold else {"x": REFERENCES["x"]}))
    np.savez(tmp_path / "x.npz", **SAMPLES)
    subprocess.run([cli, "explain", tmp_path / "m.onnx", "-r", tmp_path / "r.npz", "-q", "-o",
                    tmp_path / "e.onnx", "--target=1", *(["--hold=z"] if hold else [])], check=True)
    made = onnx.load(tmp_path / "e.onnx").graph
    axes = {v.type.tensor_type.shape.dim[0].dim_param for v in (*made.input, *made.output)}
    assert len(axes) == 1
    expected = None
    for batch in ((), ("--batch=4",)):
        subprocess.run([cli, "run", tmp_path / "e.onnx", "-i", tmp_path / "x.npz", "-q", "-o",
                        tmp_path / "o.npz", *batch], check=True)
        found = dict(np.load(tmp_path / "o.npz"))
        expected = expected or found
        assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in expected.items()}
        assert all(np.allclose(found[k], expected[k], atol=1e-6) for k in found)
    f = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    for i in range(7):
        z = np.repeat(SAMPLES["z"][i:i + 1], 5, 0) if hold else REFERENCES["z"]
        base = f.run(None, {"x": REFERENCES["x"], "z": z})[0][:, 1].mean()
        y = f.run(None, {k: v[i:i + 1] for k, v in SAMPLES.items()})[0][0, 1]
        phi = sum(v[i].sum() for k, v in expected.items() if k.endswith("_shap"))
        assert abs(expected["base_value"][i] - base) < 1e-5 and abs(phi - (y - base)) < 1e-5
