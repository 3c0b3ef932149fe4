"""Real, trained models: explained against rows of their background, each keeps its predictions, and
for every input row the SHAP values add up to f(x) - mean f(r) and stay in proportion."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from library import check

EPS = float(np.finfo(np.float32).eps)
SMALL, LARGE = 1e-5, 1e-4  # completeness: of small models, and of ImageNet-sized ones

# The SHAP values of a row amount, in all, to at most this many times 1 + |f(x)| + |mean f(r)|. They
# cancel much, in deep networks most; a rule that is complete but not bounded goes beyond 1000.
PROPORTION = 25

# model: completeness, and rows of the background used as references (None: all)
MODELS = {
    "cnn_avgpool_mnist": (SMALL, 20),
    "cnn_bn_maxpool_digits": (SMALL, None),
    "dynamo_mobile_digits": (SMALL, 20),
    "dynamo_vit_mnist": (SMALL, 5),
    "efficientnet_lite0": (LARGE, None),
    "gru_digits": (SMALL, 20),
    "keras_cnn_mnist": (SMALL, 20),
    "lstm_digits": (SMALL, 20),
    "mlp_regress_diabetes": (SMALL, None),
    "mlp_relu_breast": (SMALL, None),
    "mlp_sigmoid_one_breast": (SMALL, None),
    "mlp_tanh_softmax_wine": (SMALL, None),
    "mlperf_resnet8_cifar10": (SMALL, None),
    "mnist_cntk": (SMALL, 20),
    "mobile_se_silu_mnist": (SMALL, 10),
    "multi_input_breast": (SMALL, None),
    "norms_digits": (SMALL, 20),
    "ppocr_detect": (LARGE, None),
    "ppocr_recognise": (LARGE, None),
    "resnet_mnist": (SMALL, 10),
    "rnn_tanh_digits": (SMALL, 20),
    "sklearn_mlp_breast": (SMALL, None),
    "squeezenet1.0": (LARGE, None),
    "super_resolution": (LARGE, None),
    "text_bag_from_embeddings": (SMALL, None),
    "unet_deconv_mnist": (SMALL, 10),
    "vit_digits": (SMALL, 10),
}


def rows(folder, inputs, kind, count=None):
    """The arrays of `kind` (input, background) by input name."""
    if len(inputs) == 1:
        return {inputs[0]: np.load(folder / f"{kind}.npy")[:count]}
    return {name: np.load(folder / f"{kind}_{name}.npy")[:count] for name in inputs}


def session_of(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def run_all(session, feed):
    """Outputs by name for all rows, one by one where the batch is fixed."""
    fixed = isinstance(session.get_inputs()[0].shape[0], int)
    step = 1 if fixed else len(next(iter(feed.values())))
    names = [o.name for o in session.get_outputs()]
    parts = []
    for i in range(0, len(next(iter(feed.values()))), step):
        parts.append(session.run(names, {k: v[i:i + step] for k, v in feed.items()}))
    return {name: np.concatenate(column) for name, column in zip(names, zip(*parts))}


def sums(found, names, shape):
    """Over each row's SHAP values: their sum, and that of their magnitudes."""
    phis = [found[f"{name}_shap"].reshape(*shape, -1).astype(np.float64) for name in names]
    assert all(np.isfinite(phi).all() for phi in phis)
    return sum(phi.sum(axis=-1) for phi in phis), sum(abs(phi).sum(axis=-1) for phi in phis)


@pytest.mark.parametrize("target", ["top", "all"])
@pytest.mark.parametrize("name", MODELS)
def test_model(shared, explain, record_property, name, target):
    limit, count = MODELS[name]
    folder = shared / "models" / name
    meta = json.loads((folder / "meta.json").read_text())
    inputs = [i["name"] for i in meta["inputs"]]
    original = session_of(folder / "model.onnx")
    outputs = original.get_outputs()
    which = next(i for i, o in enumerate(outputs) if "float" in o.type)
    x, r = rows(folder, inputs, "input"), rows(folder, inputs, "background", count)
    f = run_all(original, x)[outputs[which].name].astype(np.float64)
    f0 = run_all(original, r)[outputs[which].name].astype(np.float64)
    if target == "all" and f0[0].size > 100:
        pytest.skip(f"{f0[0].size} values a sample")

    path = explain(folder / "model.onnx", r, f"--target={target}")
    onnx.checker.check_model(path, full_check=True)
    found = run_all(session_of(path), x)
    expected = "expected.npy" if len(outputs) == 1 else f"expected_{outputs[which].name}.npy"
    largest = max(abs(f).max(), abs(f0).max())
    np.testing.assert_allclose(found[outputs[which].name], f, rtol=1e-6, atol=1e-6 * largest)
    np.testing.assert_allclose(f, np.load(folder / expected), rtol=1e-4, atol=1e-4 * largest)

    f, f0 = f.reshape(len(f), -1), f0.reshape(len(f0), -1)
    places = found["shap_target"].reshape(len(f), -1)
    if target == "top":  # but for ties within rounding
        assert (f.max(axis=1) - f[np.arange(len(f)), places[:, 0]] <= 1e-6 * largest).all()
    else:
        assert (places == np.arange(f.shape[1])).all()
    change = np.take_along_axis(f, places, axis=1) - f0.mean(axis=0)[places]
    base = found["base_value"].reshape(places.shape)
    np.testing.assert_allclose(base, f0.mean(axis=0)[places], rtol=1e-5, atol=1e-6 * largest)

    assert check(path, found) == ((len(f), 0, 0, 0), [])  # no false alarm

    total, size = sums(found, inputs, places.shape)
    scale = np.maximum(abs(change), 1e-3 * size)
    error = abs(total - change) / scale
    # f itself is known to rounding only: of its terms, which are of the size of the largest values
    # that the same layer gives for the row and the references
    terms = np.maximum(abs(f).max(axis=1, keepdims=True), abs(f0).max())
    rounded = int((error > limit).sum())
    proportion = (size / (1 + abs(base + change) + abs(base))).max()
    print(f"{name} {target}: completeness {error.max():.2g}, {rounded}/{error.size} at rounding, "
          f"proportion {proportion:.3g}")
    record_property("completeness", float(error.max()))
    record_property("at_rounding", rounded)
    record_property("proportion", float(proportion))
    assert (error <= np.maximum(limit, 4 * EPS * terms / scale)).all()
    assert rounded <= 0.05 * error.size
    assert proportion <= PROPORTION


@pytest.mark.parametrize("name", MODELS)
def test_higher_orders(shared, explain, name):
    """Values of --order=2 and 3 add up as those of order 1 do, for each pair of a row and a reference."""
    limit, _ = MODELS[name]
    folder = shared / "models" / name
    inputs = [i["name"] for i in json.loads((folder / "meta.json").read_text())["inputs"]]
    original = session_of(folder / "model.onnx")
    which = next(o.name for o in original.get_outputs() if "float" in o.type)
    count = 20 if limit == SMALL else 2
    x, r = rows(folder, inputs, "input", count), rows(folder, inputs, "background", 2)
    f, f0 = (run_all(original, v)[which].astype(np.float64) for v in (x, r))
    f, f0 = f.reshape(len(f), -1), f0.reshape(len(f0), -1)
    gaps = {}
    for order in (1, 2, 3):
        path = explain(folder / "model.onnx", r, f"--order={order}", "--keep-references")
        found = run_all(session_of(path), x)
        places = found["shap_target"].reshape(-1)
        change = np.stack([f[i, k] - f0[:, k] for i, k in enumerate(places)])
        total, size = sums(found, inputs, change.shape)
        gaps[order] = abs(total - change)
    terms = np.maximum(abs(f).max(axis=1, keepdims=True), abs(f0).max(axis=1))
    rounding = 16 * EPS * (size + terms)
    for order in (2, 3):
        assert (gaps[order] <= gaps[1] + limit * abs(change) + rounding).all()  # f itself is rounded
