"""Models that call kernels with shapes, attributes and indices that do not fit: ONNX Runtime gives
an error that names the operator, whichever twin runs; what is allowed after all gives the same
numbers on both, all of them written."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from conftest import BUILD

LIBRARY = str(BUILD / "libonnxexplainer_ops.so")


def ones(*shape):
    return np.ones(shape, np.float32)


def whole(*shape):
    return np.zeros(shape, np.int64)


X = ones(1, 16, 4, 4)
POOL = dict(block=16, targets=1, kernel_shape=[3, 3], strides=[1, 1], pads=[0] * 4,
            dilations=[1, 1])
PARTS = dict(block=16, steps=[2, 2], size=[8, 8])
FLOW = dict(block=16, targets=1)

# acc, m, x, x0, bounds, value, weights, feature, columns: three leaves of two features
TREES = [ones(), ones(1, 1, 1, 4, 1), ones(1, 4, 5), ones(1, 3, 5), ones(3, 1, 6), ones(3, 1),
         ones(3, 3, 3), whole(3, 2), np.arange(5)]


def trees(**changes):
    return [changes.get(f"i{k}", v) for k, v in enumerate(TREES)]


# operator, inputs (None: left out), attributes, what the error says
REFUSED = {
    "scale of fewer channels": ("BlockedReluFlow", [ones(1, 4096, 4, 4)] * 3 + [ones(1, 16, 1, 1)],
                                FLOW, "scale is"),
    "acc of fewer channels": ("BlockedReluFlow", [ones(1, 4096, 4, 4)] * 3 + [None, None, X], FLOW,
                              "acc is"),
    "m of a smaller plane": ("BlockedSumFlow", [ones(1, 16, 1, 2)] + [ones(1, 16, 200, 200)] * 2,
                             FLOW, "m is .1,16,1,2., other places"),
    "x0 of the plane turned": ("BlockedReluFlow", [X, X, ones(1, 16, 2, 8)], FLOW, "x0 is"),
    "a part of more rows": ("BlockedInterleave", [X, X, X, ones(500, 16, 4, 4)], PARTS, "input 3"),
    "parts of no whole blocks": ("BlockedInterleave", [ones(1, 31, 4, 4)] * 4, PARTS,
                                 "whole blocks"),
    "no parts": ("BlockedInterleave", [None] * 9, PARTS, "every part is missing"),
    "a size below 0": ("BlockedInterleave", [X] * 4, dict(PARTS, size=[-8, 8]), "size has -8"),
    "a huge size": ("BlockedInterleave", [X] * 4, dict(PARTS, size=[2 ** 62, 2 ** 62]), "size has"),
    "too large a size": ("BlockedInterleave", [X] * 4, dict(PARTS, size=[9, 8]), "too small"),
    "a part too many": ("BlockedInterleave", [X] * 5, PARTS, "beyond the steps"),
    "too many steps": ("BlockedInterleave", [X] * 4, dict(PARTS, steps=[4, 3]), "steps has"),
    "no targets": ("BlockedReluFlow", [X] * 3, dict(block=16), "targets is missing"),
    "targets of floats": ("BlockedReluFlow", [X] * 3, dict(block=16, targets=float("nan")),
                          "targets is missing, or not 1 integer"),
    "targets that m has not": ("BlockedReluFlow", [X] * 3, dict(block=16, targets=2), "m is"),
    "huge targets": ("BlockedReluFlow", [X, ones(4, 16, 4, 4), X], dict(block=16, targets=2 ** 62),
                     "targets has"),
    "targets that overflow": ("BlockedReluFlow", [ones(2, 16, 1, 1), ones(1, 16, 1, 1),
                                                  ones(3, 16, 1, 1)],
                              dict(block=16, targets=6148914691236517206), "targets has"),
    "no block": ("BlockedReluFlow", [X] * 3, dict(targets=1), "block is missing"),
    "a block of 0": ("BlockedReluFlow", [X] * 3, dict(FLOW, block=0), "block has 0"),
    "a block below 0": ("BlockedReluFlow", [X] * 3, dict(FLOW, block=-16), "block has -16"),
    "a huge block": ("BlockedReluFlow", [X] * 3, dict(FLOW, block=2 ** 40), "outside 1 to 8192"),
    "part of a block": ("BlockedSwishFlow", [X] * 3, dict(FLOW, block=8192), "whole blocks"),
    "three axes": ("BlockedReluFlow", [X, X, ones(16, 4, 4)], FLOW, "not of four axes"),
    "a huge dilation": ("BlockedMaxPoolFlow", [X] * 3, dict(POOL, dilations=[2 ** 62, 1]),
                        "dilations has"),
    "huge pads": ("BlockedMaxPoolFlow", [X] * 3, dict(POOL, pads=[2 ** 62, 0, 0, 0]), "pads has"),
    "pads below 0": ("BlockedMaxPoolFlow", [X] * 3, dict(POOL, pads=[-2 ** 63, -5, 0, 0]),
                     "pads has"),
    "two pads": ("BlockedMaxPoolFlow", [X] * 3, dict(POOL, pads=[0, 0]),
                 "pads is missing, or not 4"),
    "nine strides": ("BlockedMaxPoolFlow", [X] * 3, dict(POOL, strides=[1] * 9), "strides is"),
    "a huge stride": ("BlockedMaxPoolFlow", [X] * 3, dict(POOL, strides=[2 ** 61] * 2),
                      "strides has"),
    "more windows than places": ("BlockedMaxPoolFlow", [ones(1, 16, 90, 90), X, X],
                                 dict(POOL, pads=[50, 50, 0, 0]), "more windows"),
    "a huge window": ("BlockedMaxPoolFlow", [X] * 3, dict(POOL, kernel_shape=[2 ** 20] * 2),
                      "kernel_shape has"),
    "winners beyond": ("WinnerFlow", [ones(1, 2), ones(1, 4), ones(1, 4), whole(1, 2) + 10 ** 9,
                                      whole(1, 2)], {}, "an index lies outside"),
    "winners below 0": ("WinnerFlow", [ones(1, 2), ones(1, 4), ones(1, 4), whole(1, 2) - 1,
                                       whole(1, 2)], {}, "an index lies outside"),
    "winners of other batches": ("WinnerFlow", [ones(3, 2), ones(2, 4), ones(1, 4), whole(1, 2),
                                                whole(1, 2)], {}, "x is .2,4., which does not"),
    "a number for m": ("WinnerFlow", [ones(), ones(1, 4), ones(1, 4), whole(1, 2), whole(1, 2)], {},
                       "m is"),
    "axes beyond the limit": ("ReluFlow", [ones(*[1] * 32, 3), ones(3), ones(3)], {}, "33 axes"),
    "a mean without references": ("MeanFlow", [ones(3), ones(3), ones()], {}, "x0 is"),
    "a mean of other references": ("MeanFlow", [ones(2, 3), ones(3), ones(3, 3)], {}, "input 2 is"),
    "flows of other lengths": ("TanhFlow", [ones(2, 3), ones(4, 3), ones(2, 3), ones(3), ones(3)],
                               {}, "input 1 is .4,3., which does not broadcast"),
    "too large together": ("MulFlow", [ones(2 ** 16, 1, 1), ones(2 ** 16, 1), ones(2 ** 16)], {},
                           "too large a shape"),
    "softmax of one x": ("SoftmaxScoresFlow", [ones(2, 5), ones(2, 1), ones(2, 5)], {},
                         "whole last axis"),
    "a root for each number": ("LayerNormFlow", [ones(2, 5)] * 5, {}, "whole last axis"),
    "a shape of other parts": ("Interleave2x2", [ones(1, 1, 2, 2)] * 4 + [np.array([1, 1, 4, 5])],
                               {}, "axis 3 is to have 5, of 4"),
    "parts of other sizes": ("Interleave2x2", [ones(9, 9, 20, 20)] + [ones(1, 1, 2, 2)] * 3
                             + [np.array([0, 0, 40, 40])], {}, "input 1 is"),
    "a shape below 0": ("Interleave2x2Cut", [ones(1, 1, 2, 2)] * 4 + [np.array([1, 1, -4, 4])], {},
                        "axis 2 is to have -4"),
    "a shape of three": ("Spread2x2At0x0", [ones(1, 1, 2, 2), np.array([1, 1, 4])], {},
                         "the shape is"),
    "a feature beyond": ("TreeFlow", trees(i7=whole(3, 2) + 5, i8=np.arange(9)), {},
                         "a feature lies outside"),
    "a feature below 0": ("TreeFlow", trees(i7=whole(3, 2) - 1), {}, "a feature lies outside"),
    "a feature without a column": ("TreeFlow", trees(i8=np.arange(1, 5)), {},
                                   "a feature lies outside"),
    "paths of many features": ("TreeFlow", trees(i7=whole(3, 33), i4=ones(3, 1, 99),
                                                 i6=ones(3, 34, 34)), {}, "feature is .3,33."),
    "bounds of others": ("TreeFlow", trees(i4=ones(3, 1, 7)), {}, "bounds is .3,1,7."),
    "weights of shorter paths": ("TreeFlow", trees(i6=ones(3, 2, 2)), {}, "weights is"),
    "values of other leaves": ("TreeFlow", trees(i5=ones(2, 1)), {}, "value is .2,1."),
    "m of other samples": ("TreeFlow", trees(i1=ones(1, 1, 1, 3, 1)), {}, "m is"),
    "m of other references": ("TreeFlow", trees(i1=ones(1, 1, 2, 4, 1)), {}, "m is"),
    "references of fewer features": ("TreeFlow", trees(i3=ones(1, 3, 4)), {}, "x0 is"),
    "acc of another shape": ("TreeFlow", trees(i0=ones(1, 1, 3, 4, 4)), {}, "acc is"),
    "a huge shape": ("Spread2x2At0x0", [ones(1, 1, 2, 2), np.array([1, 1, 2 ** 40, 2 ** 40])], {},
                     "axis 2 is to have"),
}

# what fits after all: empty tensors, one tensor as every input, many axes
ALLOWED = {
    "no samples": ("BlockedReluFlow", [ones(0, 16, 1, 1)] * 2 + [ones(1, 16, 1, 1)], FLOW),
    "no places": ("BlockedReluFlow", [ones(1, 16, 0, 4)] * 3, FLOW),
    "no places to sum": ("BlockedSumFlow", [ones(1, 16, 0, 4)] * 3, FLOW),
    "no channels": ("BlockedReluFlow", [ones(1, 0, 4, 4)] * 3, FLOW),
    "no windows": ("BlockedMaxPoolFlow", [ones(1, 16, 0, 0), X, X], POOL),
    "windows in padding": ("BlockedMaxPoolFlow", [X] * 3, dict(POOL, pads=[2, 9, 0, 0])),
    "parts left out": ("BlockedInterleave", [X, None, None, X], PARTS),
    "no winners": ("WinnerFlow", [ones(1, 0)] * 3 + [whole(1, 0)] * 2, {}),
    "only positions": ("WinnerFlow", [ones(1, 0)] + [ones(1, 4)] * 2 + [whole(1, 0)] * 2, {}),
    "an empty flow": ("ReluFlow", [ones(2, 0), ones(1, 0), ones(2, 0)], {}),
    "numbers": ("ReluFlow", [ones(), ones(), ones()], {}),
    "all axes": ("ReluFlow", [ones(*[1] * 31, 3), ones(3), ones(3)], {}),
    "no references": ("MeanFlow", [ones(0, 3), ones(3), ones(0, 3)], {}),
    "leaves": ("TreeFlow", trees(i7=np.array([[0, 1], [2, 2], [4, 0]]), i0=ones(1, 1, 3, 4, 5)),
               {}),
    "no leaves": ("TreeFlow", trees(i4=ones(3, 1, 0), i5=ones(0, 1), i7=whole(0, 2)), {}),
    "no ranges": ("TreeFlow", trees(i4=ones(3, 0, 6)), {}),
    "no references of leaves": ("TreeFlow", trees(i3=ones(1, 0, 5)), {}),
    "no samples of leaves": ("TreeFlow", trees(i1=ones(1, 1, 1, 0, 1), i2=ones(1, 0, 5)), {}),
    "an empty part": ("Spread2x2At1x1", [ones(1, 1, 0, 0), np.array([0, 0, 0, 0])], {}),
}


def run(op, inputs, attributes, isa, monkeypatch, declared=True):
    monkeypatch.setenv("ONNXEXPLAINER_ISA", isa)
    feeds = {f"i{k}": v for k, v in enumerate(inputs) if v is not None}
    infos = [helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape if declared else None)
        for name, v in feeds.items()]
    names = [f"i{k}" if v is not None else "" for k, v in enumerate(inputs)]
    node = helper.make_node(op, names, ["y"], domain="onnxexplainer", **attributes)
    graph = helper.make_graph([node], "g", infos, [
        helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    model = helper.make_model(graph, ir_version=8, opset_imports=[
        helper.make_opsetid("", 18), helper.make_opsetid("onnxexplainer", 1)])
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(LIBRARY)
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False  # what was freed before shows where nothing is written
    session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


@pytest.mark.parametrize("declared", [True, False], ids=["shapes", "no shapes"])
@pytest.mark.parametrize("isa", ["best", "naive"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name, isa, declared, monkeypatch):
    op, inputs, attributes, message = REFUSED[name]
    with pytest.raises(Exception, match=rf"onnxexplainer\.{op}: .*{message}"):
        run(op, inputs, attributes, isa, monkeypatch, declared)


@pytest.mark.parametrize("name", ALLOWED)
def test_what_fits_is_the_same_for_the_twins(name, monkeypatch):
    op, inputs, attributes = ALLOWED[name]
    wanted = run(op, inputs, attributes, "naive", monkeypatch)
    for declared in (True, False):
        found = run(op, inputs, attributes, "best", monkeypatch, declared)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
        assert np.isfinite(found).all()


@pytest.mark.parametrize("op, count", [("TanhFlow", 5), ("TanhSumFlow", 6), ("SoftmaxScoresFlow", 3), ("RootNormFlow", 5),
                                       ("WinnerFlow", 5), ("MeanFlow", 3), ("Interleave2x2", 5)])
@pytest.mark.parametrize("more", [-1, 1])
def test_other_counts_of_inputs_are_refused(op, count, more, monkeypatch):
    integers = {"WinnerFlow": 2, "Interleave2x2": 1}.get(op, 0)
    inputs = [ones(1, 1, 2, 2)] * (count - integers) + [whole(4)] * integers
    with pytest.raises(Exception, match=op):
        run(op, inputs[:more] if more < 0 else inputs + [ones(1)], {}, "best", monkeypatch)


def test_other_types_are_refused(monkeypatch):
    for k in range(3):
        inputs = [ones(3).astype(np.float64 if i == k else np.float32) for i in range(3)]
        with pytest.raises(Exception, match="ReluFlow|Type Error"):
            run("ReluFlow", inputs, {}, "best", monkeypatch)
