"""Groups of values: one value each, of every method, against enumeration over the groups here; what
DeepSHAP and gradients give is the sum over each group."""

import ctypes
import subprocess

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import library
from test_methods import GRADIENTS, RUNS, run, shapley

W = np.random.default_rng(1).normal(size=(6, 5)).astype(np.float32)
V = np.random.default_rng(2).normal(size=(5, 2)).astype(np.float32)
R, X = (np.random.default_rng(n).normal(size=(n, 6)).astype(np.float32) for n in (4, 3))
LABELS = np.array([7, 7, -1, 2, 7, -1])  # players -1, 2, 7
PLAYERS = [[2, 5], [3], [0, 1, 4]]
NAMES = [f"f{i}" for i in range(6)]


def table():
    made = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]> g (float[N,6] x) => (float[N,2] y) '
        "{ h = MatMul(x, W) t = Tanh(h) y = MatMul(t, V) }")
    made.graph.initializer.extend([numpy_helper.from_array(W, "W"), numpy_helper.from_array(V, "V")])
    return made


def f(x):
    return np.tanh(x.astype(np.float64) @ W) @ V


def pointers(texts):
    return ctypes.cast((ctypes.c_char_p * max(len(texts), 1))(*[t.encode() for t in texts]),
                       library.POINTER)


def grouped(texts=(), maps=None, names=()):
    """Fields of ox_options, which live as long as the dict."""
    kept = [library.tensor(name, array) for name, array in (maps or {}).items()]
    array = (library.Tensor * max(len(kept), 1))(*[t for t, _ in kept])
    found = {"groups": pointers(texts), "group_count": len(texts),
             "labels": ctypes.cast(array, library.POINTER), "label_count": len(kept),
             "feature_names": pointers(names), "feature_count": len(names)}
    grouped.kept = [*getattr(grouped, "kept", []), kept, array]
    return found


BY_MAP = {"maps": {"x": LABELS}}
BY_NAME = {"texts": ["ids : f2, f5", "three: f0,f1 , f4"], "names": NAMES}
ORDER = {"map": [0, 1, 2], "names": [2, 0, 1]}  # by label; by the first column of each


def by_enumeration(x, players, f, references):
    """The values of the players at x, [players, outputs]."""
    def g(mixture):  # players' membership as 0 and 1 in place of values
        take = np.zeros(len(x), bool)
        for p, columns in enumerate(players):
            take[columns] = mixture[0, p] > 0.5
        return f(np.where(take, x, references)).mean(0, keepdims=True)
    n = len(players)
    return shapley(g, np.ones(n), np.zeros((1, n)))


@pytest.mark.parametrize("how, spec", [("map", BY_MAP), ("names", BY_NAME)])
@pytest.mark.parametrize("method", ["exact", "kernel"])
@pytest.mark.parametrize("target", ["1", "all"])
def test_players(method, target, how, spec):
    r = run(library.explain(table(), {"x": R}, method=method, target=target, gap=True,
                            **grouped(**spec)), x=X)
    players = [PLAYERS[i] for i in ORDER[how]]
    want = np.array([by_enumeration(x, players, f, R) for x in X])  # [N, groups, outputs]
    want = want[:, :, 1] if target == "1" else want.transpose(0, 2, 1)
    np.testing.assert_allclose(r["x_shap"], want, atol=1e-6)
    assert abs(r["completeness_gap"]).max() < 1e-6


@pytest.mark.parametrize("method", ["deepshap", *GRADIENTS])
@pytest.mark.parametrize("target, options", [("1", {}), ("all", {}), ("top:2", {"chunk": 3})])
def test_sums(method, target, options):
    options = {"method": method, "target": target, "gap": True} | options
    plain = run(library.explain(table(), {"x": R}, **options), x=X)
    r = run(library.explain(table(), {"x": R}, **options, **grouped(**BY_MAP)), x=X)
    want = np.stack([plain["x_shap"][..., p].sum(-1) for p in PLAYERS], -1)
    np.testing.assert_allclose(r["x_shap"], want, atol=1e-5)
    np.testing.assert_allclose(r["completeness_gap"], plain["completeness_gap"], atol=1e-5)


@pytest.mark.parametrize("method", [m for m in RUNS if m not in ("exact", "kernel")])
def test_estimates(method):
    r = run(library.explain(table(), {"x": R}, method=method, target="0", samples=400,
                            **grouped(**BY_MAP)), x=X)
    if method == "occlusion":
        out = [np.isin(np.arange(6), p) for p in PLAYERS]
        want = [[(f(x[None]) - f(np.where(o, R, x)).mean(0))[0, 0] for o in out] for x in X]
        np.testing.assert_allclose(r["x_shap"], want, atol=1e-6)
    else:
        want = np.array([by_enumeration(x, PLAYERS, f, R) for x in X])[:, :, 0]
        np.testing.assert_allclose(r["x_shap"], want, atol=0.05)
        assert r["x_shap_error"].shape == (3, 3)


# ---- pictures and tokens ----------------------------------------------------------------------


def picture(layout):
    shape = "3,5,7" if layout == "first" else "5,7,3"
    made = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["": 18]> g (float[N,{shape}] x) => (float[N] y) '
        "<int64[3] all = {1,2,3}> { a = Sin(x) b = Mul(a, w) y = ReduceSum<keepdims=0>(b, all) }")
    weights = np.random.default_rng(3).normal(size=tuple(map(int, shape.split(","))))
    made.graph.initializer.append(numpy_helper.from_array(weights.astype(np.float32), "w"))
    rng = np.random.default_rng(4)
    return made, weights.astype(np.float32), *(
        rng.normal(size=(n, *weights.shape)).astype(np.float32) for n in (2, 3))


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("method", ["deepshap", "exact", "kernel", "permutation"])
def test_patches(layout, method):
    """The model is a sum over places: all methods give each patch what its places give. Patches at
    the border are smaller."""
    made, w, refs, x = picture(layout)
    r = run(library.explain(made, {"x": refs}, method=method, **grouped(["patch:3x4"])), x=x)
    own = (np.sin(x.astype(np.float64)) - np.sin(refs.astype(np.float64)).mean(0)) * w
    own = own.sum(1) if layout == "first" else own.sum(3)  # [N, 5, 7]
    want = [own[:, i:i + 3, k:k + 4].sum((1, 2)) for i in (0, 3) for k in (0, 4)]
    np.testing.assert_allclose(r["x_shap"], np.stack(want, 1), atol=1e-5)


@pytest.mark.parametrize("layout", ["first", "last"])
def test_occlusion_covers_pictures_by_patches(layout):
    """In the picture's shape; here a patch is one place, of all channels."""
    made, w, refs, x = picture(layout)
    r = run(library.explain(made, {"x": refs}, method="occlusion"), x=x)
    own = (np.sin(x.astype(np.float64)) - np.sin(refs.astype(np.float64)).mean(0)) * w
    axis = 1 if layout == "first" else 3
    np.testing.assert_allclose(r["x_shap"], np.broadcast_to(own.sum(axis, keepdims=True), x.shape),
                               atol=2e-5)


@pytest.mark.parametrize("method", ["deepshap", "exact"])
def test_tokens(method):
    """Embeddings [N, T, E] and their ids [N, T]."""
    made = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]> g (float[N,4,3] e) => (float[N] y) '
        "<int64[2] all = {1,2}> { t = Tanh(e) y = ReduceSum<keepdims=0>(t, all) }")
    rng = np.random.default_rng(5)
    refs, x = (rng.normal(size=(n, 4, 3)).astype(np.float32) for n in (2, 3))
    r = run(library.explain(made, {"e": refs}, method=method, **grouped(["tokens"])), e=x)
    want = (np.tanh(x) - np.tanh(refs).mean(0)).sum(2)
    np.testing.assert_allclose(r["e_shap"], want, atol=1e-6)


def test_some_inputs_have_groups():
    """And batches elsewhere: values of the other keep their shape."""
    made = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]> g (float[N,2] a, float[4,N] b) => (float[N] y) '
        "<int64[1] one = {1}, int64[1] zero = {0}> { s = ReduceSum<keepdims=0>(a, one) "
        " t = ReduceSum<keepdims=0>(b, zero) u = Sin(t) y = Add(s, u) }")
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(3, 2)).astype(np.float32), rng.normal(size=(4, 3)).astype(np.float32)
    refs = {"a": np.zeros((1, 2), np.float32), "b": np.zeros((4, 1), np.float32)}
    for method in ("deepshap", "exact"):
        r = run(library.explain(made, refs, method=method, gap=True,
                                **grouped(maps={"b": np.array([0, 0, 0, 0])})), a=a, b=b)
        assert r["a_shap"].shape == (3, 2) and r["b_shap"].shape == (3, 1)
        np.testing.assert_allclose(r["b_shap"][:, 0], np.sin(b.sum(0)), atol=1e-6)
        assert abs(r["completeness_gap"]).max() < 1e-6


def test_sums_are_checked_by_group(tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(library.explain(table(), {"x": R}, target="all", **grouped(**BY_MAP)), path)
    outputs = run(onnx.load(path), x=X)
    assert library.check(path, outputs)[0] == (3, 0, 0, 0)
    outputs["x_shap"][1, 0, 2] += 1
    assert library.check(path, outputs)[0] == (3, 0, 1, 0)


# ---- options ----------------------------------------------------------------------------------


@pytest.mark.parametrize("spec, why", [
    (dict(texts=["patch:0x3"]), "expected patch:HEIGHTxWIDTH"),
    (dict(texts=["patch:3"]), "expected patch:HEIGHTxWIDTH"),
    (dict(texts=["patch:3x3"]), "no input is a picture"),
    (dict(texts=["sky"]), "expected patch:HxW, tokens or NAME: COLUMN, COLUMN"),
    (dict(texts=[" : f0"], names=NAMES), "the group has no name"),
    (dict(texts=["a: f0,"], names=NAMES), 'there is no feature ""'),
    (dict(texts=["a: f0"]), 'there is no feature "f0", feature names are not given'),
    (dict(texts=["a: f9"], names=NAMES), 'there is no feature "f9"'),
    (dict(texts=["a: f0", "b: f1, f0"], names=NAMES), 'feature "f0" is in two groups'),
    (dict(texts=["a: f0"], names=NAMES, maps={"x": LABELS}), 'groups of "x" are given twice'),
    (dict(maps={"x": LABELS[:5]}), 'labels for "x" are not whole numbers in the shape of one'),
    (dict(maps={"x": LABELS.astype(np.float32)}), 'labels for "x" are not whole numbers'),
    (dict(maps={"y": LABELS}), 'labels for "y", which is not an explained input'),
])
def test_refused(spec, why):
    with pytest.raises(library.Refused, match=why):
        library.explain(table(), {"x": R}, target="0", method="exact", **grouped(**spec))


@pytest.mark.parametrize("kind", ["file", "map", "named map"])
def test_command_line(cli, tmp_path, kind):
    onnx.save(table(), tmp_path / "m.onnx")
    np.save(tmp_path / "r.npy", R)
    np.save(tmp_path / "labels.npy", LABELS)
    (tmp_path / "names.txt").write_text("\n".join(NAMES) + "\n")
    (tmp_path / "groups.txt").write_text("ids: f2, f5\n\nthree: f0, f1, f4\n")
    spec = {"file": "groups.txt", "map": "labels.npy", "named map": "x=labels.npy"}[kind]
    subprocess.run([cli, "explain", "m.onnx", "-r", "r.npy", "-o", "e.onnx", "--method=exact",
                    "--target=0", "--feature-names=names.txt", f"--groups={spec}", "-q"],
                   cwd=tmp_path, check=True)
    r = run(onnx.load(tmp_path / "e.onnx"), x=X)
    order = ORDER["names" if kind == "file" else "map"]
    want = np.array([by_enumeration(x, [PLAYERS[i] for i in order], f, R) for x in X])[:, :, 0]
    np.testing.assert_allclose(r["x_shap"], want, atol=1e-6)


def test_names(cli, explain, tmp_path):
    """Of groups, in the metadata and over columns of tables."""
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "labels.npy", LABELS)
    (tmp_path / "names").write_text("\n".join(NAMES))
    (tmp_path / "groups").write_text("ids : f2, f5\nthree: f0,f1 , f4\n")
    for options, names in (
            ([f"--groups={tmp_path}/labels.npy"], ["-1", "2", "7"]),
            ([f"--groups={tmp_path}/groups", f"--feature-names={tmp_path}/names"],
             ["three", "ids", "f3"]), (["--groups=tokens"], list("012345"))):
        for more in ([], ["--target=all"]):
            explained = explain(table(), R, *options, *more)
            props = {p.key: p.value for p in onnx.load(explained).metadata_props}
            assert props["onnxexplainer.group_names"].split("\n") == names
            subprocess.run([cli, "run", explained, "-i", str(tmp_path / "x.npy"), "-q", "-o",
                            str(tmp_path / "r.csv")], check=True)
            head = (tmp_path / "r.csv").read_text().split("\n")[0]
            want = [f"x_shap[{k}]:{n}" for k in (0, 1) for n in names] if more else [
                f"x_shap:{n}" for n in names]
            assert [c for c in head.split(",") if c.startswith("x_shap")] == want
