"""The IR version of explained models: the lowest that what they hold needs, as runtimes refuse
files of a version later than themselves."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

R = np.float32([[0.5, -1, 2], [1, 1, 1]])


def model(nodes=(), ir=13, opset=18, functions=(), weights=(), imports=(), outputs=()):
    """Relu x, with more nodes beside it; the inner Relu makes functions of ours."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Sigmoid", ["r"], ["y"]), *nodes],
        "test", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3]),
         *(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in outputs)],
        weights)
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in imports)]
    return helper.make_model(graph, opset_imports=imports, functions=functions, ir_version=ir)


def through(kind):
    return [helper.make_node("Cast", ["x"], ["c"], to=kind),
            helper.make_node("Cast", ["c"], ["z"], to=TensorProto.FLOAT)]


def with_function(default):
    attributes = [helper.make_attribute("alpha", 0.5)] if default else []
    leaky = helper.make_node("LeakyRelu", ["a"], ["b"])
    leaky.attribute.add(name="alpha", ref_attr_name="alpha", type=onnx.AttributeProto.FLOAT)
    made = helper.make_function("own", "Leak", ["a"], ["b"], [leaky],
                                [helper.make_opsetid("", 18)],
                                attributes=[] if default else ["alpha"],
                                attribute_protos=attributes)
    call = helper.make_node("Leak", ["x"], ["z"], domain="own", **({} if default else
                                                                   {"alpha": 0.5}))
    return model([call], functions=[made], imports=["own"], outputs=["z"])


def overloaded():
    made = with_function(False)
    made.functions[0].overload = made.graph.node[2].overload = "second"
    return made


def described():
    """What a reader skips that does not know of it."""
    made = model()
    for message in (made.graph, made.graph.node[0], made.graph.output[0]):
        message.metadata_props.add(key="written by", value="an exporter")
    return made


FOUR_BITS = helper.make_tensor("q", TensorProto.INT4, [3], [1, -2, 7])
CASES = {
    "plain": (model(), 8, 4),
    "of version 3": (model(ir=3), 8, 4),
    "of version 9": (model(ir=9), 8, 4),
    "metadata": (described(), 8, 4),
    "float8": (model(through(TensorProto.FLOAT8E4M3FN), opset=19, outputs=["z"]), 9, 9),
    "int4": (model([helper.make_node("DequantizeLinear", ["q", "s"], ["d"]),
                    helper.make_node("Add", ["x", "d"], ["z"])], opset=21, outputs=["z"],
                   weights=[FOUR_BITS, numpy_helper.from_array(np.float32(0.5), "s")]), 10, 10),
    "float4": (model(through(TensorProto.FLOAT4E2M1), opset=23, outputs=["z"]), 11, 11),
    "a version too low": (model(through(TensorProto.FLOAT8E4M3FN), ir=8, opset=19,
                                outputs=["z"]), 8, 8),
    "functions, which are written out": (with_function(False), 8, 4),
    "a function's default": (with_function(True), 8, 4),
    "an overload": (overloaded(), 8, 4),
}


@pytest.mark.parametrize("name", CASES)
def test_lowest(explain, name):
    original, ours, without = CASES[name]
    for options, version in ([], ours), (["--no-functions"], without):
        made = onnx.load(explain(original, R, "--output-name=y", *options))
        assert made.ir_version == version
        assert {f.domain for f in made.functions} <= {"onnxexplainer"}
        if name != "a version too low":
            onnx.checker.check_model(made, full_check=True)


def test_metadata_stays(explain):
    made = onnx.load(explain(described(), R))
    assert made.graph.node[0].metadata_props[0].value == "an exporter"
    assert made.graph.metadata_props[0].value == "an exporter"
