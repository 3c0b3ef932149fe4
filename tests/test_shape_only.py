"""What is computed from shapes is the same for sample and reference: of an input that is used for
its shape only there is nothing to explain, and the rest is explained in full. Each model is linear
in y once the shapes are known, so that the SHAP values are those of a linear function."""

import subprocess

import numpy as np
import onnx
import pytest
from onnx import parser

import library

X = np.arange(12, dtype="f4").reshape(3, 4)
RNG = np.random.default_rng(0)
Y = RNG.normal(size=(3, 4)).astype("f4")
REFERENCES = RNG.normal(size=(2, 4)).astype("f4")

# The factor of y, and the same in NumPy.
FACTORS = {
    "Size": ("s = Size(x) c = Cast<to = 1>(s) f = Reciprocal(c)", lambda n: np.full((n, 4), 1 / 4 / n)),
    "Size of a value": ("q = Relu(x) s = Size(q) c = Cast<to = 1>(s) f = Reciprocal(c)",
                        lambda n: np.full((n, 4), 1 / 4 / n)),
    "Shape": ("s = Shape<start = 1>(x) f = Cast<to = 1>(s)", lambda n: np.full((n, 4), 4)),
    "batch": ("s = Shape<end = 1>(x) f = Cast<to = 1>(s)", lambda n: np.full((n, 4), n)),
    "own batch": ("s = Shape<end = 1>(y) f = Cast<to = 1>(s)", lambda n: np.full((n, 4), n)),
    "own size": ("s = Size(y) c = Cast<to = 1>(s) f = Sqrt(c)",
                 lambda n: np.full((n, 4), np.sqrt(4 * n))),
    "ConstantOfShape": ("s = Shape(x) f = ConstantOfShape<value = float[1] {2.0}>(s)",
                        lambda n: np.full((n, 4), 2)),
    "Expand": ("s = Shape(x) f = Expand(two, s)", lambda n: np.full((n, 4), 2)),
    "Range": ("s = Shape<start = 1>(x) q = Squeeze(s) r = Range(zero, q, one) f = Cast<to = 1>(r)",
              lambda n: np.tile(np.arange(4), (n, 1))),
    "EyeLike": ("f = EyeLike(x)", lambda n: np.eye(n, 4)),
    "own EyeLike": ("f = EyeLike(y)", lambda n: np.eye(n, 4)),
    "unused": ("f = Identity(two)", lambda n: np.full((n, 4), 2)),
}
TYPES = "float", "string", "int64"


def model(factor, batch="N", kind="float", also=""):
    return parser.parse_model(f"""<ir_version: 8, opset_import: ["": 18]>
        g ({kind}[{batch}, 4] x, float[{batch}, 4] y {also}) => (float[{batch}, 4] z)
        <float two = {{2}}, int64 zero = {{0}}, int64 one = {{1}}>
        {{ {factor} z = Mul(y, f) }}""")


def check(outputs, factor, sample=Y, references=REFERENCES):
    """SHAP values of the sums over the outputs of each sample, and no gap."""
    size = factor(len(sample))
    want = size * (sample - references.mean(axis=0, dtype="f8"))
    scale = np.abs(size).max() * np.abs(sample).max() + 1
    np.testing.assert_allclose(outputs["y_shap"], want, rtol=0, atol=1e-6 * scale)
    np.testing.assert_allclose(outputs["completeness_gap"], 0, atol=1e-6 * scale)
    assert "x_shap" not in outputs


def without_values(kind):
    return X.astype(str).astype(object) if kind == "string" else X.astype(kind.replace("float", "f4"))


@pytest.mark.parametrize("name", FACTORS)
@pytest.mark.parametrize("options", [{}, {"cache": 3}, {"chunk": 1}, {"no_functions": True}])
def test_explained(name, options, run):
    text, factor = FACTORS[name]
    made = library.explain(model(text), {"y": REFERENCES}, target="*", gap=True, **options)
    check(run(made, {"x": X, "y": Y}), factor)


@pytest.mark.parametrize("name", ["Size", "Shape", "Expand"])
@pytest.mark.parametrize("kind", TYPES)
def test_types(name, kind, run):
    text, factor = FACTORS[name]
    made = library.explain(model(text, kind=kind), {"y": REFERENCES}, target="*", gap=True)
    check(run(made, {"x": without_values(kind), "y": Y}), factor)


@pytest.mark.parametrize("name", FACTORS)
def test_fixed_batch(name, run):
    text, factor = FACTORS[name]
    made = library.explain(model(text, batch=3), {"y": REFERENCES}, target="*", gap=True)
    check(run(made, {"x": X, "y": Y}), factor)


@pytest.mark.parametrize("name", FACTORS)
def test_filled(name, run):
    text, factor = FACTORS[name]
    made = library.explain(model(text), {}, reference_source=2, fill=0.5, target="*", gap=True)
    check(run(made, {"x": X, "y": Y}), factor, references=np.full((1, 4), 0.5, "f4"))


@pytest.mark.parametrize("name", FACTORS)
@pytest.mark.parametrize("option", ["--references=input", "--hold=x", "--at=y2", "--no-batch"])
def test_command_line(name, option, explain, run):
    text, factor = FACTORS[name]
    alone, given = option == "--no-batch", option == "--references=input"
    made = model("y2 = Identity(y) " + text.replace("(y)", "(y2)"), batch=3 if alone else "N")
    made.graph.node[-1].input[0] = "y2"
    references = np.repeat(REFERENCES[:, None], 3, axis=1) if alone else REFERENCES
    target = "--target=*:*" if alone else "--target=*"
    path = explain(made, None if given else {"y": references}, target, "--gap", option)
    inputs = {"x": X, "y": Y} | ({"y_references": REFERENCES} if given else {})
    outputs = run(onnx.load(path), inputs)
    outputs["y_shap"] = outputs.get("y_shap", outputs.get("y2_shap"))
    check(outputs, factor)


@pytest.mark.parametrize("name", ["Shape", "Range", "unused"])
def test_kept(name, explain, run):
    """Where the shape is known, references can be kept."""
    text, factor = FACTORS[name]
    path = explain(model(text), {"y": REFERENCES}, "--target=*", "--gap", "--cache=file")
    check(run(onnx.load(path), {"x": X, "y": Y}), factor)


def test_several(run):
    """One of three inputs is used for its shape only."""
    made = model("s = Size(x) c = Cast<to = 1>(s) f = Mul(w, c)", also=", float[N, 4] w")
    made = library.explain(made, {"y": REFERENCES, "w": REFERENCES[::-1]}, target="*", gap=True)
    outputs = run(made, {"x": X, "y": Y, "w": Y[::-1]})
    total = outputs["y_shap"] + outputs["w_shap"]
    want = 12 * (Y * Y[::-1] - (REFERENCES * REFERENCES[::-1]).mean(axis=0))
    np.testing.assert_allclose(total, want, rtol=0, atol=1e-4)
    assert "x_shap" not in outputs


def test_refused():
    """Nothing is explained where shapes are all that counts."""
    made = parser.parse_model("""<ir_version: 8, opset_import: ["": 18]>
        g (float[N, 4] x) => (float z) { s = Size(x) z = Cast<to = 1>(s) }""")
    with pytest.raises(library.Refused, match='no input to explain reaches output "z"'):
        library.explain(made, {"x": X})
    text = FACTORS["Size"][0]
    with pytest.raises(library.Refused, match='"x", which is not an explained input'):
        library.explain(model(text), {"x": X, "y": REFERENCES})
    with pytest.raises(library.Refused, match="an input used for its shape: use cache none"):
        library.explain(model(text), {"y": REFERENCES}, cache=1)


def test_show(cli, tmp_path):
    onnx.save(model(FACTORS["Size"][0]), tmp_path / "m.onnx")
    done = subprocess.run([cli, "show", tmp_path / "m.onnx"], capture_output=True, text=True)
    assert done.returncode == 0 and "a: m mid(b), b: m mid(a)" in done.stdout, done
