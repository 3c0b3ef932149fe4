"""Reading and writing model files: nothing of a model is lost, and no file, however wrong, does
harm. What may change on the way is what `normalised` does to the original. `tests/roundtrip.c` does
the reading and writing."""

import os
import stat
import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases

from conftest import BUILD, data_file

ROUNDTRIP = str(BUILD / "tests" / "roundtrip")


def roundtrip(*arguments):
    return subprocess.run([ROUNDTRIP, *map(str, arguments)], capture_output=True, text=True,
                          errors="replace")


def rewritten(model, tmp_path, *options):
    """The model, or the file of that path, after reading and writing."""
    path, out = tmp_path / "in.onnx", tmp_path / "out.onnx"
    if isinstance(model, onnx.ModelProto):
        path.write_bytes(model.SerializeToString())
    else:
        path = model
    done = roundtrip(*options, path, out)
    assert done.returncode == 0, done.stderr
    return onnx.load(out, load_external_data=False)


def refused(model, tmp_path, *options):
    """The message about a model that cannot be read."""
    path = tmp_path / "bad.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    done = roundtrip(*options, path)
    assert done.returncode == 1, f"accepted: {done.stderr}"
    assert done.stderr.count("\n") == 1 and not done.stderr.endswith(".\n")
    prefix = "" if options else f"{path}: "
    assert done.stderr.startswith(prefix)
    return done.stderr.strip().removeprefix(prefix)


# ---- what may change ------------------------------------------------------------------------


def to_raw(tensor):
    """Typed fields become raw_data."""
    if tensor.data_type == TensorProto.STRING:
        return
    data = tensor.raw_data
    bits = {TensorProto.COMPLEX64: 64, TensorProto.COMPLEX128: 128, TensorProto.INT4: 4,
            TensorProto.UINT4: 4, TensorProto.FLOAT4E2M1: 4, TensorProto.INT2: 2,
            TensorProto.UINT2: 2}.get(tensor.data_type)
    bits = bits or helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize * 8
    for field, dtype in (("float_data", "<f4"), ("double_data", "<f8"), ("int32_data", "<i4"),
                         ("int64_data", "<i8"), ("uint64_data", "<u8")):
        values = np.array(getattr(tensor, field), dtype)
        if values.size and not data:
            width = min(max(bits // 8, 1), values.itemsize)
            data = values.view(np.uint8).reshape(values.size, -1)[:, :width].tobytes()
        tensor.ClearField(field)
    tensor.ClearField("data_location")
    tensor.raw_data = data


def densify(graph):
    for sparse in graph.sparse_initializer:
        values, indices = map(numpy_helper.to_array, (sparse.values, sparse.indices))
        dense = np.zeros(sparse.dims, values.dtype)
        if indices.ndim == 1:
            dense.reshape(-1)[indices] = values
        else:
            dense[tuple(indices.T)] = values
        graph.initializer.append(numpy_helper.from_array(dense, sparse.values.name))
    graph.ClearField("sparse_initializer")


def normalise_attributes(nodes):
    for node in nodes:
        for attribute in node.attribute:
            for tensor in ([attribute.t] if attribute.HasField("t") else []) + [*attribute.tensors]:
                to_raw(tensor)
            for graph in ([attribute.g] if attribute.HasField("g") else []) + [*attribute.graphs]:
                normalise_tensors(graph)


def normalise_tensors(graph):
    densify(graph)
    for tensor in graph.initializer:
        to_raw(tensor)
    normalise_attributes(graph.node)


def normalised(model):
    """Domains and absent names are spelled one way, initializers are no inputs, tensors are raw
    and dense, descriptions of values that do not exist are gone. Initializers that are no inputs
    need IR version 4."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph = model.graph
    model.ir_version = max(model.ir_version, 4)
    for node in graph.node:
        if node.domain in ("", "ai.onnx"):
            node.ClearField("domain")
        if not node.name:
            node.ClearField("name")
    for opset in model.opset_import:
        opset.domain = "" if opset.domain == "ai.onnx" else opset.domain
    normalise_tensors(graph)
    for function in model.functions:
        normalise_attributes(function.node)
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    made = constants | {name for node in graph.node for name in node.output}
    infos = [info for info in graph.value_info if info.name in made]
    for field, kept in (("input", inputs), ("value_info", infos)):
        graph.ClearField(field)
        getattr(graph, field).extend(kept)
    return model


def assert_same(before, after):
    before, after = normalised(before), normalised(after)
    if before.SerializeToString(deterministic=True) != after.SerializeToString(deterministic=True):
        assert str(before) == str(after)
        pytest.fail("differs in what is not printed")


# ---- whole models ---------------------------------------------------------------------------


def test_real_models(shared, tmp_path):
    for path in sorted(shared.glob("models/*/model.onnx")):
        model = onnx.load(path)
        after = rewritten(path, tmp_path)
        assert_same(model, after)
        onnx.checker.check_model(after)


def test_backend_models(tmp_path):
    """Every operator that the standard has, with every attribute and type."""
    cases = [case for case in collect_testcases(None) if case.model is not None]
    assert len(cases) > 1000
    broken = []
    for case in cases:
        try:
            after = rewritten(case.model, tmp_path)
            assert_same(case.model, after)
        except AssertionError as error:
            broken.append(f"{case.name}: {str(error)[:500]}")
            continue
        try:
            onnx.checker.check_model(case.model)
        except Exception:  # not all of them are valid
            continue
        onnx.checker.check_model(after)
    assert not broken, "\n".join(broken)


def chain(**options):
    """x -> Relu -> Add(w) -> y."""
    nodes = [helper.make_node("Relu", ["x"], ["h"], name="first"),
             helper.make_node("Add", ["h", "w"], ["y"], name="second")]
    float_ = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "chain", [helper.make_tensor_value_info("x", float_, ["batch", 3])],
        [helper.make_tensor_value_info("y", float_, ["batch", 3])],
        [numpy_helper.from_array(np.arange(3, dtype=np.float32), "w")])
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)],
                             **options)


def test_header_and_unknown_fields_survive(tmp_path):
    model = chain(producer_name="someone", producer_version="7", doc_string="what it is for")
    helper.set_model_props(model, {"a": "1", "b": "2"})
    model.graph.doc_string = "graph"
    model.graph.node[0].doc_string = "node"
    model.graph.input[0].doc_string = "input"
    hidden = helper.make_tensor_value_info("h", TensorProto.FLOAT, ["batch", 3])
    model.graph.value_info.append(hidden)
    model.graph.metadata_props.add(key="c", value="3")
    # Field 1000 of the wire type "bytes" is in no version of the format.
    unknown = bytes([0xC2, 0x3E, 3]) + b"new"
    for part in (model, model.graph, model.graph.node[1], model.graph.initializer[0]):
        part.MergeFromString(unknown)
    path, out = tmp_path / "in.onnx", tmp_path / "out.onnx"
    path.write_bytes(model.SerializeToString())
    assert roundtrip(path, out).returncode == 0
    assert out.read_bytes().count(unknown) == 4
    assert_same(model, onnx.load(out))


def test_same_bytes_again(tmp_path):
    path = tmp_path / "in.onnx"
    path.write_bytes(chain().SerializeToString())
    outs = [tmp_path / f"{i}.onnx" for i in range(3)]
    assert roundtrip(path, outs[0]).returncode == 0
    assert roundtrip(path, outs[1]).returncode == 0
    assert roundtrip("-s", path, outs[2]).returncode == 0
    assert outs[0].read_bytes() == outs[1].read_bytes() == outs[2].read_bytes()


def test_initializers_that_are_inputs_become_constants(tmp_path):
    model = chain()
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [3]))
    assert [value.name for value in rewritten(model, tmp_path).graph.input] == ["x"]


def test_sparse_initializers_become_dense(tmp_path):
    for indices in (np.array([0, 2]), np.array([[0], [2]])):
        model = chain()
        model.graph.ClearField("initializer")
        sparse = model.graph.sparse_initializer.add(dims=[3])
        sparse.values.CopyFrom(numpy_helper.from_array(np.float32([5, 7]), "w"))
        sparse.indices.CopyFrom(numpy_helper.from_array(indices))
        after = rewritten(model, tmp_path)
        assert numpy_helper.to_array(after.graph.initializer[0]).tolist() == [5, 0, 7]


def test_lists_of_graphs_survive(tmp_path):
    """An attribute of an operator that nobody knows, with subgraphs that use the graph around them."""
    def part(op):
        return helper.make_graph([helper.make_node(op, ["h"], ["p"])], "part", [],
                                 [helper.make_tensor_value_info("p", TensorProto.FLOAT, None)],
                                 [numpy_helper.from_array(np.float32([1]), "own")])
    model = chain()
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    model.graph.node.append(helper.make_node("Many", ["y"], ["z"], domain="com.example",
                                             parts=[part("Tanh"), part("Neg")]))
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    assert_same(model, rewritten(model, tmp_path))
    model.graph.node[-1].attribute[0].graphs[1].node[0].output[0] = "own"
    assert 'its subgraph defines "own" again' in refused(model, tmp_path)


def test_graphs_of_training_are_read(tmp_path):
    """Their tensors, too, are what they say; the model is that of inference."""
    model = chain()
    start = model.training_info.add()
    start.initialization.CopyFrom(chain().graph)
    start.algorithm.CopyFrom(chain().graph)
    assert rewritten(model, tmp_path).graph == rewritten(chain(), tmp_path).graph
    start.algorithm.initializer[0].dims[0] = 4
    assert 'initializer "w" has 12 bytes' in refused(model, tmp_path)


def large(columns=300_000):
    weights = np.arange(3 * columns, dtype=np.float32).reshape(3, columns)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Add", ["h", "b"], ["y"])],
        "large", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", columns])],
        [numpy_helper.from_array(weights, "w"),
         numpy_helper.from_array(np.ones(columns, np.float32), "b")])
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])


def test_external_data(tmp_path):
    model = large()
    path, out = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save_model(onnx.ModelProto.FromString(model.SerializeToString()), path,
                    save_as_external_data=True, location="weights.bin")
    assert roundtrip("-2", path, out).returncode == 0
    second = data_file(out)
    assert second.stat().st_size >= 4_800_000
    onnx.checker.check_model(str(out), full_check=True)
    assert_same(model, onnx.load(out))
    for options in [], ["-s"]:  # fits into one file
        assert roundtrip(*options, path, tmp_path / "one.onnx").returncode == 0
        assert_same(model, onnx.load(tmp_path / "one.onnx", load_external_data=False))
    assert roundtrip("-2", out, out).returncode == 0  # equal contents have the name that they had
    assert_same(model, onnx.load(out))
    lost = roundtrip(path, tmp_path / "weights.bin")
    assert lost.returncode == 1 and "holds weights" in lost.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "in.onnx", "one.onnx", "out.onnx", second.name, "weights.bin"]


def test_memory(tmp_path):
    """Reading and writing together take about twice the file, its mapping included."""
    path, out = tmp_path / "in.onnx", tmp_path / "out.onnx"
    path.write_bytes(large(8_000_000).SerializeToString())
    pid = os.spawnv(os.P_NOWAIT, ROUNDTRIP, [ROUNDTRIP, str(path), str(out)])
    _, status, usage = os.wait4(pid, 0)
    assert status == 0
    assert usage.ru_maxrss * 1024 < 2.1 * path.stat().st_size + 16e6


def test_if_keeps_its_branches(tmp_path):
    value = helper.make_tensor_value_info
    branch = [helper.make_graph([helper.make_node(op, ["h"], [f"{op}_out"])], op, [],
                                [value(f"{op}_out", TensorProto.FLOAT, None)])
              for op in ("Relu", "Neg")]
    graph = helper.make_graph(
        [helper.make_node("Abs", ["x"], ["h"]),
         helper.make_node("If", ["c"], ["y"], then_branch=branch[0], else_branch=branch[1])],
        "g", [value("x", TensorProto.FLOAT, [2]), value("c", TensorProto.BOOL, [])],
        [value("y", TensorProto.FLOAT, [2])])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])
    assert_same(model, rewritten(model, tmp_path))
    model.graph.node[1].attribute[0].g.node[0].input[0] = "nothing"
    assert "\"nothing\"" in refused(model, tmp_path)
    # A branch that uses what comes after it is a cycle.
    model.graph.node[1].attribute[0].g.node[0].input[0] = "y"
    assert "subgraph uses \"y\"" in refused(model, tmp_path)


def test_functions_survive(tmp_path):
    model = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["": 18, "local": 1]>
        g (float[N] x) => (float[N] y) { y = local.twice <slope = 0.5> (x) }
        <domain: "local", opset_import: ["": 18, "local": 1]>
        twice <slope: float = 0.25> (a) => (out) {
            h = local.once <slope: float = @slope> (a)
            out = local.once (h)
        }
        <domain: "local", opset_import: ["": 18]>
        once <slope: float = 0.25> (a) => (out) { out = LeakyRelu <alpha: float = @slope> (a) }
        """)
    assert_same(model, rewritten(model, tmp_path))
    model.graph.node[0].domain, model.graph.node[0].op_type = "", "Relu"
    model.graph.node[0].ClearField("attribute")
    assert not rewritten(model, tmp_path).functions  # nothing calls them


# ---- wrong models ---------------------------------------------------------------------------


def test_truncated_files(shared, tmp_path):
    """No prefix of a model crashes the reader; hardly any is a model."""
    for name, step in (("mlp_relu_breast", 7), ("lstm_digits", 101), ("keras_cnn_mnist", 997)):
        path = shared / f"models/{name}/model.onnx"
        done = roundtrip("-t", path, step)
        assert done.returncode == 0, (name, done.stderr)
        good, _, of = done.stdout.split()
        assert int(good) <= 1, name
    path = shared / "models/mlp_relu_breast/model.onnx"
    assert refused(path.read_bytes()[:-500], tmp_path) == "truncated or damaged ONNX model"


def test_damaged_files(tmp_path):
    """Bytes overwritten at random: read or refused, never a crash."""
    data = np.frombuffer(chain().SerializeToString(), np.uint8)
    random = np.random.default_rng(0)
    for _ in range(200):
        damaged = data.copy()
        damaged[random.integers(0, data.size, 3)] = random.integers(0, 256, 3)
        path = tmp_path / "damaged.onnx"
        path.write_bytes(damaged.tobytes())
        assert roundtrip(path, tmp_path / "out.onnx").returncode in (0, 1)


def test_not_a_model(tmp_path):
    assert refused(b"", tmp_path) == "not an ONNX model"
    assert refused(b"\x89PNG\r\n\x1a\nxxxxxxx", tmp_path) == "not an ONNX model"
    assert refused(b"hello, world\n", tmp_path) == "not an ONNX model"
    assert refused(b"", tmp_path, "-p") == "not an ONNX model"
    assert roundtrip(tmp_path / "none.onnx").stderr.endswith(
        "none.onnx: cannot read: no such file or directory\n")
    assert roundtrip(tmp_path).stderr.endswith("cannot read: is a directory\n")


def broken(change):
    model = chain()
    change(model, model.graph)
    return model


def sparse(graph, indices):
    tensor = graph.sparse_initializer.add(dims=[3])
    tensor.values.CopyFrom(numpy_helper.from_array(np.float32([5, 7]), "s"))
    tensor.indices.CopyFrom(numpy_helper.from_array(np.int64(indices)))


@pytest.mark.parametrize("change, message", [
    (lambda m, g: setattr(m, "ir_version", 15), "IR version 15 is not supported (3 to 14 are)"),
    (lambda m, g: m.ClearField("opset_import"), "no operator set"),
    (lambda m, g: m.ClearField("graph"), "truncated or damaged"),
    (lambda m, g: g.ClearField("output"), "no outputs"),
    (lambda m, g: setattr(g.output[0], "name", "z"), "output \"z\" is not defined"),
    (lambda m, g: g.output.append(g.output[0]), "output \"y\" is listed twice"),
    (lambda m, g: g.initializer[0].ClearField("name"), "initializer 0 has no name"),
    (lambda m, g: g.input[0].ClearField("name"), "input 0 has no name"),
    (lambda m, g: g.input.append(g.input[0]), "value \"x\" is defined twice"),
    (lambda m, g: g.initializer.append(g.initializer[0]), "value \"w\" is defined twice"),
    (lambda m, g: g.initializer[0].dims.__setitem__(0, 4), "initializer \"w\" has 12 bytes"),
    (lambda m, g: g.initializer[0].dims.__setitem__(0, -3), "initializer \"w\" has the negative"),
    (lambda m, g: g.initializer[0].dims.extend([1 << 40] * 3), "initializer \"w\" is larger"),
    (lambda m, g: g.initializer[0].dims.extend([1] * 100), "initializer \"w\" has 101 dim"),
    (lambda m, g: setattr(g.initializer[0], "data_type", 99), "unknown element type 99"),
    (lambda m, g: setattr(g.initializer[0], "data_type", 0), "has no element type"),
    (lambda m, g: g.node[1].input.__setitem__(0, "q"), "node 1 \"second\" (Add): input \"q\""),
    (lambda m, g: g.node[0].input.__setitem__(0, "y"), "node 0 \"first\" (Relu): input \"y\""),
    (lambda m, g: g.node[1].output.__setitem__(0, "h"), "node 1 \"second\" (Add): output \"h\""),
    (lambda m, g: g.node[0].ClearField("op_type"), "node 0 \"first\" () has no operator"),
    (lambda m, g: g.node[0].attribute.add(name="a", type=4), "attribute \"a\" is incomplete"),
    (lambda m, g: g.node[0].attribute.add(name="a", type=1, ref_attr_name="b"), "outside of any"),
    (lambda m, g: g.initializer[0].segment.SetInParent(), "is a segment of a tensor"),
    (lambda m, g: g.sparse_initializer.add(dims=[3]), "is sparse and incomplete"),
    (lambda m, g: sparse(g, [0, 3]), "initializer \"s\" has the sparse index 3 out of bounds"),
    (lambda m, g: sparse(g, [0]), "initializer \"s\" is sparse, and its values, indices and shape disagree"),
    (lambda m, g: g.node[0].attribute.append(helper.make_attribute("a", TensorProto(data_type=1, dims=[2], raw_data=bytes(4)))),
     "node \"first\" (Relu): the tensor of attribute a has 4 bytes"),
])
def test_broken_models(change, message, tmp_path):
    assert message in refused(broken(change), tmp_path)


def external(**entries):
    def change(model, graph):
        graph.initializer[0].ClearField("raw_data")
        graph.initializer[0].data_location = TensorProto.EXTERNAL
        for key, value in entries.items():
            graph.initializer[0].external_data.add(key=key, value=value)
    return broken(change)


def test_wrong_external_data(tmp_path):
    (tmp_path / "data").write_bytes(bytes(20))
    os.mkfifo(tmp_path / "pipe")
    for entries, message in (
            ({"location": "/etc/passwd"}, "outside"), ({"location": "../data"}, "outside"),
            ({"location": "a/../../data"}, "outside"), ({}, "outside"),
            ({"location": "none"}, "is missing"), ({"location": "pipe"}, "no regular file"),
            ({"location": "data", "offset": "12"}, "beyond the end"),
            ({"location": "data", "offset": "18446744073709551612"}, "beyond the end"),
            ({"location": "data", "offset": "-4"}, "offset \"-4\""),
            ({"location": "data", "length": "99999999999999999999"}, "length"),
            ({"location": "data", "length": "8"}, "8 bytes")):
        text = refused(external(**entries), tmp_path)
        assert "initializer \"w\"" in text and message in text
    assert "folder" in refused(external(location="data"), tmp_path, "-p")
    # Offsets need not be aligned.
    model = external(location="data", offset="3", length="12")
    (tmp_path / "good.onnx").write_bytes(model.SerializeToString())
    assert roundtrip(tmp_path / "good.onnx").returncode == 0


def test_nesting(tmp_path):
    """Subgraphs as deep as a parser's stack would hardly bear."""
    def varint(n):
        return bytes([n & 127 | 128]) + varint(n >> 7) if n > 127 else bytes([n])

    data = b""
    for _ in range(20_000):  # graph in attribute in node in graph
        for tag in (0x32, 0x2A, 0x0A):
            data = bytes([tag]) + varint(len(data)) + data
    model = b"\x08\x08" + b"\x3A" + varint(len(data)) + data
    assert "nest too deeply" in refused(model, tmp_path)


@pytest.mark.parametrize("key", [b"\x00", b"\x80\x80\x00", b"\x80\x80\x80\x80\x10"],
                         ids=["0", "0 at length", "2^29"])
def test_field_numbers(tmp_path, key):
    """There are none beyond 1 to 2^29 - 1: what kept them could not be read back."""
    small = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 17]> '
                                    "g (float[2] x) => (float[2] y) { y = Relu(x) }")
    data = small.SerializeToString() + key + b"\x01"
    assert refused(data, tmp_path) == "truncated or damaged ONNX model"


# ---- writing --------------------------------------------------------------------------------


def test_wrong_destinations(tmp_path):
    path = tmp_path / "in.onnx"
    path.write_bytes(chain().SerializeToString())
    done = roundtrip(path, "/dev/full")
    assert (done.returncode, done.stderr) == (
        1, "/dev/full: cannot write: no space left on device\n")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
    done = roundtrip(path, tmp_path / "none/out.onnx")
    assert done.returncode == 1 and "no such file or directory" in done.stderr
    (tmp_path / "folder").mkdir()
    assert roundtrip(path, tmp_path / "folder").returncode == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "in.onnx"]


def test_full_disk_leaves_nothing(tmp_path):
    """A file may grow to 64 KB only: the write fails half way."""
    path, out = tmp_path / "in.onnx", tmp_path / "out.onnx"
    path.write_bytes(large(50_000).SerializeToString())
    out.write_bytes(b"before")
    done = subprocess.run(["bash", "-c", 'ulimit -f 64; trap "" XFSZ; exec "$0" "$@"', ROUNDTRIP,
                           str(path), str(out)], capture_output=True, text=True)
    assert done.returncode == 1 and "cannot write: file too large" in done.stderr
    assert out.read_bytes() == b"before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.onnx", "out.onnx"]


def test_links_and_pipes(tmp_path):
    path, link = tmp_path / "in.onnx", tmp_path / "link.onnx"
    path.write_bytes(chain().SerializeToString())
    (tmp_path / "target.onnx").write_bytes(b"")
    link.symlink_to("target.onnx")
    assert roundtrip(path, link).returncode == 0
    assert link.is_symlink() and onnx.load(tmp_path / "target.onnx").graph.name == "chain"
    done = subprocess.run(f'"{ROUNDTRIP}" /dev/stdin /dev/stdout < <(cat "{path}") | cat',
                          shell=True, executable="/bin/bash", capture_output=True)
    assert_same(chain(), onnx.ModelProto.FromString(done.stdout))
