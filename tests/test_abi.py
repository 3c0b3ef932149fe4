"""What programs are linked against: exported symbols, functions and the layout of structs, as they
are kept in tests/abi.txt. OX_UPDATE=1 writes it; its diff is reviewed, and named in CHANGELOG.md.

Until a release with another first number functions keep their parameters, and fields their place:
new ones come at the end of options, as programs that know fewer pass a smaller size."""

import ctypes
import importlib.util
import os
import re
import subprocess

from conftest import BUILD, ROOT

KEPT = ROOT / "tests/abi.txt"
HEADER = (ROOT / "include/onnxexplainer.h").read_text()


def exported(library, version=""):
    """Symbols, all of which are of that version."""
    text = subprocess.run(["nm", "-D", "--defined-only", BUILD / library], capture_output=True,
                          text=True, check=True).stdout
    found = sorted(line.split()[-1] for line in text.splitlines())
    if version:
        found.remove(version) # a symbol of its own
        assert all(name.endswith(f"@@{version}") for name in found)
    return [name.split("@")[0] for name in found]


def functions():
    """{name: declaration in one line}"""
    plain = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.DOTALL)
    found = [" ".join(text.split()) for text in re.findall(r"\nOX_API ([^;]*);", plain)]
    return {re.search(r"(\w+)\(", text)[1]: text for text in found}


def structs():
    """{name: its size and the offsets of its fields}, as C has them: tests/test_python.py."""
    spec = importlib.util.spec_from_file_location("_abi", BUILD / "python/_abi.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, kind in vars(module).items():
        if name.startswith("ox_") and hasattr(kind, "_fields_"):
            fields = " ".join(f"{field}@{getattr(kind, field).offset}" for field, _ in kind._fields_)
            yield f"struct {name} {ctypes.sizeof(kind)}: {fields}"


def test_symbols():
    """The library exports what the header declares, and nothing of those it is linked with."""
    first, second = re.search(r'OX_VERSION "(\d+)\.(\d+)', HEADER).groups()
    version = f"ONNXEXPLAINER_{first}" if first != "0" else f"ONNXEXPLAINER_0.{second}"
    assert exported("libonnxexplainer.so", version) == sorted(functions())
    assert exported("libonnxexplainer_ops.so") == ["RegisterCustomOps"]


def test_abi():
    text = "\n".join([*sorted(functions().values()), *sorted(structs())]) + "\n"
    if os.environ.get("OX_UPDATE"):
        KEPT.write_text(text)
    assert text == KEPT.read_text()


def test_version_stands_once():
    """In the header; others read it there, and the changes of every version are told."""
    version = re.search(r'#define OX_VERSION "(.*)"', HEADER)[1]
    assert re.search(rf"^## {re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text(), re.M)
    for name in ("CMakeLists.txt", "pyproject.toml"):
        text = (ROOT / name).read_text()
        assert "onnxexplainer.h" in text and version not in text
    shown = subprocess.run([BUILD / "onnxexplainer", "--version"], capture_output=True, text=True)
    assert shown.stdout == f"onnxexplainer {version}\n"
    pc = (BUILD / "onnxexplainer.pc").read_text()
    assert f"Version: {version}\n" in pc
