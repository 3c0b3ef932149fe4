"""`show --json` and `run --json` say what their tables say."""

import json
import re
import subprocess

import numpy as np
import onnx
import pytest
from conftest import ROOT
from test_cli import data  # noqa: F401, a fixture

DIGITS = ROOT / "examples" / "digits"

MODELS = ["linear", "explained", "norule", "several", "fixed", "spare", "root", "cnn"]
NODE = re.compile(r" +(\d+)  (\S+) +(differentiated|decomposed|carries nothing|refused|not reached)"
                  r"(?: {2,}| )(.*)")


@pytest.fixture
def ask(cli):
    """ask(argument, ...): exit code, standard output and standard error."""
    def ask(*arguments):
        done = subprocess.run([cli, *map(str, arguments)], capture_output=True)
        return done.returncode, done.stdout.decode(), done.stderr.decode()
    return ask


def blocks(text):
    """{title: lines} of what `show` prints."""
    found, lines = {}, []
    for line in text.splitlines():
        if line.startswith("  "):
            lines.append(line)
        else:
            lines = found.setdefault(line, [])
    return found


def value_line(value):
    dims = "[...]" if value["dims"] is None else \
        "[" + ",".join("?" if d is None else str(d) for d in value["dims"]) + "]"
    return f"  {value['name']}: {value['type'] or 'not a tensor'} {dims}"


@pytest.mark.parametrize("name", MODELS)
def test_show(ask, data, name):  # noqa: F811
    code, text, err = ask("show", data / f"{name}.onnx", "--nodes")
    as_json = ask("show", data / f"{name}.onnx", "--json")
    assert (code, err) == (as_json[0], as_json[2])
    found, told = json.loads(as_json[1]), blocks(text)
    for kind in ("inputs", "outputs"):
        assert [value_line(v) for v in found[kind]] == told[kind]
    assert f"IR {found['ir_version']}, opset {found['opsets']['ai.onnx']}" in told
    if name == "explained":
        kept = [f"  {k}: {v}" for k, v in found["explained"].items() if v is not None]
        assert kept == told["explained by onnxexplainer"] and "nodes" not in found
        return
    assert found["explained"] is None and found["explainable"] == (code == 0)
    assert (found["reason"] is None) == (code == 0)
    if "nodes" not in told:
        assert "nodes" not in found and err == f"onnxexplainer: {found['reason']}\n"
        return
    for node, line in zip(found["nodes"], told["nodes"], strict=True):
        index, op, state, rest = NODE.fullmatch(line).groups()
        assert (node["index"], node["op"], node["state"]) == (int(index), op, state)
        assert rest.split() == f"{node['name']} {node['detail']}".split()
    cache = re.findall(r"cache: (\d+) bytes", text)
    assert cache == ([str(found["cache_bytes"])] if found["cache_bytes"] else [])


def test_show_cannot_look(ask, data, tmp_path):  # noqa: F811
    """The reason is the error."""
    code, text, err = ask("show", data / "linear.onnx", "--json", "--hold=nothing")
    found = json.loads(text)
    assert code == 1 and not found["explainable"] and "nodes" not in found
    assert err == f"onnxexplainer: {found['reason']}\n"


def test_show_tensors(ask, tmp_path):
    whole = onnx.parser.parse_model('''<ir_version: 8, opset_import: ["": 18]>
        g (float[N,3] x) => (int64[N] y) { h = Tanh(x) y = ArgMax<axis=1, keepdims=0>(h) }''')
    onnx.save(whole, tmp_path / "m.onnx")
    _, text, _ = ask("show", tmp_path / "m.onnx")
    found = json.loads(ask("show", tmp_path / "m.onnx", "--json")[1])
    assert [value_line(v) for v in found["tensors"]] == blocks(text)["tensors"] != []


@pytest.mark.parametrize("name, shown", [
    (b"caf\xc3\xa9 \xe2\x82\xac", "café €"), (b"a\xff\xfeb", "a\ufffd\ufffdb"),
    (b"\xc0\xaf", "\ufffd" * 2),
    (b"\xed\xa0\x80.", "\ufffd" * 3 + "."), (b"\xf4\x90\x80\x80", "\ufffd" * 4),
    (b'q"\\\x01', 'q"\\\x01'), (b"cut\xe2\x82", "cut\ufffd\ufffd")])
def test_names_of_any_bytes(ask, tmp_path, name, shown):
    """Each byte of a name that is no part of a character of UTF-8 is replaced."""
    mark = "N" * len(name)
    made = onnx.parser.parse_model(f'''<ir_version: 8, opset_import: ["": 18]>
        g (float[N,3] x) => (float[N,3] y) {{ [{mark}] y = Tanh(x) }}''')
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString().replace(mark.encode(), name))
    found = json.loads(ask("show", tmp_path / "m.onnx", "--json")[1])
    assert found["nodes"][0]["name"] == shown


@pytest.mark.parametrize("options", [[], ["--target=all"], ["--target=0-1", "--gap"]])
def test_run(ask, explain, data, tmp_path, options):  # noqa: F811
    made = explain(str(data / "linear.onnx"), str(data / "zeros.npy"), *options)
    command = ["run", made, "-i", data / "x.npy", "-o", tmp_path / "o.npz"]
    code, text, err = ask(*command)
    found = json.loads(ask(*command, "--json", "-q")[1])
    *rows, last = text.splitlines()[1:]
    for row, line in zip(found["samples"], rows, strict=True):
        target = "-" if row["target"] < 0 else row["target"]
        value = "-" if row["value"] is None else f"{row['value']:.6g}"
        gap = "-" if row["value"] is None else f"{row['gap']:.1e}"
        assert line.split() == [str(row["sample"]), str(target), value, f"{row['base_value']:.6g}",
                                f"{row['sum']:.6g}", gap]
    assert f"largest relative gap {found['largest_relative_gap']:.1e} " in last
    with np.load(tmp_path / "o.npz") as arrays:
        assert {o["name"]: (o["type"], o["dims"]) for o in found["outputs"]} == {
            name: (str(array.dtype), list(array.shape)) for name, array in arrays.items()}
    assert found["findings"] == {"samples": 5, "not_finite": 0, "incomplete": 0, "unknown": 0}
    assert found["seconds"]["run"] > 0 and found["peak_mib"] > 1
    assert (code, err) == (0, "")


def test_run_not_explained(ask, data):  # noqa: F811
    found = json.loads(ask("run", data / "linear.onnx", "-i", data / "x.npy", "--json")[1])
    assert found["outputs"] == [{"name": "y", "type": "float32", "dims": [5, 2]}]
    assert found["samples"] == [] and found["findings"] is found["largest_relative_gap"] is None


def test_run_not_finite(ask, explain, data):  # noqa: F811
    made = explain(str(data / "root.onnx"), str(data / "zeros.npy"), "--target=1")
    code, text, err = ask("run", made, "-i", data / "x.npy", "--json")
    found = json.loads(text)
    bad = [row for row in found["samples"] if row["value"] is None]
    assert len(bad) == found["findings"]["not_finite"] > 0 and "warning" in err and code == 0
    assert ask("run", made, "-i", data / "x.npy", "--json", "--strict")[:2] == (1, "")


def test_run_one_document(ask, data):  # noqa: F811
    code, out, err = ask("run", data / "linear.onnx", "-i", data / "x.npy", "--json", "-o", "-")
    assert (code, out) == (2, "") and "both write to standard output" in err


def test_check(ask, explain):
    """Of a quarter of a picture each, which enumeration takes; test_check_command.py has numbers."""
    made = explain(str(DIGITS / "digits.onnx"), str(DIGITS / "references.npy"),
                   "--groups=patch:14x14", "--gap")
    code, text, err = ask("check", made, "-i", DIGITS / "input.npy", "--json")
    found = json.loads(text)
    assert (found["samples"], found["values"], found["agreement"]["method"]) == (10, 4, "exact")
    assert len(found["completeness"]["gaps"]) == len(found["agreement"]["each"]) == 10
    assert found["prediction"]["difference"] == 0 and (code, err) == (0, "")


def test_members_are_documented():
    """docs/json.md has every member that the sources write."""
    from conftest import ROOT
    told = set(re.findall(r"`([a-z_]+)`", (ROOT / "docs/json.md").read_text()))
    written = set()
    for name in ("show", "cmd_run", "summary", "verdict"):
        source = (ROOT / f"cli/{name}.c").read_text()
        written |= set(re.findall(r'(?:ox_json|put)_\w+\(&?json, "(\w+)"', source))
    assert len(written) > 30 and written <= told, written - told
