"""Plans that sessions keep on disk: a second start takes the first one's, whatever lies there in its
place is replaced or left alone, and processes that start at a time make one."""

import os
import subprocess

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

NAMED, XDG = "ONNXEXPLAINER_CACHE", "XDG_CACHE_HOME"
REFERENCES = "onnxexplainer/references/"


def network(channels=64, size=24):
    """Convolutions that gain by the blocked layout."""
    rng = np.random.default_rng(0)
    model = onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["": 18]>
        net (float[N, 3, {size}, {size}] x) => (float[N, {channels}] y) {{
            a = Conv<pads=[1,1,1,1]>(x, U)  b = Relu(a)
            c = Conv<pads=[1,1,1,1]>(b, V)  d = Relu(c)
            e = Conv<pads=[1,1,1,1]>(d, W)  f = Relu(e)
            g = GlobalAveragePool(f)  y = Flatten(g)
        }}""")
    for name, depth in {"U": 3, "V": channels, "W": channels}.items():
        value = rng.normal(size=(channels, depth, 3, 3)) / np.sqrt(9 * depth)
        model.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    return model


def without_convolutions(name):
    """What has no blocked layout: a perceptron, an LSTM of many steps."""
    rng = np.random.default_rng(0)
    if name == "mlp":
        nodes, shapes = "h = MatMul(x, A)  r = Relu(h)  y = MatMul(r, B)", {"A": (6, 5), "B": (5, 3)}
        shape = (6,)
    else:
        nodes = """t = Transpose<perm=[1,0,2]>(x)  s, h = LSTM<hidden_size=5>(t, A, B)
            y = Squeeze(h, first)"""
        shapes, shape = {"A": (1, 20, 4), "B": (1, 20, 5)}, (20, 4)
    dims = ", ".join(map(str, ("N", *shape)))
    model = onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["": 18]>
        net (float[{dims}] x) => (float[N, K] y) {{ {nodes} }}""")
    for key, size in shapes.items():
        model.graph.initializer.append(
            numpy_helper.from_array(rng.normal(size=size).astype(np.float32), key))
    if name == "lstm":
        model.graph.initializer.append(numpy_helper.from_array(np.array([0]), "first"))
    return model, shape


class Start:
    """Runs of the command line with what is kept in a folder."""

    def __init__(self, cli, folder, model, shape=(3, 24, 24)):
        self.cli, self.folder, self.model = cli, folder, str(model)
        self.samples = str(folder.parent / "samples.npy")
        np.save(self.samples, np.random.default_rng(1).normal(size=(2, *shape)).astype("f"))

    def begin(self, out, *options, **environment):
        return subprocess.Popen(
            [self.cli, "run", self.model, "-i", self.samples, "-o", str(self.folder.parent / out),
             "--quiet", *(options or ["--tune"])],
            env=os.environ | {NAMED: str(self.folder)} | environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __call__(self, *options, **environment):
        begun = self.begin("out.npz", *options, **environment)
        errors = begun.communicate()[1]
        assert begun.returncode == 0 and errors == "", errors
        with np.load(self.folder.parent / "out.npz") as found:
            return dict(found)

    def plans(self):
        return sorted(self.folder.glob("*.plan"))


@pytest.fixture
def start(cli, explain, tmp_path):
    references = np.random.default_rng(2).normal(size=(10, 3, 24, 24)).astype(np.float32)
    return Start(cli, tmp_path / "kept", explain(network(), references, "--target=1"))


def same(a, b):
    return all(np.abs(a[name] - b[name]).max() <= 1e-5 * np.abs(b[name]).max() for name in b)


def test_second_start(start):
    """The plan is read, and not written again; other models and threads have their own."""
    plain = start("--no-tune")
    assert not start.folder.exists()
    first = start()
    plan, = start.plans()
    before = plan.stat()
    second = start()
    assert start.plans() == [plan]
    assert plan.stat().st_ino == before.st_ino and plan.stat().st_mtime_ns == before.st_mtime_ns
    assert same(first, plain) and all((first[k] == second[k]).all() for k in first)
    assert plan.stat().st_mode & 0o077 == 0
    start("--tune", "--threads=1")
    assert len(start.plans()) == 2


def properties(plan):
    """Of a plan that is kept; none where none gained."""
    data = plan.read_bytes()[:-24]
    return {p.key: p.value for p in onnx.load_from_string(data).metadata_props} if data else {}


def started(start, kind):
    """What a start gives that found a plan of this kind to gain, and the file of that."""
    for _ in range(5):  # the machine may be busy with something else
        first = start()
        plan, = start.plans()
        if properties(plan).get("onnxexplainer.plan", "").startswith(kind):
            break
        plan.unlink()
    return first, plan


def test_second_start_is_the_plan(start):
    """One that gains is kept as a model that names its blocks."""
    first, plan = started(start, "blocks")
    assert properties(plan)["onnxexplainer.plan"].startswith("blocks")
    assert same(start(), first)


@pytest.mark.parametrize("name", ["mlp", "lstm"])
def test_constants(name, cli, explain, tmp_path):
    """Where nothing has a blocked layout, what depends on no input is kept computed."""
    model, shape = without_convolutions(name)
    references = np.random.default_rng(2).normal(size=(3, *shape)).astype(np.float32)
    start = Start(cli, tmp_path / "kept", explain(model, references, "--target=1"), shape)
    plain = start("--no-tune")
    first, plan = started(start, "constants")
    kept = onnx.load_from_string(plan.read_bytes()[:-24])
    assert properties(plan)["onnxexplainer.plan"] == "constants"
    assert len(kept.graph.node) < 0.75 * len(onnx.load(start.model).graph.node)
    assert same(start(), plain) and same(first, plain)


def test_constants_of_nodes(cli, explain, tmp_path):
    """Weights that are nodes, as some exporters write them, are constants as others are."""
    model = network()
    nodes = [onnx.helper.make_node("Constant", [], [i.name], value=i)
             for i in model.graph.initializer]
    nodes += model.graph.node
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.node.extend(nodes)
    references = np.random.default_rng(2).normal(size=(4, 3, 24, 24)).astype(np.float32)
    plan = str(tmp_path / "plan.onnx")
    subprocess.run([cli, "tune", explain(model, references), "-o", plan], check=True)
    graph = onnx.load(plan).graph
    said = [n for n in graph.node if n.op_type == "Constant"]
    constants = {"", *(i.name for i in graph.initializer), *(n.output[0] for n in said)}
    assert not [n.name for n in graph.node if n not in said and constants.issuperset(n.input)]


def names_of_nodes(graph):
    for node in graph.node:
        if node.domain == "onnxexplainer":
            yield node.op_type
        for attribute in node.attribute:
            yield from names_of_nodes(attribute.g)


def test_kernels_are_named(start, cli, explain, tmp_path):
    """The metadata name the operators of ours that a session registers: of the model, of one in
    steps, and of a plan."""
    model, shape = without_convolutions("mlp")
    references = np.random.default_rng(2).normal(size=(4, *shape)).astype(np.float32)
    steps = onnx.load(explain(model, references, "--target=1", "--chunk=2"))
    _, plan = started(start, "blocks")
    for made in (onnx.load(start.model), steps, onnx.load_from_string(plan.read_bytes()[:-24])):
        used = set(names_of_nodes(made.graph))
        kept = {p.key: p.value for p in made.metadata_props}["onnxexplainer.kernels"]
        assert used and set(kept.split(",")) == used


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other"])
def test_damaged(start, damage):
    first = start()
    plan, = start.plans()
    data = bytearray(plan.read_bytes())
    if damage == "cut":
        data = data[:len(data) // 2]
    elif damage == "flip":
        data[len(data) // 3] ^= 1
    elif damage == "empty":
        data = b""
    else:
        data = b"no plan at all " * 1000
    plan.write_bytes(data)
    assert same(start(), first)
    plan, = start.plans()
    assert plan.read_bytes() != data


def test_damaged_key(start):
    """Names are others then."""
    first = start()
    (start.folder / "key").write_bytes(b"short")
    assert same(start(), first) and len(start.plans()) == 2
    assert (start.folder / "key").stat().st_size == 8


def test_no_folder(start, tmp_path):
    """Where nothing can be kept, nothing is."""
    file = tmp_path / "file"
    file.write_text("not a folder")
    plain = start("--no-tune")
    for environment in ({NAMED: str(file)}, {NAMED: ""}, {NAMED: "/proc/nothing"},
                        {NAMED: str(file / "below")}):
        assert same(start(**environment), plain)
    assert not start.folder.exists()


def test_folder_of_the_user(start, tmp_path):
    """XDG_CACHE_HOME, unless it is no absolute path; then HOME."""
    environment = {k: v for k, v in os.environ.items() if k != NAMED}
    command = [start.cli, "run", start.model, "-i", start.samples, "--tune", "--quiet"]
    for name, place in ((XDG, tmp_path / "x" / "onnxexplainer"),
                        ("HOME", tmp_path / "h" / ".cache" / "onnxexplainer")):
        (tmp_path / "x").mkdir(exist_ok=True)
        (tmp_path / "h").mkdir(exist_ok=True)
        own = environment | {XDG: "relative"} | {name: str(tmp_path / name[0].lower())}
        subprocess.run(command, env=own, check=True, cwd=tmp_path, stdout=subprocess.DEVNULL)
        assert len(list(place.glob("*.plan"))) == 1


def test_at_a_time(start):
    """Workers that start together: one makes the plan, the others wait for it."""
    begun = [start.begin(f"out{i}.npz") for i in range(5)]
    for b in begun:
        errors = b.communicate()[1]
        assert b.returncode == 0 and errors == ""
    outs = [dict(np.load(start.folder.parent / f"out{i}.npz")) for i in range(5)]
    assert all((out[k] == outs[0][k]).all() for out in outs for k in out)
    assert len(start.plans()) == 1
    assert sorted(p.name for p in start.folder.iterdir()) == sorted(
        ["key", "lock", start.plans()[0].name])


@pytest.mark.parametrize("external", (False, True))
def test_replaced(start, external):
    """What is kept is of the bytes of the model, wherever they are: in its file, or beside it."""
    model = onnx.load(start.model)
    for factor in (1, -2):
        held, = (i for i in model.graph.initializer if i.name.startswith(REFERENCES))
        held.CopyFrom(numpy_helper.from_array(factor * numpy_helper.to_array(held), held.name))
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        where = {"save_as_external_data": True, "location": "weights"} if external else {}
        (start.folder.parent / "weights").unlink(missing_ok=True)
        onnx.save(changed, start.model, **where)
        for made in (start(), start()):
            assert same(made, start("--no-tune"))
    assert len(start.plans()) == 2
