"""SHAP values that other tools recorded on nets where they are right: recorded/NAME.npz by the
scripts beside them, which say what the arrays are."""

from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent / "recorded"
NAMES = sorted(path.stem for path in FOLDER.glob("*.npz"))


@pytest.fixture(params=NAMES)
def case(request):
    """(path of the model, recorded arrays, names of the inputs)."""
    path = FOLDER / f"{request.param}.npz"
    with np.load(path) as arrays:
        recorded = dict(arrays)
    inputs = [name.removesuffix("_shap") for name in recorded if name.endswith("_shap")]
    return path.with_suffix(".onnx"), recorded, inputs


def test_there_are_recordings():
    assert NAMES


def test_equals_recorded_values(case, explain, run):
    model, recorded, inputs = case
    references = {name: recorded[f"{name}_references"] for name in inputs}
    explained = explain(model, references, "--target=all")
    result = run(explained, {name: recorded[name] for name in inputs})

    expected = recorded["output"]
    tolerance = 1e-5 * abs(expected).max()
    np.testing.assert_allclose(result["output"], expected, rtol=0, atol=tolerance)
    base = np.broadcast_to(recorded["base_value"], expected.shape)
    np.testing.assert_allclose(result["base_value"].reshape(expected.shape), base, rtol=0,
                               atol=tolerance)
    largest = max(abs(recorded[f"{name}_shap"]).max() for name in inputs)
    for name in inputs:
        phi = recorded[f"{name}_shap"]
        np.testing.assert_allclose(result[f"{name}_shap"].reshape(phi.shape), phi, rtol=0,
                                   atol=1e-4 * largest, err_msg=name)
