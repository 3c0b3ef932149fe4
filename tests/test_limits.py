"""What a file may cost: a few bytes that ask for much are refused by one line within a bound, and
time grows as the size of the file does."""

import ctypes
import json
import os
import re
import subprocess
import sys
import zipfile

import numpy as np
import onnx
import pytest
from library import Error, Refused, explain, library
from onnx import TensorProto, helper
from rulecheck import FLOAT, node

MB = 1 << 20
LIMIT = 64  # MB, of the hostile models below
PROGRAM = 48  # MB that the program and its libraries may take besides


def value(name, shape=("N", 4), kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs=None, initializers=(), functions=(), outputs=None):
    graph = helper.make_graph(nodes, "g", inputs or [value("x")], outputs or [value("y", None)],
                              [onnx.numpy_helper.from_array(v, k)
                               for k, v in dict(initializers).items()])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=functions)


def ints(*numbers):
    return np.array(numbers, np.int64)


# ---- hostile models --------------------------------------------------------------------------

def sparse(count=1 << 29):
    m = model([node("Relu", "x", "y")])
    s = m.graph.sparse_initializer.add()
    s.dims.append(count)
    s.values.name, s.values.data_type, s.indices.data_type = "much", FLOAT, TensorProto.INT64
    s.values.dims.append(0)
    s.indices.dims.append(0)
    return m


def varint(number):
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def merged(count=20000):
    """The graph in parts, as protobuf has it: each is put together with all before."""
    part = field(7, field(13, field(1, b"q")))
    return model([node("Relu", "x", "y")]).SerializeToString() + part * count


def wide(*nodes, size=1 << 28, **initializers):
    return model(list(nodes), [value("x", ("N", size))], initializers)


def function(name, nodes, inputs=("a",), outputs=("r",)):
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, list(inputs), list(outputs), nodes, opsets)


def call(name, inputs, output):
    return helper.make_node(name, inputs.split(), [output], domain="own")


def laughs():
    functions = [function(f"f{i}", [call(f"f{i + 1}", "a", "h"), call(f"f{i + 1}", "h", "r")])
                 for i in range(40)]
    functions.append(function("f40", [node("Relu", "a", "r")]))
    return model([call("f0", "x", "y")], functions=functions)


def bodies(calls=2000, size=300):
    """A function with an If, whose bodies are copied for every call."""
    body = helper.make_graph([node("Identity", "a", f"q{i}") for i in range(size)], "b", [],
                             [value("q0", None)])
    choose = helper.make_node("If", ["c"], ["r"], then_branch=body, else_branch=body)
    chain = [call("f", f"{'x' if i == 0 else f'z{i}'} go", f"z{i + 1}" if i < calls - 1 else "y")
             for i in range(calls)]
    return model(chain, initializers={"go": np.array(True)},
                 functions=[function("f", [choose], ("a", "c"))])


def loop(trips=10**9):
    body = helper.make_graph([node("Relu", "v", "w")], "b",
                             [value("i", [], TensorProto.INT64), value("c", [], TensorProto.BOOL),
                              value("v")], [value("c", [], TensorProto.BOOL), value("w")])
    return model([helper.make_node("Loop", ["n", "", "x"], ["y"], body=body)],
                 initializers={"n": np.array(trips)})


def scan(length=60000):
    body = helper.make_graph([node("Add", "s e", "t"), node("Relu", "t", "o")], "b",
                             [value("s", ["N"]), value("e", ["N"])],
                             [value("t", ["N"]), value("o", ["N"])])
    attributes = dict(body=body, num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[1])
    return model([helper.make_node("Scan", ["h", "x"], ["last", "y"], **attributes)],
                 [value("x", ["N", length])], {"h": np.zeros(1, np.float32)})


def pool(op, size=1 << 28, **attributes):
    return model([node(op, "x", "y", **attributes)], [value("x", ("N", 1, size, 4))])


EXCEEDED = "limit is 64M: --limit=128M allows more"
HOSTILE = {
    # what is explained although it is large: nothing is made of its elements
    "input": (wide(node("Relu", "x", "y")), None),
    "softmax": (wide(node("Softmax", "x", "y")), None),
    "maximum": (wide(node("ReduceMax", "x a", "y"), a=ints(1)), None),
    "norm": (wide(node("ReduceL2", "x a", "y"), a=ints(1)), None),
    "kernel": (model([node("AveragePool", "x", "y", kernel_shape=[1 << 28], count_include_pad=1,
                           pads=[1 << 27, 1 << 27])], [value("x", ("N", 1, 8))]), None),
    # what is refused
    "sparse": (sparse(), f'initializer "much": the model makes more than .* bytes, {EXCEEDED}'),
    "parts": (merged(), "a message comes in too many parts"),
    "product": (wide(node("ReduceProd", "x a", "y"), a=ints(1)),
                rf'node 0 "" \(ReduceProd\): the model makes more than .* bytes, {EXCEEDED}'),
    "average": (pool("AveragePool", kernel_shape=[2, 2], pads=[1, 1, 1, 1]),
                rf'node 0 "" \(AveragePool\): the model makes more than .* bytes, {EXCEEDED}'),
    "reflected": (model([node("Pad", "x p", "y", mode="reflect")],
                        initializers={"p": ints(0, 1 << 28, 0, 1 << 28)}), "node 0"),
    "calls": (laughs(), rf"\(own.f\d+\): the model makes more than 16384 nodes, {EXCEEDED}"),
    "bodies": (bodies(), rf"\(own.f\): the model makes more than 16384 nodes, {EXCEEDED}"),
    "loop": (loop(), "node 0|not known"),
    "scan": (scan(), "node 0|not known"),
}


# What a process started with counts among its own, so that a small one starts the command.
MEASURE = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
json.dump([done.returncode, done.stderr, used.ru_utime + used.ru_stime, used.ru_maxrss >> 10],
          sys.stdout)
"""


def run(command):
    """Exit code, what it said, user and system time, and its largest size in MB."""
    return json.loads(subprocess.check_output([sys.executable, "-S", "-c", MEASURE, *command]))


def save(m, path):
    path.write_bytes(m if isinstance(m, bytes) else m.SerializeToString())
    return str(path)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("command", ["show", "explain"])
def test_hostile(cli, tmp_path, name, command):
    """The limit and 16 times the file bound the memory, whatever the file asks for."""
    m, message = HOSTILE[name]
    path = save(m, tmp_path / "m.onnx")
    more = ["-q", "--references=fill:0", "-o", str(tmp_path / "e.onnx")]
    more = more if command == "explain" else []
    code, said, _, size = run([cli, command, path, f"--limit={LIMIT}M", *more])
    assert size < LIMIT + PROGRAM + 17 * os.path.getsize(path) / MB, size
    assert (code, said) == (0, "") if message is None else code == 1, said
    if message is not None:
        assert re.search(message, said), said
        assert said.count("\n") == 1
        assert not (tmp_path / "e.onnx").exists()


def test_raised(cli, tmp_path):
    """What exceeds one limit is within a larger one."""
    path = save(sparse((LIMIT + 8) * MB // 4), tmp_path / "m.onnx")
    assert run([cli, "show", path, f"--limit={LIMIT}M"])[0] == 1
    assert run([cli, "show", path, f"--limit={2 * LIMIT}M"])[0] == 0


def test_weights(cli, tmp_path):
    """Weights are no reason to refuse a model: what a file brings is allowed besides."""
    weights = {f"w{i}": np.zeros((1024, 1024), np.float32) for i in range(24)}
    names = ["x", *(f"h{i}" for i in range(1, 24)), "y"]
    nodes = [node("MatMul", f"{names[i]} w{i}", names[i + 1]) for i in range(24)]
    path = save(model(nodes, [value("x", ("N", 1024))], weights), tmp_path / "m.onnx")
    code, said, _, _ = run([cli, "show", path, "--limit=1M"])
    assert (code, said) == (0, "")


def test_library():
    """The code that a program branches on, and the initializer at fault."""
    parse = library.ox_parse_limited
    parse.restype = ctypes.c_void_p
    parse.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_uint64,
                      ctypes.c_void_p]
    data, error = sparse().SerializeToString(), Error()
    assert parse(data, len(data), None, MB, ctypes.byref(error)) is None
    assert error.code == 7
    assert error.message.startswith(b'initializer "much": the model makes more than')


def test_overlapping_arrays(cli, tmp_path):
    """Many entries of an archive that are the same bytes."""
    array = np.zeros((1000, 4), np.float32)
    np.savez_compressed(tmp_path / "one.npz", x=array)
    data = (tmp_path / "one.npz").read_bytes()
    end = data.rfind(b"PK\5\6")
    size, start = np.frombuffer(data[end + 12:end + 20], "<u4").tolist()
    entry, count = data[start:start + size], 30
    numbers = np.array([count, count], "<u2").tobytes()
    sizes = np.array([len(entry) * count, start], "<u4").tobytes()
    (tmp_path / "many.npz").write_bytes(data[:start] + entry * count + b"PK\5\6\0\0\0\0" + numbers +
                                        sizes + b"\0\0")
    assert len(zipfile.ZipFile(tmp_path / "many.npz").namelist()) == count
    path = save(model([node("Relu", "x", "y")]), tmp_path / "m.onnx")
    command = [cli, "explain", path, "-o", str(tmp_path / "e.onnx"), "--references"]
    code, said, _, _ = run([*command, str(tmp_path / "many.npz")])
    assert code == 1 and said.endswith("many.npz: its entries overlap\n")
    assert run([*command, str(tmp_path / "one.npz")])[0] == 0


# ---- growth ------------------------------------------------------------------------------------

def chain(op, count):
    names = ["x", *(f"a{i}" for i in range(1, count)), "y"]
    return model([node(op, names[i], names[i + 1]) for i in range(count)])


def properties(count):
    m = model([node("Relu", "x", "y")])
    for i in range(count):
        m.metadata_props.add(key=f"k{i}", value="v")
    return m


def imports(count):
    m = model([node("Relu", "x", "y")])
    m.opset_import.extend(helper.make_opsetid(f"d{i}", 1) for i in range(count))
    return m


def split(count):
    parts = [f"a{i}" for i in range(count)]
    return model([helper.make_node("Split", ["x"], parts, axis=1, num_outputs=count),
                  helper.make_node("Concat", parts, ["y"], axis=1)], [value("x", ("N", count))])


def sum_of_inputs(count):
    names = [f"x{i}" for i in range(count)]
    return model([helper.make_node("Sum", names, ["y"])], [value(n) for n in names])


def functions(count):
    names = ["x", *(f"a{i}" for i in range(1, count)), "y"]
    return model([call(f"f{i}", names[i], names[i + 1]) for i in range(count)],
                 functions=[function(f"f{i}", [node("Relu", "a", "r")]) for i in range(count)])


def equal_constants(count):
    names = ["x", *(f"a{i}" for i in range(1, count)), "y"]
    return model([node("Add", f"{names[i]} c{i}", names[i + 1]) for i in range(count)],
                 initializers={f"c{i}": np.float32(1) for i in range(count)})


def maxima(count):
    return model([helper.make_node("Max", ["x"] * count, ["y"])])


def outputs(count):
    return model([node("Relu", "x", f"y{i}") for i in range(count)],
                 outputs=[value(f"y{i}") for i in range(count)])


GROWTH = {
    "chain": (lambda n: chain("Relu", n), 2000),
    "identities": (lambda n: chain("Identity", n), 3000),
    "properties": (properties, 6000),
    "imports": (imports, 6000),
    "split": (split, 3000),
    "inputs": (sum_of_inputs, 1500),
    "functions": (functions, 1500),
    "constants": (equal_constants, 2000),
    "maxima": (maxima, 4000),
    "outputs": (outputs, 3000),
    "loop": (loop, 2000),
    "scan": (scan, 1000),
}


@pytest.mark.parametrize("name", GROWTH)
def test_linear(cli, tmp_path, name):
    """Four times as much takes about four times as long; what is quadratic takes 16 times. The best
    of two runs counts, for there may be others on the machine."""
    make, count = GROWTH[name]
    times = []
    for i, n in enumerate((count, 4 * count)):
        path = save(make(n), tmp_path / f"{i}.onnx")
        runs = [run([cli, "show", path]) for _ in range(2)]
        assert runs[0][0] == 0, runs[0][1]
        times.append(min(r[2] for r in runs))
    assert times[1] < 9 * max(times[0], 0.01), times


def test_axes():
    """More axes than a file may have are refused where they arise, not when the result is read."""
    many = model([node("Reshape", "x s", "y")], initializers={"s": np.ones(1000, np.int64)})
    with pytest.raises(Refused, match=r"node 0 .*Reshape.*: output 0 would have 1000 axes"):
        explain(many, {"x": np.zeros((2, 4), np.float32)})
