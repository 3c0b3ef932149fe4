"""Nodes with any number of inputs and outputs, some of them left out, do not crash anything: each
is explained or refused with a clear line. Where nodes are refused when they are read, it is what
onnx.checker says, too, for every version of every operator."""

import itertools
import os
import pickle
import random
import re

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, checker, defs, helper, numpy_helper, parser
from onnxruntime.capi import onnxruntime_pybind11_state as ort

import library

RANDOM = 24  # cases an operator whose number of inputs and outputs fits
BODY = helper.make_graph([], "body", [], [])
# A value of each type of attribute, for those that an operator requires.
VALUES = {"FLOAT": 1.0, "INT": 1, "STRING": "x", "FLOATS": [1.0, 1.0], "INTS": [1, 1],
          "STRINGS": ["x"], "TENSOR": numpy_helper.from_array(np.ones(1, "f4")), "GRAPH": BODY}
CONSTANTS = {"w": np.ones((4, 4), "f4"), "v": np.ones(4, "f4"), "f": np.array(1, "f4"),
             "u": np.ones((2, 1, 4, 4), "f4"), "k": np.array([1, 4]), "s": np.array(1),
             "e": np.zeros(0, int), "b": np.ones(4, bool), "q": np.ones((4, 4), np.uint8)}
INITIALIZERS = [numpy_helper.from_array(value, name) for name, value in CONSTANTS.items()]
SHAPES = [4], [], [2, 4], [1, 4, 4], [2, 2, 3, 4]  # of the input, after its batch
PATHS = "itself", "product", "choice"  # from the node to the output


def schemas():
    """{(domain, operator): schemas of all its versions}: the standard's, and ONNX Runtime's of what
    the standard has not."""
    found = {}
    known = {(s.domain, s.name, s.since_version) for s in defs.get_all_schemas_with_history()}
    own = [s for s in ort.get_all_operator_schema() if s.domain in ("", "com.microsoft")
           and (s.domain, s.name, s.since_version) not in known]
    for schema in (*defs.get_all_schemas_with_history(), *own):
        found.setdefault((schema.domain, schema.name), []).append(schema)
    return {key: sorted(versions, key=lambda s: s.since_version)
            for key, versions in found.items()}


def required(schema):
    return {name: VALUES[a.type.name] for name, a in schema.attributes.items() if a.required}


# ---- no crash -------------------------------------------------------------------------------------

def any_number(schema):
    """Inputs, outputs, and whether the batch is fixed: 0, 1, 2, 9 inputs and as many as fit, with
    the first or one of the inner ones left out; 1 to 3 outputs."""
    counts = {0, 1, 2, 9, schema.min_input, min(schema.max_input, 9)}
    inputs = [["x", *"wkwkwkwks"][:count] for count in sorted(counts)]
    inputs += [["", "x"], ["", "w", "x"], ["x", "", "k"], ["w", "", "x"]]
    return itertools.product(inputs, (1, 2, 3), (False, True))


def that_fit(schema, rng):
    """The same with numbers that the schema allows, and any values in these places."""
    inputs = rng.randint(schema.min_input, max(min(schema.max_input, 9), schema.min_input))
    least = max(schema.min_output, 1)
    outputs = rng.randint(least, max(least, min(schema.max_output, 3)))
    values = [*CONSTANTS, "x", "x", "x"]
    return [rng.choice(values) for _ in range(inputs)], outputs, rng.random() < 0.3


def model_of(schema, inputs, outputs, fixed, shape, path):
    """A model of this node, whose last output is explained: as it is, multiplied, or as a choice."""
    results = [*(f"o{i}" for i in range(1, outputs)), "t"]
    node = helper.make_node(schema.name, inputs, results, domain=schema.domain, **required(schema))
    after = {"itself": [helper.make_node("Identity", ["t"], ["y"])],
             "product": [helper.make_node("Mul", ["t", "f"], ["p"]),
                         helper.make_node("Mul", ["p", "x"], ["y"])],
             "choice": [helper.make_node("Cast", ["t"], ["p"], to=TensorProto.BOOL),
                        helper.make_node("Where", ["p", "x", "f"], ["y"])]}[path]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4 if fixed else "N", *shape])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node, *after], "g", [x], [y], INITIALIZERS)
    imports = [helper.make_opsetid("", 28)]
    if schema.domain:
        imports.append(helper.make_opsetid(schema.domain, schema.since_version))
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def cases():
    known = schemas()
    for domain, op in library.rules():
        if domain == "onnxexplainer":
            continue
        schema = known[domain, op][-1]
        rng = random.Random(f"{domain} {op}")
        yield from ((schema, *case, SHAPES[0], rng.choice(PATHS)) for case in any_number(schema))
        for _ in range(RANDOM):
            yield schema, *that_fit(schema, rng), rng.choice(SHAPES), rng.choice(PATHS)


def outcome(case):
    """What the library makes of it: "explained", or why not."""
    _, _, _, fixed, shape, _ = case
    model = model_of(*case)
    try:
        library.inspect(model)
        references = np.ones((4 if fixed else 2, *shape), "f4")
        library.explain(model, {"x": references}, target="all")
    except library.Refused as refused:
        return str(refused)
    return "explained"


def outcomes(cases, outcome):
    """Of each case, made in child processes: one that dies is a case with its signal."""
    found = {}
    while len(found) < len(cases):
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                with os.fdopen(write_end, "wb") as to:
                    for case in cases[len(found):]:
                        pickle.dump(outcome(case), to)
                        to.flush()
            finally:
                os._exit(0)
        os.close(write_end)
        with os.fdopen(read_end, "rb") as results:
            while True:
                try:
                    found[len(found)] = pickle.load(results)
                except EOFError:
                    break
        status = os.waitpid(child, 0)[1]
        if len(found) < len(cases):
            found[len(found)] = f"crash: status {os.waitstatus_to_exitcode(status)}"
    return found


def test_no_crash():
    tried = list(cases())
    described = [(s.domain, s.name, *rest) for s, *rest in tried]
    found = outcomes(tried, outcome)
    crashes = [(described[i], what) for i, what in found.items() if what.startswith("crash")]
    assert crashes == []
    assert all(what and "\n" not in what for what in found.values())
    explained = {described[i][:2] for i, what in found.items() if what == "explained"}
    assert len(described) > 4590 and len(explained) > 100


BODIES = {"same": "y = Relu(x)", "flat": "h = Flatten(x) y = Tanh(h)",
          "sum": "y = ReduceSum<keepdims = 0>(x)", "turned": "y = Transpose(x)",
          "shaped": "s = Shape(x) h = Reshape(x, s) g = Flatten(h) y = Relu(g)"}


def outcome_of_axes(case):
    """The same for an input of many axes."""
    body, rank, free, options = case
    dims = ", ".join(["N" if free else "1"] * min(rank, 1) + ["1"] * max(rank - 1, 0))
    model = parser.parse_model(f"""<ir_version: 8, opset_import: ["": 18]>
        g (float[{dims}] x) => (float y) {{ {BODIES[body]} }}""")
    if rank == 0:
        del model.graph.input[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    try:
        library.inspect(model)
        library.explain(model, None, **options)
    except library.Refused as refused:
        return str(refused)
    return "explained"


def test_many_axes():
    options = {}, {"no_batch": True}, {"chunk": 1}
    tried = list(itertools.product(BODIES, (0, 1, 2, 8, *range(24, 35), 63, 64), (False, True),
                                   options))
    found = outcomes(tried, outcome_of_axes)
    assert [(tried[i], what) for i, what in found.items() if what.startswith("crash")] == []
    for i, (_, rank, *_) in enumerate(tried):
        assert rank < 27 or "too many axes" in found[i], (tried[i], found[i])
    assert "explained" in found.values()


# ---- what onnx.checker says -----------------------------------------------------------------------

def nodes_of(schema):
    """Nodes with each number of inputs and outputs up to one too many, with each of them left out;
    without each of the attributes that are required, with others, twice and of another type."""
    most_in, most_out = (min(n, 12) for n in (schema.max_input, schema.max_output))
    least = ["x"] * schema.min_input, [f"y{i}" for i in range(schema.min_output)]
    given = required(schema)

    def node(inputs, outputs, attributes):
        return helper.make_node(schema.name, inputs, outputs, domain=schema.domain, **attributes)

    for count in range(most_in + 2):
        yield node(["x"] * count, least[1], given)
        for i in range(min(count, len(schema.inputs))):
            yield node(["x"] * i + [""] + ["x"] * (count - i - 1), least[1], given)
    for count in range(most_out + 2):
        names = [f"y{i}" for i in range(count)]
        yield node(least[0], names, given)
        for i in range(min(count, len(schema.outputs))):
            yield node(least[0], [*names[:i], "", *names[i + 1:]], given)
    for name, attribute in schema.attributes.items():
        yield node(*least, {key: value for key, value in given.items() if key != name})
        for kind, value in VALUES.items():
            changed = node(*least, given | {name: value})
            yield changed
        twice = node(*least, given | {name: VALUES.get(attribute.type.name, 1)})
        twice.attribute.append(next(a for a in twice.attribute if a.name == name))
        yield twice
    yield node(*least, given | {"unheard_of": 1})
    yield node(*least, given | {"__unheard_of": 1})


def refused(node, imports):
    """What the library says when it reads a model of this node; None where it reads it."""
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("x", "z")]
    graph = helper.make_graph([node, helper.make_node("Relu", ["x"], ["z"])], "g", values[:1],
                              values[1:])
    ids = [helper.make_opsetid(*item) for item in imports.items()]
    try:
        library.library.ox_free(library.read(helper.make_model(graph, opset_imports=ids,
                                                               ir_version=10)))
    except library.Refused as what:
        return str(what)
    return None


def checker_refuses(node, imports):
    context = checker.C.CheckerContext()
    context.ir_version, context.opset_imports = 10, imports
    try:
        checker.check_node(node, context)
    except checker.ValidationError:
        return True
    return False


def leaves_out_of_many(schema, node):
    """One of inputs or outputs that repeat is left out: the checker does not mind, runtimes do."""
    return any(formals and formals[-1].option.name == "Variadic" and "" in names[len(formals) - 1:]
               for formals, names in ((schema.inputs, node.input), (schema.outputs, node.output)))


def is_between(schema, node):
    """BatchNormalization has one output or all, which its schema does not tell; its rule does."""
    return schema.name == "BatchNormalization" and 1 < len(node.output) < schema.max_output


def spans(domain):
    """Schemas of the standard with the first and the last version that they are of."""
    for (of, _), versions in schemas().items():
        own = [s for s in versions if of == domain and not s.support_level.name == "EXPERIMENTAL"
               and isinstance(s, defs.OpSchema)]
        for schema, following in itertools.zip_longest(own, own[1:]):
            last = following.since_version - 1 if following else defs.onnx_opset_version()
            if not schema.deprecated:
                yield schema, {schema.since_version, last if domain == "" else schema.since_version}


@pytest.mark.parametrize("domain", ["", "ai.onnx.ml"])
def test_checker(domain):
    """Every version of every operator of the standard."""
    compared = 0
    for schema, versions in spans(domain):
        for version, node in itertools.product(versions, nodes_of(schema)):
            imports = {"": 18} | {domain: version}
            wanted = checker_refuses(node, imports) or leaves_out_of_many(schema, node)
            what = refused(node, imports)
            assert (what is not None) == wanted or is_between(schema, node), (version, what, node)
            compared += 1
    assert compared > (20_000 if domain == "" else 1000)


def runtime_refuses(node, imports):
    """Whether ONNX Runtime finds fault with the form of the node, before it looks at values."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, None)
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    graph = helper.make_graph([node, helper.make_node("Relu", ["x"], ["z"])], "g", [x], [z])
    ids = [helper.make_opsetid(*item) for item in imports.items()]
    model = helper.make_model(graph, opset_imports=ids, ir_version=10)
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        onnxruntime.InferenceSession(model.SerializeToString(), options,
                                     providers=["CPUExecutionProvider"])
    except Exception as error:
        return re.search("not in range|marked single|Unrecognized attribute|Required attribute|"
                         "Mismatched attribute|appeared multiple", str(error)) is not None
    return False


def test_runtime():
    """The operators of com.microsoft that have a row, against ONNX Runtime."""
    compared = 0
    for domain, op in library.rules():
        if domain != "com.microsoft":
            continue
        schema = schemas()[domain, op][-1]
        nodes = list(nodes_of(schema))
        for node in random.Random(op).sample(nodes, min(len(nodes), 12)):
            imports = {"": 18, domain: 1}
            wanted = runtime_refuses(node, imports) or leaves_out_of_many(schema, node)
            what = refused(node, imports)
            assert (what is not None) == wanted, (what, node)
            compared += 1
    assert compared > 300


def test_later():
    """An operator that is not there yet, a version that nobody knows of, a domain not imported."""
    gelu = helper.make_node("Gelu", ["x"], ["y"])
    assert refused(gelu, {"": 19}) == ('node 0 "" (Gelu): there is no Gelu of opset 19, the first '
                                       "is that of 20")
    assert refused(gelu, {"": 20}) is None
    assert refused(helper.make_node("Gelu", [], ["y"]), {"": 99}) is None  # refused when explained
    quick = helper.make_node("QuickGelu", ["x", "x"], ["y"], domain="com.microsoft")
    assert "has 2 inputs" in refused(quick, {"": 18})
    foreign = helper.make_node("Relu", [], [], domain="some.other")
    assert refused(foreign, {"": 18}) is None
