"""The custom-op library: an explained model's functions run the same with and without it."""

import numpy as np
import onnx
import onnxruntime

from conftest import BUILD


def test_functions_run_with_the_library_registered():
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18, "onnxexplainer": 1]>
        graph (float[N, 4] x) => (float[N, 4] y) { y = onnxexplainer.Twice(x) }
        <domain: "onnxexplainer", opset_import: ["": 18]>
        Twice (a) => (b) { b = Add(a, a) }""")
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(str(BUILD / "libonnxexplainer_ops.so"))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], 2 * x)
