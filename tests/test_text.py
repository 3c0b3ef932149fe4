"""Inputs of text: one SHAP value a column, from files, in C tensors and from Python."""

import io
import itertools
import math
import subprocess
import zipfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import trees

rng = np.random.default_rng(21)
CITIES, DAYS = ["bern", "oslo", "rom", "wien"], ["di", "mo", "ño"]
W = rng.normal(size=(9, 2)).astype(np.float32)


def ml(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), domain="ai.onnx.ml", **attributes)


def value(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def make(nodes, inputs, opset=18, outputs=2, **constants):
    graph = helper.make_graph(
        nodes, "g", inputs, [value("y", TensorProto.FLOAT, ["N", outputs])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
    return helper.make_model(graph, ir_version=9, opset_imports=[
        helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)])


def mixed(batch="N"):
    """A column of numbers, two of text that are encoded, and a linear model: as scikit-learn's
    ColumnTransformer is exported."""
    nodes = [ml("Scaler", "age", "s", offset=[40.0], scale=[0.1]),
             ml("OneHotEncoder", "city", "c", cats_strings=CITIES, zeros=1),
             ml("OneHotEncoder", "day", "d", cats_strings=DAYS, zeros=1),
             helper.make_node("Concat", ["c", "d"], ["all"], axis=-1),
             helper.make_node("Reshape", ["all", "flat"], ["f"]),
             helper.make_node("Concat", ["s", "f"], ["t"], axis=1),
             helper.make_node("MatMul", ["t", "w"], ["y"])]
    inputs = [value("age", TensorProto.FLOAT, [batch, 1]),
              value("city", TensorProto.STRING, [batch, 1]),
              value("day", TensorProto.STRING, [batch, 1])]
    return make(nodes, inputs, flat=np.int64([-1, 7]), w=W[:8])


def rows(seed, count):
    r = np.random.default_rng(seed)
    return {"age": r.normal(40, 10, (count, 1)).astype(np.float32),
            "city": r.choice(CITIES + ["unknown"], (count, 1)),
            "day": r.choice(DAYS, (count, 1))}


def as_objects(x):
    return {name: v.astype(object) if v.dtype.kind in "US" else v for name, v in x.items()}


def shapley(f, x, r):
    """Exact Shapley values of the columns, by enumeration: [samples, columns, outputs]."""
    names = [(name, i) for name in x for i in range(x[name].shape[1])]
    n, phi = len(names), 0
    samples, refs = len(next(iter(x.values()))), len(next(iter(r.values())))

    def values(chosen):
        mixed = {name: np.stack([
            np.repeat(v[:, i:i + 1], refs, 1) if (name, i) in chosen else
            np.repeat(r[name][None, :, i], samples, 0) for i in range(v.shape[1])], -1)
            for name, v in x.items()}
        y = f({name: v.reshape(samples * refs, -1) for name, v in mixed.items()})
        return y.reshape(samples, refs, -1).astype(np.float64).mean(1)

    games = {c: values(set(c)) for k in range(n + 1) for c in itertools.combinations(names, k)}
    phi = np.zeros((samples, n, games[()].shape[1]))
    for i, name in enumerate(names):
        for c in games:
            if name not in c:
                more = tuple(sorted(c + (name,), key=names.index))
                weight = math.factorial(len(c)) * math.factorial(n - 1 - len(c)) / math.factorial(n)
                phi[:, i] += weight * (games[more] - games[c])
    return phi


def check(explain, run, model, x, r, *options, atol=1e-5):
    """Values are those of enumeration."""
    out = run(explain(model, r, "--target=all", *options), as_objects(x))
    phi = np.concatenate([out[name + "_shap"] for name in x], -1).transpose(0, 2, 1)
    exact = shapley(lambda rows: run(model, as_objects(rows))["y"], x, r)
    np.testing.assert_allclose(phi, exact, atol=atol)
    return out


# ---- models -------------------------------------------------------------------------------------

OPTIONS = [(), ("--cache=load",), ("--cache=none",), ("--cache=file",), ("--chunk=2",), ("--chunk=1",),
           ("--no-functions",), ("--cache-dtype=float16",)]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "".join(o))
def test_mixed(explain, run, options):
    check(explain, run, mixed(), rows(1, 6), rows(2, 5), *options,
          atol=2e-3 if "--cache-dtype=float16" in options else 1e-5)


@pytest.mark.parametrize("options", [(), ("--no-batch",)], ids=lambda o: "".join(o))
def test_fixed_batch(explain, run, options):
    x, r = rows(1, 1), rows(2, 5)
    if options:
        r = {name: v[:, None] for name, v in r.items()}
    out = run(explain(mixed(1), r, "--target=1", *options), as_objects(x))
    exact = shapley(lambda v: np.concatenate([run(mixed(), as_objects(v))["y"]]), x,
                    {name: v.reshape(5, 1) for name, v in r.items()})
    np.testing.assert_allclose(np.concatenate([out[n + "_shap"] for n in x], -1), exact[:, :, 1],
                               atol=1e-5)


def test_references_as_input(explain, run):
    x, r = rows(1, 6), rows(2, 5)
    out = run(explain(mixed(), None, "--references=input", "--target=all"),
              as_objects({**x, **{f"{name}_references": v for name, v in r.items()}}))
    phi = np.concatenate([out[name + "_shap"] for name in x], -1).transpose(0, 2, 1)
    np.testing.assert_allclose(phi, shapley(lambda v: run(mixed(), as_objects(v))["y"], x, r),
                               atol=1e-5)


@pytest.mark.parametrize("method", ["kernel", "permutation", "occlusion", "exact"])
def test_methods_that_only_run(explain, run, method):
    x, r = rows(1, 4), rows(2, 3)
    out = run(explain(mixed(), r, "--target=all", f"--method={method}"), as_objects(x))
    phi = np.concatenate([out[name + "_shap"] for name in x], -1).transpose(0, 2, 1)
    exact = shapley(lambda v: run(mixed(), as_objects(v))["y"], x, r)
    np.testing.assert_allclose(phi, exact, atol=1e-4)  # the model is linear


def columns(seed, count):
    r = np.random.default_rng(seed)
    return {"x": r.choice(CITIES + ["unknown"], (count, 3))}


HEAD = [helper.make_node("MatMul", ["f", "w"], ["y"])]
TEXT = [value("x", TensorProto.STRING, ["N", 3])]
KEYS = dict(keys_strings=CITIES, default_float=-1.0, values_floats=[0.5, -2.0, 3.0, 0.25])
ONE_HOT = dict(cats_strings=CITIES, zeros=1)
MODELS = {
    "one_hot": ([ml("OneHotEncoder", "x", "o", **ONE_HOT),
                 helper.make_node("Reshape", ["o", "flat"], ["f"])], 12),
    "label": ([ml("LabelEncoder", "x", "f", **KEYS)], 3),
    "label_of_label": ([ml("LabelEncoder", "x", "l", keys_strings=CITIES, default_string="z",
                           values_strings=["a", "b", "a", "z"]),
                        ml("LabelEncoder", "l", "f", keys_strings=["a", "b"],
                           values_floats=[1.0, 2.5], default_float=-3.0)], 3),
    "numbers_of_label": ([ml("LabelEncoder", "x", "l", keys_strings=CITIES, default_int64=7,
                             values_int64s=[0, 1, 2, 3]),
                          ml("OneHotEncoder", "l", "o", cats_int64s=[0, 1, 2], zeros=1),
                          helper.make_node("Reshape", ["o", "flat"], ["f"])], 9),
    "mapper": ([ml("CategoryMapper", "x", "l", cats_strings=CITIES, cats_int64s=[3, 1, 4, 1],
                   default_int64=-1),
                helper.make_node("Cast", ["l"], ["f"], to=TensorProto.FLOAT)], 3),
    "columns": ([ml("ArrayFeatureExtractor", "x i", "a"),
                 helper.make_node("Gather", ["x", "k"], ["b"], axis=1),
                 helper.make_node("Concat", ["a", "b"], ["c"], axis=1),
                 helper.make_node("Split", ["c"], ["d", "e"], axis=1, num_outputs=2),
                 helper.make_node("Transpose", ["e"], ["e1"], perm=[1, 0]),
                 helper.make_node("Transpose", ["e1"], ["e2"], perm=[1, 0]),
                 helper.make_node("Concat", ["d", "e2"], ["g"], axis=1),
                 helper.make_node("Identity", ["g"], ["h"]),
                 ml("OneHotEncoder", "h", "o", **ONE_HOT),
                 helper.make_node("Reshape", ["o", "flat"], ["f"])], 16),
}


@pytest.mark.parametrize("name", MODELS)
def test_encoders(explain, run, name):
    nodes, width = MODELS[name]
    w = np.random.default_rng(3).normal(size=(width, 2)).astype(np.float32)
    model = make(nodes + HEAD, TEXT, w=w, flat=np.int64([-1, width]), i=np.int64([2, 0]),
                 k=np.int64([1, 2]))
    check(explain, run, model, columns(1, 6), columns(2, 4))


@pytest.mark.parametrize("options", [(), ("--chunk=2",), ("--cache=none",)], ids=str)
def test_trees_of_text(explain, run, options):
    """A column of text is one player, however many columns it is encoded as."""
    grown = trees.forest(8, count=6, features=8, targets=2)
    model = mixed()
    del model.graph.node[-1]
    model.graph.node.append(trees.node(
        "TreeEnsembleRegressor", trees.named(grown, "target", 2), "t"))
    check(explain, run, model, rows(1, 6), rows(2, 5), *options)


def test_imputed(explain, run):
    """What is missing is replaced, as SimpleImputer does with text: the condition and what it
    chooses come of one column."""
    nodes = [helper.make_node("Equal", ["x", "none"], ["gone"]),
             helper.make_node("Where", ["gone", "most", "x"], ["z"]),
             ml("OneHotEncoder", "z", "o", **ONE_HOT),
             helper.make_node("Reshape", ["o", "flat"], ["f"]), *HEAD]
    model = make(nodes, TEXT, opset=19, w=np.random.default_rng(3).normal(size=(12, 2)).astype("f"),
                 flat=np.int64([-1, 12]))
    for name, text in (("none", "unknown"), ("most", "oslo")):
        model.graph.initializer.append(helper.make_tensor(name, TensorProto.STRING, [], [text]))
    check(explain, run, model, columns(1, 6), columns(2, 4))


def test_two_texts_compared(explain, run):
    """Two players: equal or not."""
    nodes = [helper.make_node("Gather", ["x", "a"], ["u"], axis=1),
             helper.make_node("Gather", ["x", "b"], ["v"], axis=1),
             helper.make_node("Equal", ["u", "v"], ["e"]),
             helper.make_node("Cast", ["e"], ["f"], to=TensorProto.FLOAT), *HEAD]
    model = make(nodes, TEXT, opset=19, w=np.float32([[1.0, -2.0]]), a=np.int64([0]), b=np.int64([2]))
    out = check(explain, run, model, columns(1, 6), columns(2, 4))
    assert not out["x_shap"][:, :, 1].any()


def test_joined_and_matched(explain, run):
    """One text behind another is matched as a whole; what changes of both has equal shares, which
    are the Shapley values where one of them changes, or each on its own changes the result."""
    nodes = [helper.make_node("Gather", ["x", "a"], ["u"], axis=1),
             helper.make_node("Gather", ["x", "b"], ["v"], axis=1),
             helper.make_node("StringConcat", ["u", "v"], ["j"]),
             helper.make_node("StringConcat", ["j", "dot"], ["k"]),
             helper.make_node("RegexFullMatch", ["k"], ["e"], pattern="(oslo|rom).*m[.]"),
             helper.make_node("Cast", ["e"], ["f"], to=TensorProto.FLOAT), *HEAD]
    model = make(nodes, TEXT, opset=20, w=np.float32([[1.0, -2.0]]), a=np.int64([0]), b=np.int64([1]))
    model.graph.initializer.append(helper.make_tensor("dot", TensorProto.STRING, [], ["."]))
    x, r = ({"x": np.array(v)} for v in ([["oslo", "rom", "z"], ["oslo", "wien", "z"],
                                          ["bern", "rom", "z"]], [["bern", "bern", "z"]]))
    out = run(explain(model, r, "--target=all"), as_objects(x))
    np.testing.assert_allclose(out["x_shap"][:, 0], [[0.5, 0.5, 0], [0, 0, 0], [0, 0, 0]])
    x = {"x": np.array([["oslo", "rom", "z"]])}
    out = run(explain(model, {"x": np.array([["bern", "rom", "y"]])}, "--target=0"), as_objects(x))
    np.testing.assert_allclose(out["x_shap"], [[1, 0, 0]])


def test_in_another_case(explain, run):
    nodes = [helper.make_node("StringNormalizer", ["x"], ["u"], case_change_action="UPPER", locale="C"),
             ml("OneHotEncoder", "u", "f", cats_strings=["OSLO", "ROM"], zeros=1), *HEAD]
    model = make(nodes, [value("x", TensorProto.STRING, ["N"])], w=W[:2])
    x, r = np.array(["oslo", "Rom", "ROM", "x"], object), np.array(["rOm"])
    out = run(explain(model, {"x": r}, "--target=all"), {"x": x})
    np.testing.assert_allclose(out["x_shap"], out["y"] - out["base_value"], atol=1e-6)
    assert not out["x_shap"][1:3].any() and out["x_shap"][0].all()


def test_behind_a_network(explain, run):
    """Values add up, and the same text gets nothing."""
    nodes = [ml("OneHotEncoder", "x", "o", **ONE_HOT),
             helper.make_node("Reshape", ["o", "flat"], ["f"]),
             helper.make_node("MatMul", ["f", "v"], ["h"]), helper.make_node("Tanh", ["h"], ["t"]),
             helper.make_node("MatMul", ["t", "w"], ["s"]),
             helper.make_node("Softmax", ["s"], ["y"], axis=-1)]
    r = np.random.default_rng(3)
    model = make(nodes, TEXT, v=r.normal(size=(12, 5)).astype("f"), w=r.normal(size=(5, 2)).astype("f"),
                 flat=np.int64([-1, 12]))
    x, refs = columns(1, 6), {"x": columns(2, 1)["x"]}
    out = run(explain(model, refs, "--target=all"), as_objects(x))
    np.testing.assert_allclose(out["x_shap"].sum(-1), out["y"] - out["base_value"], atol=1e-6)
    same = np.broadcast_to((x["x"] == refs["x"])[:, None], out["x_shap"].shape)
    assert same.any() and (out["x_shap"][same] == 0).all() and (out["x_shap"][~same] != 0).any()


# ---- files --------------------------------------------------------------------------------------

def call(cli, *arguments):
    return subprocess.run([cli, *map(str, arguments)], capture_output=True, text=True)


def saved(path, array):
    np.save(path, array, allow_pickle=True)
    return path


FORMS = {
    "U": lambda a: a.astype("U"),
    "S": lambda a: np.char.encode(a, "utf-8"),
    "big": lambda a: a.astype(">U9"),
    "wide": lambda a: a.astype("U4000"),
    "fortran": lambda a: np.asfortranarray(a),
    "strided": lambda a: np.repeat(a, 2, 1)[:, ::2],
}


@pytest.mark.parametrize("form", FORMS)
def test_npy(cli, tmp_path, form):
    """All spellings of text give the same file of results."""
    nodes, width = MODELS["one_hot"]
    w = np.random.default_rng(3).normal(size=(width, 2)).astype(np.float32)
    keys = ["ä", "oslo", "日本", "😀"]
    nodes = [ml("OneHotEncoder", "x", "o", cats_strings=keys, zeros=1), *nodes[1:], *HEAD]
    onnx.save(make(nodes, TEXT, w=w, flat=np.int64([-1, width])), tmp_path / "m.onnx")
    r = np.random.default_rng(1)
    x, refs = r.choice(keys, (5, 3)), r.choice(keys, (4, 3))
    results = []
    for name, change in (("plain", lambda a: a), ("own", FORMS[form])):
        model, out = tmp_path / f"{name}.onnx", tmp_path / f"{name}.npz"
        done = call(cli, "explain", tmp_path / "m.onnx", "-o", model, "-r",
                    saved(tmp_path / "r.npy", change(refs)))
        assert done.returncode == 0, done.stderr
        done = call(cli, "run", model, "-o", out, "--strict", "-i",
                    saved(tmp_path / "x.npy", change(x)))
        assert done.returncode == 0, done.stderr
        results.append(dict(np.load(out)))
    assert results[0]["x_shap"].any()
    for name, array in results[0].items():
        np.testing.assert_array_equal(array, results[1][name])


def test_tables(cli, run, explain, tmp_path):
    """CSV with columns named as the inputs, and .npz, for references and samples."""
    onnx.save(mixed(), tmp_path / "m.onnx")
    x, r = rows(1, 6), rows(2, 5)
    for name, table in (("x", x), ("r", r)):
        np.savez(tmp_path / f"{name}.npz", **table)
        lines = ["day,age,city"] + [f'"{d}",{a!r},{c}' for d, a, c in zip(
            table["day"][:, 0], table["age"][:, 0].tolist(), table["city"][:, 0])]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = []
    for ending in ("npz", "csv"):
        model, out = tmp_path / f"{ending}.onnx", tmp_path / f"{ending}.out.npz"
        for command in (["explain", tmp_path / "m.onnx", "-o", model, "-r", tmp_path / f"r.{ending}",
                         "--target=all"],
                        ["run", model, "-o", out, "-i", tmp_path / f"x.{ending}", "--strict"]):
            done = call(cli, *command)
            assert done.returncode == 0, done.stderr
        found.append(dict(np.load(out)))
    mine = run(explain(mixed(), r, "--target=all"), as_objects(x))
    for name in ("age_shap", "city_shap", "day_shap"):
        np.testing.assert_array_equal(found[0][name], found[1][name])
        np.testing.assert_allclose(found[0][name], mine[name], atol=1e-6)


def test_fixed(cli, tmp_path):
    r = rows(2, 5)
    np.savez(tmp_path / "r.npz", age=r["age"], day=r["day"])
    onnx.save(mixed(1), tmp_path / "m.onnx")
    done = call(cli, "explain", tmp_path / "m.onnx", "-o", tmp_path / "e.onnx", "--fix=city=oslo",
                "-r", tmp_path / "r.npz", "--target=0")
    assert done.returncode == 0, done.stderr
    assert "city" not in [i.name for i in onnx.load(tmp_path / "e.onnx").graph.input]


def test_held(explain, run):
    x, r = rows(1, 6), rows(2, 5)
    del r["city"]
    out = run(explain(mixed(), r, "--hold=city", "--target=all"), as_objects(x))
    assert "city_shap" not in out
    np.testing.assert_allclose(out["age_shap"].sum(-1) + out["day_shap"].sum(-1),
                               out["y"] - out["base_value"], atol=1e-5)


# ---- refused ------------------------------------------------------------------------------------

def cell(text):
    """A .npy of one element of kind U whose bytes are `text` in UCS4."""
    out = io.BytesIO()
    np.save(out, np.zeros((1, 1), f"U{len(text)}"))
    return out.getvalue()[:-4 * len(text)] + np.uint32(text).tobytes()


BAD = {
    "objects": (lambda p: np.save(p, np.array([["a"]], object), allow_pickle=True),
                "array.astype(str)"),
    "numbers": (lambda p: np.save(p, np.zeros((1, 1))), 'float64 where input "city" takes str'),
    "zero inside": (lambda p: p.write_bytes(cell([97, 0, 98])), "element 0 is no text"),
    "surrogate": (lambda p: p.write_bytes(cell([0xd800])), "element 0 is no text"),
    "beyond": (lambda p: p.write_bytes(cell([0x110000])), "element 0 is no text"),
    "latin": (lambda p: np.save(p, np.array([["caf\xe9".encode("latin1")]])), "not UTF-8"),
    "short": (lambda p: p.write_bytes(cell([97, 98])[:-4]), "4 bytes missing"),
    "width": (lambda p: p.write_bytes(cell([97]).replace(b"<U1'", b"<U99999999'")
                                      .replace(b" " * 7 + b"\n", b"\n")), "element type"),
}


@pytest.mark.parametrize("name", BAD)
def test_refused_files(cli, tmp_path, name):
    write, message = BAD[name]
    onnx.save(mixed(), tmp_path / "m.onnx")
    write(tmp_path / "c.npy")
    x = rows(1, 1)
    done = call(cli, "run", tmp_path / "m.onnx", "-i", f"city={tmp_path / 'c.npy'}",
                "-i", f"age={saved(tmp_path / 'a.npy', x['age'])}",
                "-i", f"day={saved(tmp_path / 'd.npy', x['day'])}")
    assert done.returncode == 1 and message in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_refused(cli, tmp_path):
    onnx.save(mixed(), tmp_path / "m.onnx")
    r = rows(2, 5)
    np.savez(tmp_path / "r.npz", **r)
    for options, message in ((["--references=fill:0"], 'input "city" holds text'),
                             (["-r", tmp_path / "r.npz", "--method=gradient"],
                              'input "city" holds str, between which there is nothing')):
        done = call(cli, "explain", tmp_path / "m.onnx", "-o", tmp_path / "e.onnx", *options)
        assert done.returncode == 1 and message in done.stderr, done.stderr
    np.savez(tmp_path / "r.npz", **{**r, "age": r["day"]})
    done = call(cli, "explain", tmp_path / "m.onnx", "-o", tmp_path / "e.onnx", "-r",
                tmp_path / "r.npz")
    assert done.returncode == 1 and 'text where input "age" takes float32' in done.stderr


def test_entries_of_an_archive(cli, tmp_path):
    """An .npz with text may be deflated, too."""
    onnx.save(mixed(), tmp_path / "m.onnx")
    np.savez_compressed(tmp_path / "x.npz", **rows(1, 40))
    assert zipfile.ZipFile(tmp_path / "x.npz").infolist()[1].compress_type
    done = call(cli, "run", tmp_path / "m.onnx", "-i", tmp_path / "x.npz", "-o", tmp_path / "y.npz")
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "y.npz")["y"].shape == (40, 2)
