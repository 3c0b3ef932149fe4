"""Control flow and sequences: explained as what is computed by the branch that is taken, by the
steps, by the tensors that are taken out of a sequence."""

import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from rulecheck import FLOAT, Rule, check, check_pairs, floats, ints, node

BOOL, INT64 = TensorProto.BOOL, TensorProto.INT64
TRUE = np.array(True)
FALSE = np.array(False)


def value(name, kind=FLOAT, shape=None):
    return helper.make_tensor_value_info(name, kind, shape)


def body(nodes, inputs, outputs, constants=None):
    """Inputs and outputs are names or value infos; names are tensors of floats."""

    def infos(values):
        return [value(v) if isinstance(v, str) else v for v in values]

    initializers = [numpy_helper.from_array(np.asarray(v), k)
                    for k, v in (constants or {}).items()]
    return helper.make_graph(nodes, "body", infos(inputs), infos(outputs), initializers)


def branches(output="y"):
    """tanh(x w) and relu(x w) + x: values from outside, constants of their own."""
    then = body([node("Mul", "x w", "then_a"), node("Tanh", "then_a", "then_b")], [], ["then_b"])
    other = body([node("Mul", "x own", "else_a"), node("Relu", "else_a", "else_b"),
                  node("Add", "else_b x", "else_c")], [], ["else_c"], {"own": floats(3, seed=2)})
    return node("If", "c", output, then_branch=then, else_branch=other)


def fails(cli, tmp_path, model, references, *options):
    onnx.save(model, tmp_path / "model.onnx")
    command = [cli, "explain", str(tmp_path / "model.onnx"), "-o", str(tmp_path / "out.onnx"),
               "--target=all", *options]
    for name, array in references.items():
        np.save(tmp_path / f"{name}.npy", array)
        command += ["--references", f"{name}={tmp_path / name}.npy"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    return done.stderr


# ---- If ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [TRUE, FALSE, np.array([True])])
def test_if_constant(condition, explain, run):
    rule = Rule([branches()], {"x": [4, 3]}, {"c": condition, "w": floats(3)})
    check(rule, explain, run)


def test_if_folded(explain, run):
    """A condition that follows from a shape."""
    nodes = [node("Shape", "x", "shape"), node("Gather", "shape two", "width"),
             node("Greater", "width limit", "c"), branches("z"), node("Exp", "z", "y")]
    rule = Rule(nodes, {"x": [4, 3]}, {"w": floats(3), "two": np.array(2), "limit": np.array(2)})
    check(rule, explain, run)


def test_if_double(explain, run):
    then = body([node("Sin", "x", "then_a")], [], [value("then_a", TensorProto.DOUBLE)])
    other = body([node("Neg", "x", "else_a")], [], [value("else_a", TensorProto.DOUBLE)])
    rule = Rule([node("If", "c", "y", then_branch=then, else_branch=other)], {"x": [3]},
                {"c": TRUE}, np.float64)
    check(rule, explain, run)


def held(nodes, constants=None):
    """A model of x [N, 3] and a held condition c."""
    rule = Rule([node("Identity", "x", "y")], {"x": [3]})
    graph = body([*nodes, node("MatMul", "y head", "out")],
                 [value("x", FLOAT, ["N", 3]), value("c", BOOL, [])],
                 [value("out", FLOAT, ["N", 3])], {**(constants or {}), "head": rule.head})
    return rule, helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)],
                                   ir_version=9)


@pytest.mark.parametrize("options", [[], ["--chunk=1"], ["--cache=none"]])
@pytest.mark.parametrize("condition", [True, False])
def test_if_at_run_time(condition, options, explain, run):
    rule, model = held([branches()], {"w": floats(3)})
    path = explain(model, rule.r["x"], "--target=all", "--hold=c", *options)
    sides = [run(model, {"x": v, "c": np.array(condition)})["out"] for v in (rule.x["x"],
                                                                             rule.r["x"])]
    out = run(path, {"x": rule.x["x"], "c": np.array(condition)})
    total = out["x_shap"].sum(axis=2)
    np.testing.assert_allclose(total, sides[0] - sides[1].mean(axis=0), atol=1e-4)
    np.testing.assert_array_equal(out["out"], sides[0])


def test_if_shapes_differ(cli, tmp_path):
    then = body([node("ReduceSum", "x axis", "then_a", keepdims=1)], [], ["then_a"])
    other = body([node("Neg", "x", "else_a")], [], ["else_a"])
    nodes = [node("If", "c", "z", then_branch=then, else_branch=other, name="fork"),
             node("Add", "x z", "y")]
    rule, model = held(nodes, {"axis": ints(1)})
    message = fails(cli, tmp_path, model, rule.r, "--hold=c")
    assert '"fork" (If): its condition is known at run time only' in message


def deciding():
    """A condition made of the explained input."""
    return [node("ReduceSum", "x", "sum", keepdims=0), node("Greater", "sum zero", "c")]


def test_if_condition_varies(explain, run):
    """A step like others, one sample at a time."""
    rule = Rule([*deciding(), branches()], {"x": [4, 3]}, {"zero": np.float32(0), "w": floats(3)})
    x = rule.x["x"][:1]
    for i, r in enumerate(rule.r["x"]):
        path = explain(rule.model, rule.r["x"][i:i + 1, None], "--target=all", "--no-batch")
        out = run(path, x)
        gap = run(rule.model, x)["out"] - run(rule.model, r[None])["out"]
        phi = out["x_shap"].reshape(3, -1).sum(axis=1)
        np.testing.assert_allclose(phi, gap[0], atol=1e-4)


def test_if_condition_of_batch(cli, tmp_path):
    rule = Rule([*deciding(), branches()], {"x": [4, 3]}, {"zero": np.float32(0), "w": floats(3)})
    assert "--no-batch" in fails(cli, tmp_path, rule.model, rule.r)


def test_if_nested(explain, run):
    """A branch inside a branch sees the names of both."""
    inner = node("If", "d", "inner_y",
                 then_branch=body([node("Mul", "outer_a x", "in_a")], [], ["in_a"]),
                 else_branch=body([node("Exp", "outer_a", "in_b")], [], ["in_b"]))
    then = body([node("Tanh", "x", "outer_a"), inner], [], ["inner_y"])
    other = body([node("Identity", "x", "outer_b")], [], ["outer_b"])
    rule = Rule([node("If", "c", "y", then_branch=then, else_branch=other)], {"x": [3]},
                {"c": TRUE, "d": TRUE})
    check(rule, explain, run)


def test_if_hands_on(explain, run):
    """A branch whose result comes from outside, and is used outside, too."""
    then = body([node("Identity", "h", "then_a")], [], ["then_a"])
    other = body([node("Neg", "h", "else_a")], [], ["else_a"])
    nodes = [node("Sigmoid", "x", "h"),
             node("If", "c", "z", then_branch=then, else_branch=other), node("Mul", "z h", "y")]
    check(Rule(nodes, {"x": [3]}, {"c": TRUE}), explain, run)


def test_if_in_function(explain, run):
    """In a model-local function that is called twice, and sees the function's own values."""
    then = body([node("Mul", "f_x f_w", "then_a")], [], ["then_a"])
    other = body([node("Neg", "f_x", "else_a")], [], ["else_a"])
    function = helper.make_function(
        "own", "Fork", ["f_x", "f_c"], ["f_y"],
        [node("Exp", "f_x", "f_w"),
         node("If", "f_c", "f_z", then_branch=then, else_branch=other),
         node("Tanh", "f_z", "f_y")], [helper.make_opsetid("", 18)])
    calls = [node("Fork", "x yes", "z", domain="own"), node("Fork", "z no", "y", domain="own")]
    rule = Rule([node("Identity", "x", "y")], {"x": [3]}, {"yes": TRUE, "no": FALSE})
    del rule.model.graph.node[0]
    for call in reversed(calls):
        rule.model.graph.node.insert(0, call)
    rule.model.functions.append(function)
    rule.model.opset_import.append(helper.make_opsetid("own", 1))
    check(rule, explain, run)


def test_function_in_if(explain, run):
    """Called from the body of an If, and sees only what it is given."""
    twice = helper.make_function("own", "Twice", ["a"], ["r"], [node("Add", "a a", "s"),
                                                                 node("Tanh", "s", "r")],
                                 [helper.make_opsetid("", 18)])
    then = body([node("Twice", "x", "then_a", domain="own")], [], ["then_a"])
    other = body([node("Neg", "x", "else_a")], [], ["else_a"])
    rule = Rule([node("Identity", "x", "y")], {"x": [3]}, {"yes": TRUE})
    rule.model.graph.node[0].CopyFrom(
        node("If", "yes", "y", then_branch=then, else_branch=other))
    rule.model.functions.append(twice)
    rule.model.opset_import.append(helper.make_opsetid("own", 1))
    check(rule, explain, run)


# ---- Loop -------------------------------------------------------------------------------------


def loop_body(scan=True, step="Tanh"):
    """h' = tanh(h * w + x), and h' each step."""
    nodes = [node("Mul", "h w", "l_a"), node("Add", "l_a x", "l_b"), node(step, "l_b", "l_c"),
             node("Identity", "on", "l_on"), node("Identity", "l_c", "l_d")]
    outputs = [value("l_on", BOOL), "l_c", "l_d"][:3 if scan else 2]
    return body(nodes, [value("i", INT64, []), value("on", BOOL, []), "h"], outputs)


@pytest.mark.parametrize("trips", [1, 4])
def test_loop(trips, explain, run):
    nodes = [node("Loop", "trips go x", "last all", body=loop_body()),
             node("ReduceSum", "all first", "sum", keepdims=0), node("Add", "last sum", "y")]
    constants = {"trips": np.array(trips), "go": TRUE, "w": floats(3), "first": ints(0)}
    check(Rule(nodes, {"x": [3]}, constants), explain, run)


def test_loop_without_condition(explain, run):
    nodes = [helper.make_node("Loop", ["trips", "", "x"], ["y"], body=loop_body(False))]
    check(Rule(nodes, {"x": [3]}, {"trips": ints(3), "w": floats(3)}), explain, run)


@pytest.mark.parametrize("trips, go", [(0, TRUE), (3, FALSE)])
def test_loop_without_steps(trips, go, explain, run):
    nodes = [node("Loop", "trips go x", "last all", body=loop_body()),
             node("ReduceSum", "all first", "sum", keepdims=0), node("Add", "last sum", "y")]
    constants = {"trips": np.array(trips), "go": go, "w": floats(3), "first": ints(0)}
    check(Rule(nodes, {"x": [3]}, constants), explain, run)


def test_loop_until(explain, run):
    """Ends by its own condition, which counts."""
    nodes = [node("Mul", "h h", "l_a"), node("Less", "i two", "l_on")]
    inside = body(nodes, [value("i", INT64, []), value("on", BOOL, []), "h"],
                  [value("l_on", BOOL), "l_a"], {"two": np.array(1)})
    nodes = [helper.make_node("Loop", ["", "go", "x"], ["y"], body=inside)]
    check(Rule(nodes, {"x": [3]}, {"go": TRUE}, low=-1, high=1), explain, run)


def test_loop_counts(explain, run):
    """Uses the number of the step, declared as a vector, to pick a column."""
    nodes = [node("Gather", "x i", "l_a", axis=1), node("Mul", "h l_a", "l_b"),
             node("Identity", "on", "l_on")]
    inside = body(nodes, [value("i", INT64, [1]), value("on", BOOL, [1]), "h"],
                  [value("l_on", BOOL), "l_b"])
    nodes = [node("Loop", "trips go start", "y", body=inside)]
    constants = {"trips": ints(3), "go": np.array([True]), "start": floats(1, 1)}
    check(Rule(nodes, {"x": [5]}, constants), explain, run)


def test_loop_grows(explain, run):
    """A carried value whose shape changes."""
    nodes = [node("Concat", "h x", "l_a", axis=1), node("Identity", "on", "l_on")]
    inside = body(nodes, [value("i", INT64, []), value("on", BOOL, []), "h"],
                  [value("l_on", BOOL), "l_a"])
    nodes = [node("Loop", "trips go x", "z", body=inside), node("Softmax", "z", "y")]
    check(Rule(nodes, {"x": [3]}, {"trips": np.array(2), "go": TRUE}), explain, run)


def test_loop_nested(explain, run):
    inner = body([node("Mul", "k w", "n_a"), node("Add", "n_a m_a", "n_b"),
                  node("Identity", "n_on", "n_go")],
                 [value("n_i", INT64, []), value("n_on", BOOL, []), "k"],
                 [value("n_go", BOOL), "n_b"])
    fork = node("If", "early", "m_d",
                then_branch=body([node("Neg", "m_c", "t_a")], [], ["t_a"]),
                else_branch=body([node("Exp", "m_c", "e_a")], [], ["e_a"]))
    nodes = [node("Tanh", "h", "m_a"), node("Loop", "trips m_on x", "m_b", body=inner),
             node("Mul", "m_b m_a", "m_c"), node("Less", "m_i one", "early"), fork,
             node("Identity", "m_on", "m_go")]
    outer = body(nodes, [value("m_i", INT64, []), value("m_on", BOOL, []), "h"],
                 [value("m_go", BOOL), "m_d"], {"one": np.array(1)})
    constants = {"trips": np.array(2), "go": TRUE, "w": floats(3, low=-1, high=1)}
    rule = Rule([node("Loop", "trips go x", "y", body=outer)], {"x": [3]}, constants, low=-1,
                high=1)
    check_pairs(rule, explain, run)


def test_loop_shares_initializers(explain, run):
    """A large initializer of a body is written once, not once a step."""
    weights = floats(80, 80, low=-0.1, high=0.1)
    nodes = [node("MatMul", "h own", "l_a"), node("Tanh", "l_a", "l_b"),
             node("Identity", "on", "l_on")]
    inside = body(nodes, [value("i", INT64, []), value("on", BOOL, []), "h"],
                  [value("l_on", BOOL), "l_b"], {"own": weights})
    rule = Rule([node("Loop", "trips go x", "y", body=inside)], {"x": [80]},
                {"trips": np.array(4), "go": TRUE})
    graph = onnx.load(explain(rule.model, rule.r["x"], "--target=0")).graph
    assert sum(i.dims == [80, 80] for i in graph.initializer) <= 2  # as it is, and transposed
    check_pairs(rule, explain, run)


def test_loop_refused(cli, tmp_path):
    free = node("Loop", "trips go x", "y", body=loop_body(False), name="around")
    rule = Rule([free], {"x": [3]}, {"trips": np.array(2), "go": TRUE, "w": floats(3)})
    long = onnx.ModelProto()
    long.CopyFrom(rule.model)
    for i in long.graph.initializer:
        if i.name == "trips":
            i.CopyFrom(numpy_helper.from_array(np.array(2**40), "trips"))
    assert '"around" (Loop): its steps, written out, are more than' in fails(
        cli, tmp_path, long, rule.r)


def test_loop_by_data(cli, tmp_path):
    nodes = [node("ReduceMax", "h", "l_max", keepdims=0), node("Less", "l_max ten", "l_on"),
             node("Add", "h h", "l_a")]
    inside = body(nodes, [value("i", INT64, []), value("on", BOOL, []), "h"],
                  [value("l_on", BOOL), "l_a"], {"ten": np.float32(10)})
    rule = Rule([node("Loop", "trips go x", "y", body=inside, name="around")], {"x": [3]},
                {"trips": np.array(2), "go": TRUE})
    assert '"around" (Loop): whether it goes on is known at run time only' in fails(
        cli, tmp_path, rule.model, rule.r)


def test_loop_last_condition(explain, run):
    """What the last step says about a further one does not count."""
    nodes = [node("ReduceMax", "h", "l_max", keepdims=0), node("Less", "l_max ten", "l_on"),
             node("Mul", "h h", "l_a")]
    inside = body(nodes, [value("i", INT64, []), value("on", BOOL, []), "h"],
                  [value("l_on", BOOL), "l_a"], {"ten": np.float32(10)})
    rule = Rule([node("Loop", "trips go x", "y", body=inside)], {"x": [3]},
                {"trips": np.array(1), "go": TRUE})
    check(rule, explain, run)


def test_loop_trips_at_run_time(cli, tmp_path):
    nodes = [node("ReduceSum", "x", "sum", keepdims=0), node("Cast", "sum", "trips", to=INT64),
             node("Loop", "trips go x", "y", body=loop_body(False), name="around")]
    rule = Rule(nodes, {"x": [3]}, {"go": TRUE, "w": floats(3)}, low=1)
    assert '"around" (Loop): its number of steps is known at run time only' in fails(
        cli, tmp_path, rule.model, rule.r)


# ---- Scan -------------------------------------------------------------------------------------


def scan_body():
    """s' = tanh(s + a w) b, and s' s."""
    nodes = [node("Mul", "a w", "s_a"), node("Add", "s_a s", "s_b"), node("Tanh", "s_b", "s_c"),
             node("Mul", "s_c b", "s_d"), node("Mul", "s_d s", "s_e")]
    return body(nodes, ["s", "a", "b"], ["s_d", "s_e"])


@pytest.mark.parametrize("attributes", [
    {"scan_input_axes": [1, 1]},
    {"scan_input_axes": [1, -2], "scan_input_directions": [1, 0],
     "scan_output_directions": [1], "scan_output_axes": [1]},
    {"scan_input_axes": [1, 1], "scan_output_axes": [-1]},
])
def test_scan(attributes, explain, run):
    nodes = [node("Sin", "x", "b"),
             node("Scan", "s x b", "last all", body=scan_body(), num_scan_inputs=2,
                  **attributes),
             node("Transpose", "all", "turned",
                  perm=[0, 1, 2] if "scan_output_axes" in attributes else [1, 0, 2]),
             node("Reshape", "turned wide", "all_flat"),
             node("Concat", "last all_flat", "y", axis=1)]
    nodes.insert(1, node("ReduceMean", "x one", "s", keepdims=0))
    constants = {"w": floats(3), "wide": ints(0, -1), "one": ints(1)}
    check(Rule(nodes, {"x": [4, 3]}, constants, low=-1, high=1), explain, run)


BAG = 5


def bags(op, length=BAG):
    """PyTorch's export of EmbeddingBag over x [N, BAG]: a step a sample, which takes its part of
    all tokens from one offset to the next and adds up or averages what they are embedded as."""
    inner = body([node("Gather", "offsets t", "from0"), node("Gather", "ends t", "to0"),
                  node("Unsqueeze", "from0 zeros", "from"), node("Unsqueeze", "to0 zeros", "to"),
                  node("Slice", "tokens from to zeros", "part"),
                  node("Gather", "table part", "rows"),
                  node(op, "rows zeros", "bag", keepdims=0), node("Cast", "yes", "on", to=BOOL)],
                 [value("t", INT64, []), value("go", BOOL, [])], [value("on", BOOL, []), "bag"])
    nodes = [node("Shape", "x", "shape"), node("ReduceProd", "shape", "all", keepdims=0),
             node("Range", "zero all length", "range"), node("Reshape", "x flat", "tokens"),
             node("Shape", "tokens", "size"), node("Concat", "range size", "offsets", axis=0),
             node("Slice", "offsets one end zeros", "ends"), node("Shape", "ends", "count"),
             node("Gather", "count zero", "bags"), node("Loop", "bags yes", "b", body=inner),
             node("MatMul", "b w", "y")]
    constants = {"zero": np.array(0), "zeros": ints(0), "one": ints(1), "yes": TRUE,
                 "end": ints(np.iinfo(np.int64).max), "flat": ints(-1),
                 "length": np.array(length), "table": floats(20, 4, seed=3),
                 "w": floats(4, 2, seed=4)}
    graph = body(nodes, [value("x", INT64, ["N", BAG])], [value("y", FLOAT, ["N", 2])], constants)
    return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)])


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceSum", "ReduceMax"])
def test_loop_over_samples(op, explain, run):
    """All bags at once, so that the batch stays free; means and sums are exact."""
    rng = np.random.default_rng(1)
    x, r = rng.integers(0, 20, (6, BAG)), rng.integers(0, 20, (4, BAG))
    path = explain(bags(op), r, "--target=all")
    properties = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert properties["onnxexplainer.cache"] == "load"
    out = run(path, x)
    np.testing.assert_allclose(out["x_shap"].sum(-1), out["y"] - out["base_value"], atol=1e-5)
    if op != "ReduceMax":
        table, w = floats(20, 4, seed=3), floats(4, 2, seed=4)
        each = (table[x] - table[r].mean(0)) @ w / (BAG if op == "ReduceMean" else 1)
        np.testing.assert_allclose(out["x_shap"], each.transpose(0, 2, 1), atol=1e-5)


def test_loop_of_steps_that_are_apart(explain, run):
    """A known number of steps, each with its row of a table, and a state that passes."""
    inner = body([node("Gather", "rows t", "b"), node("Mul", "s b", "d"), node("Tanh", "d", "e"),
                  node("Identity", "s", "same"), node("Identity", "go", "on")],
                 [value("t", INT64, []), value("go", BOOL, []), "s"],
                 [value("on", BOOL, []), "same", "e"])
    nodes = [node("Loop", "six yes x", "last z", body=inner),
             node("Transpose", "z", "y", perm=[1, 0, 2])]
    rule = Rule(nodes, {"x": [3]}, {"six": np.array(6), "yes": TRUE, "rows": floats(6, 3, seed=5)})
    check(rule, explain, run)
    explained = onnx.load(explain(rule.model, rule.r, "--target=0", "--no-functions"))
    assert sum(n.op_type == "Tanh" for n in explained.graph.node) <= 4


ROWS = np.abs(floats(5, 3, seed=8))
BODY = {"last": ints(-1), "first": ints(0), "three": np.float32(3), "one_three": ints(1, 3),
        "all": ints(-1, 3), "weight": floats(3, 3, seed=9), "table": floats(3, seed=4)}
APART = { # of the state s [N, 3] and a row b [3]: nodes, how y is made of z, attributes
    "cdist": ([node("Sub", "s b", "d"), node("Mul", "d d", "q"),
               node("ReduceSum", "q last", "out", keepdims=0)], [1, 0], {}),
    "minkowski": ([node("Sub", "s b", "d"), node("Abs", "d", "e"), node("Pow", "e three", "q"),
                   node("ReduceSum", "q last", "p"), node("Squeeze", "p last", "out")], [1, 0], {}),
    "broadcast": ([node("Unsqueeze", "b last", "c"), node("Unsqueeze", "s last", "t"),
                   node("Mul", "c t", "m"), node("Transpose", "m", "n", perm=[2, 0, 1]),
                   node("ReduceMax", "n first", "out", keepdims=0)], [1, 0, 2], {}),
    "matmul": ([node("Reshape", "b one_three", "a"), node("MatMul", "s weight", "m"),
                node("Transpose", "a", "t"), node("MatMul", "m t", "c"),
                node("Softmax", "m", "p", axis=1), node("Concat", "c p", "out", axis=-1)],
               [1, 0, 2], {}),
    "same in all": ([node("Tanh", "s", "h"), node("Reshape", "h all", "out")], [1, 0, 2], {}),
    "backward": ([node("Add", "s b", "d"), node("Exp", "d", "out")], [1, 0, 2],
                 {"scan_input_directions": [1]}),
    "axes": ([node("Add", "s b", "d"), node("Sigmoid", "d", "out")], [0, 1, 2],
             {"scan_output_axes": [1], "scan_output_directions": [1]}),
    "columns": ([node("Mul", "b b", "c"), node("ReduceSum", "c", "d", keepdims=0),
                 node("Mul", "s d", "out")], [1, 0, 2], {"scan_input_axes": [1]}),
    "softmax": ([node("Mul", "s b", "m"), node("Softmax", "m", "out", axis=1)], [1, 0, 2], {}),
    "gather": ([node("Cast", "b", "i", to=INT64), node("Gather", "table i", "g"),
                node("Mul", "s g", "out")], [1, 0, 2], {}),
}


@pytest.mark.parametrize("name", APART)
def test_scan_of_steps_that_are_apart(name, explain, run):
    """All steps at once: the body is there once, not once a row."""
    nodes, perm, attributes = APART[name]
    used = {i for n in nodes for i in n.input}
    inner = body([node("Identity", "s", "t_out"), *nodes], ["s", "b"], ["t_out", "out"],
                 {k: v for k, v in BODY.items() if k in used})
    scan = node("Scan", "x rows", "same z", body=inner, num_scan_inputs=1, **attributes)
    rule = Rule([scan, node("Transpose", "z", "y", perm=perm)], {"x": [3]}, {"rows": ROWS})
    check(rule, explain, run)
    explained = onnx.load(explain(rule.model, rule.r, "--target=0", "--no-functions"))
    for op in ("Exp", "Tanh", "Sigmoid", "Pow"): # 5 steps would have 5 for each side
        assert sum(n.op_type == op for n in explained.graph.node) <= 4


def test_scan_of_many_rows(explain, run):
    """As exported of a Gaussian process: the file does not grow with its rows but by these."""
    sizes = []
    for rows in (2, 200):
        inner = body([node("Identity", "s", "t_out"), node("Sub", "s b", "d"),
                      node("ReduceSumSquare", "d one", "q", keepdims=0)], ["s", "b"],
                     ["t_out", "q"], {"one": ints(1)})
        scan = node("Scan", "x rows", "same z", body=inner, num_scan_inputs=1)
        rule = Rule([scan, node("Neg", "z", "n"), node("Exp", "n", "e"),
                     node("Transpose", "e", "y", perm=[1, 0])], {"x": [6]},
                    {"rows": floats(rows, 6, seed=3)})
        path = explain(rule.model, rule.r, "--target=0")
        sizes.append(len(onnx.load(path).graph.node))
        out = run(path, rule.x)
        np.testing.assert_allclose(out["x_shap"].sum(-1), out["out"][:, 0] - out["base_value"],
                                   atol=1e-4)
    assert abs(sizes[1] - sizes[0]) < 10


def test_scan_over_batch(explain, run):
    """Steps from sample to sample: only one at a time is explained."""
    nodes = [node("Scan", "s x x", "last y", body=scan_body(), num_scan_inputs=2)]
    rule = Rule(nodes, {"x": [3]}, {"w": floats(3), "s": floats(3)})
    out = run(explain(rule.model, rule.r["x"], "--target=all"), rule.x["x"][:1])
    base = np.mean([run(rule.model, r[None])["out"] for r in rule.r["x"]], axis=0)
    np.testing.assert_allclose(out["x_shap"].sum(axis=2), out["out"] - base, atol=1e-4)


# ---- sequences --------------------------------------------------------------------------------


def test_sequence_construct(explain, run):
    nodes = [node("Exp", "x", "a"), node("Sin", "x", "b"), node("SequenceConstruct", "a b x", "s"),
             node("SequenceInsert", "s h at", "t"), node("Tanh", "x", "h"),
             node("SequenceErase", "t", "u"), node("SequenceErase", "u zero", "v"),
             node("SequenceAt", "v minus", "c"), node("SequenceAt", "v zero", "d"),
             node("Mul", "c d", "y")]
    nodes.insert(2, nodes.pop(4))
    constants = {"at": np.array(1), "zero": np.array(0), "minus": np.array(-1)}
    check(Rule(nodes, {"x": [4]}, constants), explain, run)


@pytest.mark.parametrize("new_axis, axis", [(0, 1), (0, -1), (1, 1), (1, -1)])
def test_concat_from_sequence(new_axis, axis, explain, run):
    nodes = [node("SequenceEmpty", "", "e"), node("Exp", "x", "a"),
             node("SequenceInsert", "e a", "f"), node("SequenceInsert", "f x", "g"),
             node("ConcatFromSequence", "g", "y", axis=axis, new_axis=new_axis)]
    nodes[0] = helper.make_node("SequenceEmpty", [], ["e"])
    check(Rule(nodes, {"x": [2, 3]}), explain, run)


@pytest.mark.parametrize("split, keep", [(None, 1), (None, 0), (np.array(2), 1),
                                         (ints(1, 3, 1), 1)])
def test_split_to_sequence(split, keep, explain, run):
    inputs = "x" if split is None else "x split"
    nodes = [node("SplitToSequence", inputs, "s", axis=1, keepdims=keep),
             node("SequenceAt", "s one", "a"), node("SequenceLength", "s", "length"),
             node("Cast", "length", "number", to=FLOAT), node("Exp", "a", "b"),
             node("Mul", "b number", "y")]
    constants = {"one": np.array(1), **({} if split is None else {"split": split})}
    check(Rule(nodes, {"x": [5]}, constants), explain, run)


def test_sequence_map(explain, run):
    inside = body([node("Mul", "i_a i_b", "i_c"), node("Tanh", "i_c", "i_d")], ["i_a", "i_b"],
                  ["i_d", "i_c"])
    nodes = [node("SplitToSequence", "x", "s", axis=1),
             node("SequenceMap", "s w", "t u", body=inside),
             node("ConcatFromSequence", "t", "a", axis=1),
             node("ConcatFromSequence", "u", "b", axis=1), node("Add", "a b", "y")]
    check(Rule(nodes, {"x": [4]}, {"w": floats(1)}), explain, run)


def test_sequence_through_loop(explain, run):
    """Lists that a loop appends to, as exporters write them."""
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None))
    inside = body([node("Gather", "x i", "l_a", axis=1), node("Sigmoid", "l_a", "l_b"),
                   node("SequenceInsert", "list l_b", "l_c"), node("Identity", "on", "l_on")],
                  [value("i", INT64, []), value("on", BOOL, []),
                   helper.make_value_info("list", kind)],
                  [value("l_on", BOOL), helper.make_value_info("l_c", kind)])
    nodes = [helper.make_node("SequenceEmpty", [], ["e"]),
             node("Loop", "trips go e", "s", body=inside),
             node("ConcatFromSequence", "s", "y", axis=1, new_axis=1)]
    check(Rule(nodes, {"x": [4, 2]}, {"trips": np.array(4), "go": TRUE}), explain, run)


def test_sequence_position(cli, tmp_path):
    rule, model = held([node("Exp", "x", "a"), node("SequenceConstruct", "x a", "s"),
                        node("Cast", "c", "at", to=INT64),
                        node("SequenceAt", "s at", "y", name="pick")])
    assert '"pick" (SequenceAt): its position is known at run time only' in fails(
        cli, tmp_path, model, rule.r, "--hold=c")


# ---- optional values --------------------------------------------------------------------------


@pytest.mark.parametrize("has", [True, False])
def test_optional(has, explain, run):
    kind = helper.make_tensor_type_proto(FLOAT, ["N", 4])
    then = body([node("OptionalGetElement", "o", "t_a"), node("Exp", "t_a", "t_b")], [], ["t_b"])
    other = body([node("Sin", "x", "e_a")], [], ["e_a"])
    first = (node("Optional", "x", "o") if has
             else helper.make_node("Optional", [], ["o"], type=kind))
    nodes = [first, node("OptionalHasElement", "o", "c"),
             node("If", "c", "y", then_branch=then, else_branch=other)]
    check(Rule(nodes, {"x": [4]}), explain, run)


# ---- the explained model ----------------------------------------------------------------------


@pytest.mark.parametrize("options", [["--cache=load"], ["--cache=none"], ["--cache=file"],
                                     ["--chunk=1"], ["--chunk=2", "--cache=none"]])
def test_ways_of_keeping_references(options, explain, run):
    """The node in the middle of a model: its references come from its parts everywhere."""
    nodes = [node("Exp", "x", "h0"), branches("z"),
             node("Loop", "trips go z", "last all", body=loop_body()),
             node("Softmax", "last", "y")]
    constants = {"c": FALSE, "w": floats(3), "trips": np.array(2), "go": TRUE}
    rule = Rule(nodes, {"x": [3]}, constants)
    path = explain(rule.model, rule.r["x"], "--target=all", *options)
    out = run(path, rule.x["x"])
    gap = run(rule.model, rule.x["x"])["out"] - run(rule.model, rule.r["x"])["out"].mean(axis=0)
    np.testing.assert_allclose(out["x_shap"].sum(axis=2), gap, atol=1e-4)


def test_original_nodes_stay(explain):
    nodes = [branches("z"), node("Loop", "trips go z", "y", body=loop_body(False))]
    constants = {"c": TRUE, "w": floats(3), "trips": np.array(2), "go": TRUE}
    rule = Rule(nodes, {"x": [3]}, constants)
    graph = onnx.load(explain(rule.model, rule.r["x"])).graph
    kept = [n for n in graph.node if not n.name.startswith("onnxexplainer")]
    assert [n.SerializeToString() for n in kept] == [
        n.SerializeToString() for n in rule.model.graph.node]


def test_silero(shared, explain, run):
    """A voice detector with a net for each rate, which is held: the one that is not taken for the
    rate at hand gets nothing."""
    folder = shared / "models" / "silero_vad_ifless"
    names = ["input", "state"]
    x, r = ({name: np.load(folder / f"{kind}_{name}.npy") for name in names}
            for kind in ("input", "background"))
    path = explain(folder / "model.onnx", r, "--hold=sr", "--output-name=output", "--target=0")
    x = {"input": np.concatenate([x["input"], 0.5 * x["input"]]),
         "state": np.concatenate([x["state"]] * 2, axis=1)}
    for rate in (8000, 16000):
        held_rate = {"sr": np.array(rate)}
        out = run(path, {**x, **held_rate})
        y = run(str(folder / "model.onnx"), {**x, **held_rate})["output"]
        y0 = run(str(folder / "model.onnx"), {**r, **held_rate})["output"]
        np.testing.assert_array_equal(out["output"], y)
        total = out["input_shap"].sum(axis=1) + out["state_shap"].sum(axis=(0, 2))
        np.testing.assert_allclose(total, (y - y0)[:, 0], atol=1e-5)


def test_long_loop(explain, run):
    """Hundreds of steps."""
    nodes = [node("Mul", "h w", "l_a"), node("Sin", "l_a", "l_b"), node("Identity", "on", "l_on")]
    inside = body(nodes, [value("i", INT64, []), value("on", BOOL, []), "h"],
                  [value("l_on", BOOL), "l_b"])
    rule = Rule([node("Loop", "trips go x", "y", body=inside)], {"x": [2]},
                {"trips": np.array(500), "go": TRUE, "w": np.full(2, 1.5, np.float32)}, low=1)
    out = run(explain(rule.model, rule.r["x"], "--target=all"), rule.x["x"])
    gap = out["out"] - run(rule.model, rule.r["x"])["out"].mean(axis=0)
    np.testing.assert_allclose(out["x_shap"].sum(axis=2), gap, atol=1e-4)
