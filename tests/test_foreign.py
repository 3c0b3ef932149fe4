"""Files of other frameworks in place of a model: what they are, and how to export them."""

import subprocess

import pytest

EXPORTS = {
    "model.pt": "torch.onnx.export", "model.pt2": "torch.onnx.export", "model.ubj": "convert_xgboost",
    "model.cbm": "save_model", "model.pth": "torch.onnx.export",
    "model.safetensors": "optimum-cli export onnx", "model.keras": 'format="onnx"',
    "model.h5": "tf2onnx.convert --keras", "frozen.pb": "tf2onnx.convert --graphdef",
    "saved_model.pb": "tf2onnx.convert --saved-model", "model.tflite": "tf2onnx.convert --tflite",
    "model.pkl": "skl2onnx.to_onnx", "model.ort": "the .onnx that it was made of",
}


@pytest.mark.parametrize("command", ["explain", "show", "run", "tune"])
@pytest.mark.parametrize("name", EXPORTS)
def test_says_how_to_export(cli, tmp_path, command, name):
    path = tmp_path / name
    path.write_bytes(b"\x89HDF\r\n\x1a\n and more")
    more = {"explain": ["-rx.npy"], "run": ["-ix.npy"], "tune": ["-oo.onnx"]}.get(command, [])
    done = subprocess.run([cli, command, path, *more], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert EXPORTS[name] in done.stderr and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"onnxexplainer: {path}: ")


STARTS = {
    b"version https://git-lfs": "git lfs pull", b"<!DOCTYPE html><html>": "a web page",
    b'{"learner":{}}': "convert_xgboost", b"tree\nversion=v4\n": "convert_lightgbm",
    b"": "an empty file",
}


@pytest.mark.parametrize("start", STARTS)
def test_says_what_it_begins_with(cli, tmp_path, start):
    """Under the name of a model, or another."""
    for name in ("model.onnx", "model.txt"):
        (tmp_path / name).write_bytes(start + b"\nand more" if start else b"")
        done = subprocess.run([cli, "show", name], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 1 and STARTS[start] in done.stderr
        assert done.stderr.startswith(f"onnxexplainer: {name}: ") and done.stderr.count("\n") == 1


def test_folder_of_tensorflow(cli, tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "saved_model.pb").write_bytes(b"graph")
    done = subprocess.run([cli, "show", "net"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and "tf2onnx.convert --saved-model" in done.stderr


def test_any_name_will_do_for_onnx(cli, model_file, tmp_path):
    """Only what cannot be read is judged by its name."""
    path = tmp_path / "model.pt"
    path.write_bytes(model_file.read_bytes())
    subprocess.run([cli, "show", path], check=True, capture_output=True)


@pytest.fixture
def model_file(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Tanh", ["x"], ["y"])], "g", values[:1], values[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(made, tmp_path / "tanh.onnx")
    return tmp_path / "tanh.onnx"
