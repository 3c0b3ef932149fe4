"""What is written for servers of the KServe (Triton) v2 protocol."""

import importlib.util
import json
import pathlib

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf import text_format
from onnx import TensorProto, helper

from conftest import ROOT
from package import ox  # noqa: F401, a fixture

DIGITS = ROOT / "examples/digits"


def model_config():
    """Triton's message, of tritonclient; its package beside wants gRPC."""
    home = importlib.util.find_spec("tritonclient").submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location(
        "model_config_pb2", pathlib.Path(home) / "grpc/model_config_pb2.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TRITON = model_config()


@pytest.fixture(scope="module")
def digits(ox):  # noqa: F811
    import onnxexplainer.mlserver
    import onnxexplainer.triton
    return ox.explain(DIGITS / "digits.onnx", np.load(DIGITS / "references.npy")[:2])


def parsed(home):
    return text_format.Parse((home / "config.pbtxt").read_text(), TRITON.ModelConfig())


def tensors(found):
    return {t.name: (TRITON.DataType.Name(t.data_type), list(t.dims), t.HasField("reshape"))
            for t in found}


def test_triton(ox, digits, tmp_path):  # noqa: F811
    home = ox.triton.write_repository(tmp_path, digits, name="digits", max_batch_size=16,
                                      max_queue_delay=0.005, instances=2)
    found = parsed(home)
    assert (found.name, found.backend, found.max_batch_size) == ("digits", "onnxruntime", 16)
    assert tensors(found.input) == {"image": ("TYPE_FP32", [1, 28, 28], False)}
    assert tensors(found.output) == {
        "logits": ("TYPE_FP32", [10], False), "image_shap": ("TYPE_FP32", [1, 28, 28], False),
        "shap_target": ("TYPE_INT64", [1], True), "base_value": ("TYPE_FP32", [1], True)}
    assert all(list(t.reshape.shape) == [] for t in found.output)
    assert found.dynamic_batching.max_queue_delay_microseconds == 5000
    assert found.dynamic_batching.default_queue_policy.max_queue_size == 256
    assert [(group.count, group.kind) for group in found.instance_group] == [
        (2, TRITON.ModelInstanceGroup.KIND_CPU)]
    session = onnxruntime.InferenceSession(home / "1/model.onnx")
    assert {t.name for t in session.get_outputs()} == set(tensors(found.output))


def network(rows, mixed=False):
    nodes = [helper.make_node("Softmax" if mixed else "Exp", ["x"], ["y"],
                              **({"axis": 0} if mixed else {}))]
    graph = helper.make_graph(nodes, "g",
                              [helper.make_tensor_value_info("x", TensorProto.DOUBLE, [rows, 3])],
                              [helper.make_tensor_value_info("y", TensorProto.DOUBLE, [rows, 3])])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("rows, mixed", [(4, False), ("n", True)])
def test_batches_that_are_none(ox, digits, tmp_path, rows, mixed):  # noqa: F811
    """A fixed batch, and samples that depend on each other: no axis is left for Triton's."""
    model = ox.explain(network(rows, mixed), np.zeros((1, 3)), quiet=True)
    found = parsed(ox.triton.write_repository(tmp_path, model))
    assert found.max_batch_size == 0 and not found.HasField("dynamic_batching")
    dims = [-1 if rows == "n" else rows, 3]
    assert tensors(found.input) == {"x": ("TYPE_FP64", dims, False)}
    assert tensors(found.output)["y"] == ("TYPE_FP64", dims, False)
    home = ox.mlserver.write_settings(tmp_path, model)
    assert json.loads((home / "model-settings.json").read_text())["max_batch_size"] == 0


def test_weights_beside(ox, digits, tmp_path):  # noqa: F811
    """They travel in the one file."""
    onnx.save_model(onnx.load(DIGITS / "digits.onnx"), tmp_path / "m.onnx", location="m.bin",
                    save_as_external_data=True, size_threshold=0)
    home = ox.triton.write_repository(tmp_path / "models", tmp_path / "m.onnx")
    assert onnxruntime.InferenceSession(home / "1/model.onnx").get_inputs()[0].name == "image"


def test_mlserver(ox, digits, tmp_path):  # noqa: F811
    home = ox.mlserver.write_settings(tmp_path, digits, name="digits", workers=3, http_port=1234,
                                      outputs=["logits"])
    found = json.loads((home / "model-settings.json").read_text())
    assert found["implementation"] == "onnxexplainer.mlserver.Runtime"
    assert found["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 28, 28]}]
    assert found["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [-1, 10]}]
    assert (found["max_batch_size"], found["parameters"]["uri"]) == (32, "./model.onnx")
    assert found["parameters"]["extra"]["outputs"] == ["logits"]
    whole = json.loads((tmp_path / "settings.json").read_text())
    assert (whole["parallel_workers"], whole["http_port"]) == (3, 1234)
    assert (home / "model.onnx").read_bytes() == digits


def test_refused(ox, digits, tmp_path):  # noqa: F811
    for write in ox.triton.write_repository, ox.mlserver.write_settings:
        with pytest.raises(ValueError, match="is not made of letters"):
            write(tmp_path, digits, name="../up")
    with pytest.raises(ValueError, match='no output "z"'):
        ox.mlserver.write_settings(tmp_path, digits, outputs=["z"])
    with pytest.raises(ValueError, match="at least 1"):
        ox.triton.write_repository(tmp_path, digits, max_batch_size=0)
    assert list(tmp_path.iterdir()) == []
