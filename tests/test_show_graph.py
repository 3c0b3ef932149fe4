"""`show --dot` and `show --html`: every node and edge of the file, in a page that needs no other."""

import json
import re
import shutil
import subprocess
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from conftest import ROOT
from contract import value
from test_show import attention, rounded

DIGITS = ROOT / "examples/digits"
STATES = ["differentiated", "decomposed", "carries nothing", "refused", "not reached"]
OURS = {"reference": "onnxexplainer/reference/", "multiplier": "onnxexplainer/flow/",
        "result": "onnxexplainer/"}
HOSTILE = 'a"b\\c</script><script>alert(1)\n'


def used(node):
    """Names that a node takes, also inside of its bodies."""
    found = list(node.input)
    for attribute in node.attribute:
        for graph in [attribute.g] if attribute.type == attribute.GRAPH else attribute.graphs:
            found += [name for inner in graph.node for name in used(inner)]
            found += [output.name for output in graph.output]
    return found


def edges(model):
    """Pairs of names of nodes, inputs and outputs."""
    home = {name: f"in {name}" for name in inputs(model)}
    home |= {name: node.name for node in model.graph.node for name in node.output if name}
    found = {(home[name], node.name) for node in model.graph.node for name in used(node)
             if name in home}
    return found | {(home[o.name], f"out {o.name}") for o in model.graph.output if o.name in home}


def show(cli, *arguments, code=0):
    done = subprocess.run([cli, "show", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout


def read_dot(text):
    """Names by id, colours by name, and edges by names."""
    names, colours, found = {}, {}, set()
    for line in text.splitlines():
        if made := re.match(
                r'  ([ino])(\d+) \[.*label="((?:[^"\\]|\\.)*)"(?:, fillcolor="(#\w+)")?', line):
            parts = made[3].split("\\n")
            name = {"i": f"in {parts[0]}", "o": f"out {parts[0]}",
                    "n": "\\n".join(parts[1:])}[made[1]]
            names[made[1] + made[2]], colours[name] = name, made[4]
        elif edge := re.match(r"  ([ino]\d+) -> ([ino]\d+) ", line):
            found.add((names[edge[1]], names[edge[2]]))
    return colours, found


def read_page(text):
    return json.loads(re.search(r'<script id="graph"[^>]*>(.*?)</script>', text, re.DOTALL)[1])


def inputs(model):
    weights = {w.name for w in model.graph.initializer}
    return [i.name for i in model.graph.input if i.name not in weights]


def conditional():
    """A body takes a value of the graph around it."""
    then = helper.make_graph([helper.make_node("Add", ["h", "x"], ["t"], name="inner")], "then", [],
                             [value("t", ["N", 3])])
    other = helper.make_graph([helper.make_node("Identity", ["h"], ["e"], name="other")], "else",
                              [], [value("e", ["N", 3])])
    graph = helper.make_graph(
        [helper.make_node("Tanh", ["x"], ["h"], name="tanh"),
         helper.make_node("If", ["c"], ["y"], name="if", then_branch=then, else_branch=other)],
        "g", [value("x", ["N", 3]), helper.make_tensor_value_info("c", TensorProto.BOOL, [])],
        [value("y", ["N", 3])])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def named(model):
    for i, node in enumerate(model.graph.node):
        node.name = node.name or f"node {i}"
    return model


@pytest.fixture(params=["digits", "explained", "attention", "rounded", "if"])
def case(request, tmp_path, explain):
    """A file with the options of `show`, and its exit code."""
    path = tmp_path / "model.onnx"
    if request.param == "digits":
        return [DIGITS / "digits.onnx"], 0
    if request.param == "explained":
        return [explain(DIGITS / "digits.onnx", np.load(DIGITS / "references.npy"))], 0
    made = {"attention": lambda: attention()[0], "rounded": lambda: rounded()[0],
            "if": conditional}[request.param]()
    onnx.save(named(made), path)
    return [path, *["--hold=c"][:request.param == "if"]], int(request.param == "rounded")


def test_dot(cli, case):
    arguments, code = case
    model = onnx.load(arguments[0])
    colours, found = read_dot(show(cli, *arguments, "--dot", code=code))
    assert found == edges(model) != set()
    assert set(colours) >= {node.name for node in model.graph.node}
    ends = len(inputs(model)) + len(model.graph.output)
    assert len(colours) == len(model.graph.node) + ends
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tsvg"], input=show(cli, *arguments, "--dot", code=code), text=True,
                       check=True, capture_output=True)


def test_page(cli, case, tmp_path):
    arguments, code = case
    model = onnx.load(arguments[0])
    assert show(cli, *arguments, "--html", tmp_path / "page.html", code=code) == ""
    text = (tmp_path / "page.html").read_text()
    assert not re.search(r"https?:|src=|@import|@GRAPH@", text)  # it opens offline
    graph = read_page(text)
    for node, kept in zip(graph["nodes"], model.graph.node, strict=True):
        assert (node["name"], node["op"]) == (kept.name, kept.op_type)
        assert node["outputs"] == list(kept.output)
        assert node["inputs"][:len(kept.input)] == list(kept.input)
        assert set(node["inputs"]) <= set(used(kept))
    assert [v["name"] for v in graph["inputs"]] == inputs(model)
    assert [v["name"] for v in graph["outputs"]] == [o.name for o in model.graph.output]


def test_kinds(cli, case, tmp_path):
    """Colours tell how a node is treated, and in an explained model whose it is."""
    arguments, code = case
    show(cli, *arguments, "--html", tmp_path / "page.html", code=code)
    graph = read_page((tmp_path / "page.html").read_text())
    kinds = {kind["name"]: kind["colour"] for kind in graph["kinds"]}
    assert len(set(kinds.values())) == len(kinds)
    colours, _ = read_dot(show(cli, *arguments, "--dot", code=code))
    assert all(colours[node["name"]] == kinds[node["kind"]] for node in graph["nodes"])
    if "explained" in str(arguments[0]):
        for node in graph["nodes"]:
            assert node["name"].startswith(OURS.get(node["kind"], node["name"]))
            assert node["name"].startswith("onnxexplainer/") == (node["kind"] in OURS)
        assert {node["kind"] for node in graph["nodes"]} == set(kinds) == {*OURS, "model"}
        return
    report = json.loads(show(cli, *arguments, "--json", code=code))
    told = {node["index"]: node for node in report["nodes"]}
    assert list(kinds) == STATES
    for i, node in enumerate(graph["nodes"]):
        assert (node["kind"], node["detail"]) == (told[i]["state"], told[i]["detail"])
    assert (code == 1) == any(node["kind"] in STATES[2:4] for node in graph["nodes"])


def test_names_of_any_kind(cli, tmp_path):
    """They end neither a label nor the page's script."""
    made = helper.make_model(helper.make_graph(
        [helper.make_node("Tanh", ["x"], ["y"], name=HOSTILE)], "g", [value("x", ["N", 3])],
        [value("y", ["N", 3])]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, tmp_path / "m.onnx")
    show(cli, tmp_path / "m.onnx", "--html", tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert text.count("<script") == text.count("</script>") == 2
    assert read_page(text)["nodes"][0]["name"] == HOSTILE
    colours, found = read_dot(show(cli, tmp_path / "m.onnx", "--dot"))
    assert 'a\\"b\\\\c</script><script>alert(1)?' in colours and len(found) == 2


def test_refused(cli, tmp_path):
    for options, text in ((["--dot", "--json"], "exclude"),
                          (["--html", DIGITS / "digits.onnx"], "model")):
        done = subprocess.run([cli, "show", DIGITS / "digits.onnx", *options], capture_output=True,
                              text=True)
        assert done.returncode == 2 and text in done.stderr


LAYOUT = """
const fs = require("fs"), text = fs.readFileSync(process.argv[2], "utf8");
const graph = JSON.parse(text.match(/<script id="graph"[^>]*>([^]*?)<\\/script>/)[1]);
const code = text.match(/<script>\\n([^]*)<\\/script>/)[1];
const layout = new Function(code + "; return layout;")();
const {boxes, edges, height} = layout(graph);
console.log(JSON.stringify({boxes: boxes.map(b => [b.x, b.y, b.lane, b.kind]), edges, height}));
"""


def lay_out(page, tmp_path):
    if not shutil.which("node"):
        pytest.skip("no node")
    (tmp_path / "layout.js").write_text(LAYOUT)
    done = subprocess.run(["node", tmp_path / "layout.js", page], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_layout(found):
    """Boxes do not overlap, and in the model's lane what goes in stands above what comes out."""
    boxes = found["boxes"]
    assert np.isfinite([box[:2] for box in boxes]).all()
    rows = {}
    for x, y, lane, _ in boxes:
        rows.setdefault(y, []).append(x)
    for row in rows.values():
        assert (np.diff(sorted(row)) >= 150).all()
    for a, b, _ in found["edges"]:
        if boxes[a][2] == boxes[b][2] == 0:
            assert boxes[a][1] < boxes[b][1]


def test_layout(cli, case, tmp_path):
    arguments, code = case
    show(cli, *arguments, "--html", tmp_path / "page.html", code=code)
    found = lay_out(tmp_path / "page.html", tmp_path)
    check_layout(found)
    ends = [box for box in found["boxes"] if box[3] in ("input", "output")]
    assert found["edges"] and len(ends) >= 2


def test_thousands_of_nodes(cli, tmp_path):
    """A page of 6000 nodes is laid out in seconds."""
    taken = [[f"v{i}"] if i % 3 else [f"v{i}", f"v{max(0, i - 40)}"] for i in range(6000)]
    nodes = [helper.make_node("Tanh" if i % 3 else "Add", taken[i], [f"v{i + 1}"], name=f"node {i}")
             for i in range(6000)]
    made = helper.make_model(helper.make_graph(nodes, "g", [value("v0", ["N", 3])],
                                               [value("v6000", ["N", 3])]),
                             opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, tmp_path / "m.onnx")
    show(cli, tmp_path / "m.onnx", "--html", tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 3e6
    start = time.monotonic()
    found = lay_out(tmp_path / "page.html", tmp_path)
    assert time.monotonic() - start < 20
    check_layout(found)
    assert len(found["boxes"]) == 6002
