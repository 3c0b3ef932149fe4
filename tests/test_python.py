"""The Python package, installed from its wheel."""

import ctypes
import importlib.util
import subprocess
import textwrap
import zipfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from conftest import BUILD, ROOT
from wheel import installed  # noqa: F401, a fixture

DIGITS = ROOT / "examples" / "digits"
PRELUDE = f"""
import pathlib, sys
import numpy as np
import onnxexplainer as ox
DIGITS = pathlib.Path({str(DIGITS)!r})
references, samples = np.load(DIGITS / "references.npy"), np.load(DIGITS / "input.npy")

def refused(kind, text, function, *arguments, **options):
    try:
        function(*arguments, **options)
    except kind as error:
        assert text in str(error), error
    else:
        raise AssertionError("not refused: " + text)
"""


@pytest.fixture
def run(installed):
    """Runs a program after PRELUDE; what it prints."""
    def run(code, *arguments, path=()):
        return installed.run(PRELUDE + textwrap.dedent(code), *arguments, path=path)
    return run


def test_wheel(installed):
    names = set(zipfile.ZipFile(installed.wheel).namelist())
    assert {"onnxexplainer/lib/libonnxexplainer.so", "onnxexplainer/lib/libonnxexplainer_ops.so",
            "onnxexplainer/bin/onnxexplainer", "onnxexplainer/_abi.py",
            "onnxexplainer/py.typed"} <= names
    for module in (ROOT / "python/onnxexplainer").glob("*.py"):
        assert f"onnxexplainer/{module.name}" in names
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
                        (np.array(["a"]), "only numbers")):
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
