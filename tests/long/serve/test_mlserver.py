"""MLServer with the runtime of the package: answers, refusals, health, metrics."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
import tritonclient.grpc as client

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
from conftest import ROOT  # noqa: E402
from package import folder_of_package, ox  # noqa: E402, F401, a fixture

DIGITS = ROOT / "examples/digits"
IMAGES = np.load(DIGITS / "input.npy")


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@pytest.fixture(scope="module")
def server(ox, tmp_path_factory):  # noqa: F811
    """(ports, a session of the same model)"""
    import onnxexplainer.mlserver
    folder = tmp_path_factory.mktemp("serve")
    explained = ox.explain(DIGITS / "digits.onnx", np.load(DIGITS / "references.npy")[:3])
    http, grpc, metrics = free_ports(3)
    for name, outputs in (("explain", ()), ("predict", ["logits"])):
        onnxexplainer.mlserver.write_settings(folder, explained, name=name, workers=2,
                                              outputs=outputs, max_queue=8, http_port=http,
                                              grpc_port=grpc, metrics_port=metrics)
    process = subprocess.Popen([pathlib.Path(sys.executable).parent / "mlserver", "start", "."],
                               cwd=folder, env={**os.environ, "PYTHONPATH": folder_of_package()})
    for _ in range(1200):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{http}/v2/models/predict/ready").close()
            break
        except OSError:
            time.sleep(0.1)
    yield http, grpc, metrics, ox.Session(explained)
    process.terminate()
    process.wait(30)


def ask(server, model, image, **more):
    body = {"inputs": [{"name": "image", "shape": list(image.shape), "datatype": "FP32",
                        "data": image.ravel().tolist()}], **more}
    request = urllib.request.Request(f"http://127.0.0.1:{server[0]}/v2/models/{model}/infer",
                                     json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return 200, {o["name"]: np.reshape(o["data"], o["shape"])
                         for o in json.load(answer)["outputs"]}
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_answers(server):
    """Over REST and gRPC, all outputs or those that are asked for, right."""
    right = server[3].run(IMAGES[:2])
    code, found = ask(server, "explain", IMAGES[:2])
    assert code == 200 and set(found) == set(right)
    for name, array in found.items():
        np.testing.assert_allclose(array, right[name], atol=1e-5)
    assert set(ask(server, "predict", IMAGES[:1])[1]) == {"logits"}
    assert set(ask(server, "explain", IMAGES[:1], outputs=[{"name": "base_value"}])[1]) == \
        {"base_value"}
    tensor = client.InferInput("image", [2, *IMAGES.shape[1:]], "FP32")
    tensor.set_data_from_numpy(IMAGES[:2])
    answer = client.InferenceServerClient(f"127.0.0.1:{server[1]}").infer("explain", [tensor])
    np.testing.assert_allclose(answer.as_numpy("image_shap"), right["image_shap"], atol=1e-5)


def test_refusals(server):
    code, said = ask(server, "explain", IMAGES[:1, :, :20])
    assert code == 400 and "image" in said
    code, said = ask(server, "predict", IMAGES[:1], outputs=[{"name": "image_shap"}])
    assert code == 400 and "image_shap" in said


def test_health_and_metrics(server):
    for path in ("health/live", "health/ready", "models/explain/ready"):
        assert urllib.request.urlopen(f"http://127.0.0.1:{server[0]}/v2/{path}").status == 200
    ask(server, "explain", IMAGES[:1])
    text = urllib.request.urlopen(f"http://127.0.0.1:{server[2]}/metrics").read().decode()
    assert 'model_infer_request_success_total{model="explain"' in text
