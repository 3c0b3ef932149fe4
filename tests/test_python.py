"""The Python package, installed from its wheel."""

import ctypes
import importlib.util
import re
import subprocess
import sys
import textwrap
import tomllib
import zipfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from conftest import BUILD, ROOT
from wheel import DIGITS, PRELUDE, installed, run  # noqa: F401, fixtures

def test_build_requirements():
    """Those of `pip install .` are met by what the project is built with."""
    pinned = dict(line.split("==") for line in
                  (ROOT / "tools/requirements.txt").read_text().splitlines() if "==" in line)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for requirement in project["build-system"]["requires"] + project["project"]["dependencies"]:
        name, _, least = requirement.partition(">=")
        assert [int(n) for n in pinned[name].split(".")] >= [int(n) for n in least.split(".") if n]


def test_wheel(installed):
    names = set(zipfile.ZipFile(installed.wheel).namelist())
    assert {"onnxexplainer/lib/libonnxexplainer.so", "onnxexplainer/lib/libonnxexplainer_ops.so",
            "onnxexplainer/bin/onnxexplainer", "onnxexplainer/_abi.py",
            "onnxexplainer/py.typed"} <= names
    package = ROOT / "python/onnxexplainer"
    for module in package.rglob("*.py"):
        assert f"onnxexplainer/{module.relative_to(package)}" in names
    assert not [name for name in names if name.startswith(("include", "share", "lib"))]


def test_command_line(installed, tmp_path):
    """It finds the ONNX Runtime of the package beside it."""
    program, out = installed.folder / "bin/onnxexplainer", tmp_path / "explained.onnx"
    for command in (["explain", DIGITS / "digits.onnx", "--references", DIGITS / "references.npy",
                     "-o", out], ["run", out, "--input", DIGITS / "input.npy"]):
        done = subprocess.run([program, *command], capture_output=True, text=True,
                              env=installed.env)
        assert done.returncode == 0, done.stderr


def generated():
    spec = importlib.util.spec_from_file_location("_abi", BUILD / "python/_abi.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_abi(tmp_path):
    """What is generated has the sizes and offsets that a C compiler sees."""
    abi = generated()
    structs = [kind for name, kind in vars(abi).items()
               if name.startswith("ox_") and hasattr(kind, "_fields_")]
    assert len(structs) >= 9
    lines = []
    for kind in structs:
        lines.append(f'printf("%zu\\n", sizeof({kind.__name__}));')
        lines += [f'printf("%zu\\n", offsetof({kind.__name__}, {field}));'
                  for field, _ in kind._fields_]
    (tmp_path / "sizes.c").write_text(
        '#include "onnxexplainer.h"\n#include <stdio.h>\nint main(void)\n{\n' +
        "\n".join(lines) + "\n}\n")
    subprocess.run(["cc", f"-I{ROOT / 'include'}", "sizes.c", "-o", "sizes"], cwd=tmp_path,
                   check=True)
    seen = subprocess.run([tmp_path / "sizes"], capture_output=True, text=True, check=True)
    expected = []
    for kind in structs:
        expected.append(ctypes.sizeof(kind))
        expected += [getattr(kind, field).offset for field, _ in kind._fields_]
    assert [int(line) for line in seen.stdout.split()] == expected


def test_functions():
    """All that the header declares."""
    header = (ROOT / "include/onnxexplainer.h").read_text()
    assert len(generated().FUNCTIONS) == header.count("\nOX_API ")


def test_options_have_a_meaning(run):
    """Every option of the table is a field of ox_options, or set by code of its own."""
    run("""
    from onnxexplainer import _abi, _explain
    fields = {name for name, _ in _abi.ox_options._fields_}
    for name in _abi.OPTIONS:
        assert name in fields or name in _explain.SETTERS or name in _explain.OURS, name
    assert set(_abi.ExplainOptions.__annotations__) == set(_abi.OPTIONS) - {"references", "output"}
    from onnxexplainer._errors import BY_CODE
    assert set(BY_CODE) == set(_abi.ox_code) - {_abi.ox_code.OK}
    assert all(f"    {name}:" in ox.explain.__doc__ for name in _abi.OPTIONS if name != "references")
    """)


def test_fixed_inputs_and_external_data(run, cli, tmp_path):
    """The same bytes as of the command line; a number takes the input's type and shape."""
    scaled = onnx.parser.parse_model('''<ir_version: 8, opset_import: ["": 18]>
        g (float[N,3] x, float[1] factor) => (float[N,3] y) { z = Mul(x, factor) y = Tanh(z) }''')
    onnx.save(scaled, tmp_path / "m.onnx")
    np.save(tmp_path / "r.npy", np.zeros((2, 3), np.float32))
    for name, options in (("fixed", ["--fix=factor=2"]),
                          ("split", ["--fix=factor=2", "--external-data"])):
        subprocess.run([cli, "explain", "-q", tmp_path / "m.onnx", "-r", tmp_path / "r.npy", "-o",
                        tmp_path / f"{name}.onnx", *options], check=True)
    run("""
    folder = pathlib.Path(sys.argv[1])
    for fixed in ({"factor": 2}, {"factor": [2.0]}, {"factor": np.float64(2)}):
        made = ox.explain(folder / "m.onnx", folder / "r.npy", fix=fixed)
        assert made == (folder / "fixed.onnx").read_bytes()
    ox.explain(folder / "m.onnx", folder / "r.npy", fix={"factor": 2}, external_data=True,
               output=folder / "own.onnx")
    assert (folder / "own.onnx").read_bytes() == (folder / "split.onnx").read_bytes()
    for options in ({"fix": {"factor": [1, 2]}}, {"fix": {"nought": 1}}, {"external_data": True}):
        try:
            ox.explain(folder / "m.onnx", folder / "r.npy", **options)
        except ox.ArgumentError as error:
            assert any(word in str(error) for word in ("not the shape", "nought", "output file")), error
        else:
            raise AssertionError(options)
    """, tmp_path)


def test_methods_and_groups(run, cli, tmp_path):
    """As of the command line, to the byte: groups by a file, by texts, and by labels."""
    table = onnx.parser.parse_model('''<ir_version: 10, opset_import: ["": 18]>
        g (float[N,3] x) => (float[N,3] y) { y = Tanh(x) }''')
    onnx.save(table, tmp_path / "m.onnx")
    np.save(tmp_path / "r.npy", np.zeros((2, 3), np.float32))
    np.save(tmp_path / "labels.npy", np.array([1, 0, 1]))
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    (tmp_path / "groups.txt").write_text("outer: a, c\n")
    for spec in ("groups.txt", "labels.npy"):
        subprocess.run([cli, "explain", "-q", "m.onnx", "-r", "r.npy", "-o", spec + ".onnx",
                        "--method=permutation", "--samples=3", "--seed=4", "--target=1",
                        "--feature-names=names.txt", f"--groups={spec}"], cwd=tmp_path, check=True)
    run("""
    folder = pathlib.Path(sys.argv[1])
    options = dict(method="permutation", samples=3, seed=4, target="1", feature_names=["a", "b", "c"])
    labels = np.load(folder / "labels.npy")
    for spec, ways in (("groups.txt", (folder / "groups.txt", "outer: a, c", ["outer: a, c"])),
                       ("labels.npy", (folder / "labels.npy", labels, {"x": labels}, [labels]))):
        for groups in ways:
            made = ox.explain(folder / "m.onnx", folder / "r.npy", groups=groups, **options)
            assert made == (folder / (spec + ".onnx")).read_bytes(), groups
    refused(ox.ArgumentError, "there is no method", ox.explain, folder / "m.onnx",
            folder / "r.npy", method="kernal")
    """, tmp_path)


def test_explain_is_the_command_line(run, explain, tmp_path):
    """The same bytes, with options of every kind."""
    options = ["--target=1,2", "--gap", "--chunk=5", "--memory=1G", "--prefix=p.",
               "--integrate=4:MaxPool", "--cache=none"]
    expected = explain(str(DIGITS / "digits.onnx"), str(DIGITS / "references.npy"), *options)
    run("""
    made = ox.explain(DIGITS / "digits.onnx", references, target="1,2", gap=True, chunk=5,
                      memory="1G", prefix="p.", integrate="4:MaxPool", cache="none")
    expected = pathlib.Path(sys.argv[1]).read_bytes()
    assert made == expected
    out = sys.argv[2]
    for model in (DIGITS / "digits.onnx", (DIGITS / "digits.onnx").read_bytes()):
        for given in (str(DIGITS / "references.npy"), {"image": references}, [references]):
            assert ox.explain(model, given, output=out, target="1,2", gap=True, chunk=5,
                              memory=2**30, prefix="p.", integrate="4:MaxPool",
                              cache="none") == out
            assert pathlib.Path(out).read_bytes() == expected
    """, expected, str(tmp_path / "out.onnx"))


def test_references(run, tmp_path):
    """Other types are converted, files found by what they hold."""
    np.savez(tmp_path / "one.npz", np.load(DIGITS / "references.npy"))
    np.savez(tmp_path / "named.npz", image=np.load(DIGITS / "references.npy"))
    run("""
    folder = pathlib.Path(sys.argv[1])
    model = str(DIGITS / "digits.onnx")
    expected = ox.explain(model, references)
    assert ox.explain(model, references.astype(np.float64)) == expected
    assert ox.explain(model, folder / "one.npz") == expected
    assert ox.explain(model, folder / "named.npz") == expected
    assert ox.explain(model, f"image={DIGITS / 'references.npy'}") == expected
    assert ox.explain(model, np.asfortranarray(references)) == expected
    zero, fill = ox.explain(model, np.zeros((1, 1, 28, 28))), ox.explain(model, "fill:0")
    assert zero != expected and fill != expected
    assert b"image_references" in ox.explain(model, "input")
    """, tmp_path)


def test_errors(run, tmp_path):
    huge = helper.make_graph(
        [helper.make_node("ReduceProd", ["x"], ["y"], axes=[1])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1 << 28])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])])
    onnx.save(helper.make_model(huge, opset_imports=[helper.make_opsetid("", 13)], ir_version=8),
              tmp_path / "huge.onnx")
    run("""
    model, out = DIGITS / "digits.onnx", pathlib.Path(sys.argv[1])
    for options, kind, text in (
            ({"taget": "1"}, TypeError, 'did you mean "target"?'),
            ({"cache": "nix"}, ox.ArgumentError, "none of auto, load, file, none"),
            ({"target": "x:"}, ox.ArgumentError, 'target "x:": expected top'),
            ({"target": 99}, ox.ArgumentError, "99"),
            ({"memory": "much"}, ox.ArgumentError, "not a size"),
            ({"integrate": "4:"}, ox.ArgumentError, "not of the form"),
            ({"integrate": 1000}, ox.ArgumentError, "64"),
            ({"chunk": -1}, ox.ArgumentError, "out of range"),
            ({"hold": ["nix"]}, ox.ArgumentError, "nix"),
            ({"prefix": "a\\0b"}, ox.ArgumentError, "NUL"),
            ({"output": out / "no" / "such"}, ox.FileError, "no such file")):
        refused(kind, text, ox.explain, model, references, **options)
    refused(ox.FileError, "nix.onnx: cannot read: no such file", ox.explain, "nix.onnx", references)
    refused(ox.InvalidModelError, "not an ONNX model", ox.explain, b"nix", references)
    refused(ox.ArgumentError, "a model is a path", ox.explain, 3, references)
    for given, text in ((references[:, :, :3], "shape"), ({"imag": references}, 'it has "image"'),
                        ("fill:x", "not a number"), ("a.csv", ".npy and .npz"),
                        ([references, references], "2 references"),
                        (np.array(["a"]), "takes float32, given text")):
        refused(ox.ArgumentError, text, ox.explain, model, given)
    refused(FileNotFoundError, "nix.npy", ox.explain, model, "nix.npy")
    refused(ox.LimitError, "limit", ox.explain, out / "huge.onnx", "fill:0", limit="10M")
    mine = out / "mine.onnx"
    mine.write_bytes(model.read_bytes())
    refused(ox.ArgumentError, "would replace", ox.explain, mine, references, output=mine)
    assert mine.read_bytes() == model.read_bytes()
    assert issubclass(ox.FileError, OSError) and issubclass(ox.ArgumentError, ValueError)
    """, tmp_path)


def test_remarks(run):
    """Notes are logged, but where quiet; warnings are warned, and raised where warnings are."""
    run("""
    import logging, warnings
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logging.getLogger("onnxexplainer").addHandler(handler)
    logging.getLogger("onnxexplainer").setLevel(logging.INFO)
    ox.explain(DIGITS / "digits.onnx", (references * 255).astype(np.uint8), quiet=True)
    assert not lines
    ox.explain(DIGITS / "digits.onnx", (references * 255).astype(np.uint8))
    assert any("uint8" in line for line in lines), lines
    wrong = references.copy()
    wrong[3] = 3e38 # beyond what sums hold
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        ox.explain(DIGITS / "digits.onnx", wrong, cache="file")
    assert seen[0].category is ox.ExplainWarning and seen[0].filename == "<string>", seen
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refused(ox.ExplainWarning, "finite", ox.explain, DIGITS / "digits.onnx", wrong,
                cache="file")
    refused(ox.Error, "finite", ox.explain, DIGITS / "digits.onnx", wrong, cache="file",
            strict=True)
    """)


def test_types(installed):
    """What a type checker says of the package as installed, and of its use: an error that is
    ignored where there is none is one."""
    (installed.folder / "user.py").write_text(textwrap.dedent("""
        import numpy
        import onnxexplainer
        made: bytes = onnxexplainer.explain("m.onnx", numpy.zeros(3), target="top", gap=True)
        path: str = onnxexplainer.explain(made, {"x": numpy.zeros(3)}, output="e.onnx")
        values = onnxexplainer.Session(made, threads=2).run(numpy.zeros(3))["x_shap"] + 1
        onnxexplainer.explain(made, "input", taget="1")  # type: ignore[call-overload]
        onnxexplainer.explain(made, "input", gap="yes")  # type: ignore[call-overload]
        onnxexplainer.DeepExplainer(made, values, chunk="3")  # type: ignore[arg-type]
    """))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-executable", installed.python,
         "--cache-dir", installed.folder / "mypy", "-p", "onnxexplainer", "-m", "user"],
        cwd=installed.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_readme(installed):
    """Its block works when pasted."""
    text = (ROOT / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", text[text.index("## From Python"):], re.S).group(1)
    done = subprocess.run([installed.python, "-c", code], cwd=ROOT, env=installed.env,
                          capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[0 8] (10, 3, 1, 28, 28) True\n"), done.stderr


# ---- sessions --------------------------------------------------------------------------


def test_session(run, tmp_path):
    """The results of onnxruntime's own Python, from a path, bytes and a model of `onnx`."""
    model = str(DIGITS / "digits.onnx")
    expected = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    np.save(tmp_path / "logits.npy", expected.run(None, {"image": np.load(DIGITS / "input.npy")})[0])
    run("""
    model, logits = DIGITS / "digits.onnx", np.load(sys.argv[1])
    class Proto:
        def SerializeToString(self):
            return model.read_bytes()
    for source in (model, str(model), model.read_bytes(), Proto()):
        session = ox.Session(source)
        for given in (samples, {"image": samples}, samples.astype(np.float64)):
            found = session.run(given)
            assert list(found) == ["logits"] and found["logits"].dtype == np.float32
            assert np.allclose(found["logits"], logits, rtol=1e-5, atol=1e-5)
    assert not session.explained
    assert session.inputs == [ox.ValueInfo("image", "float32", ("N", 1, 28, 28), 1)]
    explained = ox.Session(ox.explain(model, references), providers=["CPUExecutionProvider"])
    assert explained.explained
    assert [info.name for info in explained.outputs] == ["logits", "image_shap", "shap_target",
                                                         "base_value"]
    part = explained.run(samples, ["base_value", "image_shap"])
    assert list(part) == ["base_value", "image_shap"] and part["base_value"].shape == (10,)
    """, tmp_path / "logits.npy")


def test_session_kernels_and_plans(run):
    """They change results by rounding alone."""
    run("""
    explained = ox.explain(DIGITS / "digits.onnx", references)
    plain = ox.Session(explained, kernels=False, tune=False, threads=1).run(samples)
    for options in ({"tune": False}, {"tune": True, "threads": 2}):
        found = ox.Session(explained, **options).run(samples)
        assert np.array_equal(found["shap_target"], plain["shap_target"])
        distance = np.linalg.norm(found["image_shap"] - plain["image_shap"])
        assert distance <= 1e-5 * np.linalg.norm(plain["image_shap"])
    """)


def test_session_memory(run):
    """Inputs are read where they lie, results live as long as any view on them, and no longer."""
    run("""
    from onnxexplainer import _arrays
    session = ox.Session(DIGITS / "digits.onnx")
    given = session._tensors(samples)
    assert given.items[0].data == samples.ctypes.data
    freed = []
    original = _arrays._Memory.__del__
    _arrays._Memory.__del__ = lambda self: (freed.append(1), original(self))
    found = session.run(samples)["logits"]
    del session
    view, expected = found[2:4].T, found[2:4].T.copy()
    del found
    assert not freed and np.array_equal(view, expected)
    del view
    assert freed == [1]
    """)


def test_session_threads(run):
    """Threads share a session, and the lock of the interpreter is released meanwhile: the thread
    that counts goes on while the other is in one long call."""
    run("""
    import threading, time
    session = ox.Session(DIGITS / "digits.onnx", threads=1)
    alone = [session.run(samples + i)["logits"] for i in range(8)]
    found = [None] * 8
    def work(i):
        for _ in range(20):
            found[i] = session.run(samples + i)["logits"]
    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert all(np.array_equal(a, b) for a, b in zip(alone, found))
    many, steps, done = np.concatenate([samples] * 400), 0, threading.Event()
    thread = threading.Thread(target=lambda: (session.run(many), done.set()))
    sys.setswitchinterval(100) # the lock is not taken from who holds it
    thread.start()
    while not done.is_set():
        steps += 1
        time.sleep(0)
    thread.join()
    assert steps > 1
    """)


def test_session_types(run, tmp_path):
    """Every type that arrays have, scalars, empty ones, and bfloat16 as float32."""
    kinds = {name: getattr(TensorProto, name) for name in (
        "FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "BOOL", "INT8", "INT16", "INT32", "INT64",
        "UINT8", "UINT16", "UINT32", "UINT64")}
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [name + "_out"]) for name in kinds], "g",
        [helper.make_tensor_value_info(name, kind, None) for name, kind in kinds.items()],
        [helper.make_tensor_value_info(name + "_out", kind, None) for name, kind in kinds.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8),
              tmp_path / "types.onnx")
    run("""
    session = ox.Session(sys.argv[1])
    assert session.inputs[0].shape is None
    for shape in ((2, 3), (), (0, 4)):
        given = {info.name: np.ones(shape, "float32" if info.dtype == "bfloat16" else info.dtype)
                 for info in session.inputs}
        for name, array in session.run(given).items():
            expected = given[name.removesuffix("_out")]
            assert array.shape == shape and array.dtype == expected.dtype, name
            assert np.array_equal(array, expected)
    refused(ox.ArgumentError, 'input "INT8": values of int64 do not fit int8', session.run,
            given | {"INT8": np.array([300])})
    refused(ox.ArgumentError, 'input "INT8": missing', session.run,
            {k: v for k, v in given.items() if k != "INT8"})
    refused(ox.ArgumentError, "give a dict", session.run, samples)
    class Half: # as tensors of other frameworks are
        dtype = "bfloat16"
        def detach(self): return self
        def cpu(self): return self
        def numpy(self): return np.array([1.5], np.float32)
    rounded = session.run(given | {"BFLOAT16": Half()})["BFLOAT16_out"]
    assert np.array_equal(rounded, [1.5])
    """, tmp_path / "types.onnx")


def test_session_refuses(run):
    run("""
    model = DIGITS / "digits.onnx"
    refused(ox.UnsupportedError, "CUDAExecutionProvider", ox.Session, model,
            providers=["CUDAExecutionProvider"])
    refused(ox.ArgumentError, "threads", ox.Session, model, threads=-1)
    refused(ox.FileError, "no such file", ox.Session, "nix.onnx")
    session = ox.Session(model)
    refused(ox.ArgumentError, 'output "nix"', session.run, samples, ["nix"])
    refused(ox.ArgumentError, 'input "nix"', session.run, {"nix": samples})
    refused(ox.ArgumentError, "expected shape [N, 1, 28, 28]", session.run, samples[:, :, :3])
    refused(ox.ArgumentError, "takes float32, given text", session.run, np.array(["a"]))
    """)


def test_session_warns(run):
    """Of what does not add up, and is not finite; not where only a part is asked for."""
    run("""
    import warnings
    session = ox.Session(ox.explain(DIGITS / "digits.onnx", references))
    wrong = samples.copy()
    wrong[2] = 3e38
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        session.run(samples)
        session.run(wrong, ["image_shap"])
        session.run(wrong, check=False)
        assert not seen, seen
        found = session.run(wrong)
    assert seen and seen[0].category is ox.ExplainWarning and "sample 2" in str(seen[0].message)
    assert seen[0].filename == "<string>", seen[0]
    """)


def test_runtime_missing(installed):
    """A clear error, and no import of onnxruntime where there is one."""
    installed.run(PRELUDE + textwrap.dedent("""
    ox.Session(DIGITS / "digits.onnx")
    assert not [name for name in sys.modules if name.startswith("onnxruntime")]
    from onnxexplainer import _library
    _library.runtime_path.cache_clear()
    _library.importlib.util.find_spec = lambda name: None
    refused(ox.OnnxRuntimeError, "install onnxruntime", ox.Session, DIGITS / "digits.onnx")
    """))


def test_text(run, tmp_path):
    """Inputs and labels of text, as arrays of str, bytes and objects."""
    nodes = [helper.make_node("OneHotEncoder", ["c"], ["o"], domain="ai.onnx.ml", zeros=1,
                              cats_strings=["bern", "ö"]),
             helper.make_node("Flatten", ["o"], ["f"]),
             helper.make_node("LinearClassifier", ["f"], ["label", "y"], domain="ai.onnx.ml",
                              coefficients=[1.0, -1.0, 3.0, 0.5], intercepts=[1.0, 0.25],
                              classlabels_strings=["no", "yes ✓"])]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("c", TensorProto.STRING, ["N", 1])],
        [helper.make_tensor_value_info("label", TensorProto.STRING, ["N"]),
         helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])])
    path = tmp_path / "text.onnx"
    onnx.save(helper.make_model(graph, ir_version=9, opset_imports=[
        helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]), path)
    run("""
    model = ox.explain(sys.argv[1], np.array([["bern"]]), target=1)
    session = ox.Session(model)
    texts = [["ö"], ["bern"], ["else"]]
    found = [session.run(np.array(texts, kind)) for kind in (str, object)]
    found.append(session.run(np.char.encode(np.array(texts), "utf-8")))
    for each in found:
        assert each["label"].tolist() == ["yes ✓", "yes ✓", "no"], each["label"]
        np.testing.assert_allclose(each["c_shap"].ravel(), [-2.5, 0, -3], atol=1e-6)
    assert session.inputs[0].dtype == "str"
    refused(ox.ArgumentError, "takes str, given float64", session.run, np.zeros((3, 1)))
    refused(ox.ArgumentError, "an array of object", session.run, np.array([[None]]))
    digits = ox.Session(DIGITS / "digits.onnx")
    refused(ox.ArgumentError, "takes float32, given text", digits.run, np.array(texts))
    """, path)
