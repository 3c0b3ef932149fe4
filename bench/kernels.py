"""Kernels beside the portable bodies of their functions, by the length of a row.

    bench/kernels.py [--only Softmax ...] [--lengths 2 3 4 ...] [--rounds 30]

A node for each function that explained models of one operator have: multipliers [R, N, L], values of
the sample [N, L] and of references [R, 1, L], which are constants and fold. Both sessions take turns
in one thread; a figure is the least CPU time with the kernel as a multiple of that without."""
import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from models import COMMAND, KERNELS

REFERENCES, NUMBERS = 8, 1 << 17
OPERATORS = {"Softmax": {}, "LogSoftmax": {}, "ReduceLogSumExp": {}, "Relu": {}, "LeakyRelu": {},
             "Sigmoid": {}, "Tanh": {}, "Gelu": {}, "Erf": {}, "Elu": {}, "HardSwish": {}, "Exp": {},
             "Sqrt": {}, "Softplus": {}, "Mish": {}, "LayerNormalization": {"scale": True},
             "RMSNormalization": {"scale": True}, "Attention": {}}


def functions(op, fields):
    """The functions of an explained model of one operator."""
    weights = [numpy_helper.from_array(np.ones(8, np.float32), "w")] if fields.get("scale") else []
    node = helper.make_node(op, ["h"] + ["w"] * len(weights), ["y"])
    nodes = [helper.make_node("Abs" if op == "Sqrt" else "Identity", ["x"], ["h"]), node]
    if op == "Attention":
        nodes = [helper.make_node("Unsqueeze", ["x", "last"], ["c"]),
                 helper.make_node("Transpose", ["c"], ["r"], perm=[0, 2, 1]),
                 helper.make_node("MatMul", ["c", "r"], ["s"]), helper.make_node("Softmax", ["s"], ["p"]),
                 helper.make_node("MatMul", ["p", "c"], ["y"])]
        weights = [numpy_helper.from_array(np.array([-1]), "last")]
    graph = helper.make_graph(
        nodes, "one", [helper.make_tensor_value_info("x", 1, ["N", 8])],
        [helper.make_tensor_value_info("y", 1, None)], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, f"{folder}/m.onnx")
        np.save(f"{folder}/r.npy", np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32))
        subprocess.run([COMMAND, "explain", f"{folder}/m.onnx", f"--references={folder}/r.npy", "-q",
                        "--target=all", "-o", f"{folder}/e.onnx"], check=True)
        explained = onnx.load(f"{folder}/e.onnx")
    calls = {n.op_type: n for n in explained.graph.node if n.domain == "onnxexplainer"}
    return {f.name: (f, calls[f.name]) for f in explained.functions if f.name in calls}


def one_node(function, call, length):
    """A model of it, and what goes in."""
    rng = np.random.default_rng(1)
    samples = max(1, NUMBERS // REFERENCES // length)
    feeds, constants, infos = {}, [], []
    for i, name in enumerate(function.input):
        of_references = i > 0 and i % 2 == 0
        width = 1 if i > 2 and "Norm" in function.name else length  # s and s0
        dims = [REFERENCES, samples, width] if i == 0 else (
            [REFERENCES, 1, width] if of_references else [samples, width])
        values = (rng.random(dims) + 0.5).astype(np.float32)
        if of_references:
            constants.append(numpy_helper.from_array(values, name))
        else:
            feeds[name] = values
            infos.append(helper.make_tensor_value_info(name, TensorProto.FLOAT,
                                                       ["R", "N", "L" if width == length else "S"][3 - len(dims):]))
    node = helper.make_node(function.name, list(function.input), ["out"], domain="onnxexplainer")
    node.attribute.extend(call.attribute)
    graph = helper.make_graph([node], "one", infos,
                              [helper.make_tensor_value_info("out", 1, None)], constants)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("onnxexplainer", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=[function]), feeds


def one_attention(function, call, length):
    """The same of attention of so many keys: as many queries up to 128, heads of 32 numbers, two
    samples and references."""
    rng = np.random.default_rng(1)
    rank, queries, width = int(function.name[-1]), min(length, 128), 32
    matrices = {"q": (queries, width), "k": (width, length), "v": (length, width),
                "l": (queries, length)}
    heads = max(1, NUMBERS // (queries * length * 4))
    lead = (1,) * (rank - 5) if rank > 4 else ()
    names, feeds, constants = ["m"], {"m": (*lead, 2, 2, heads, queries, width)[-rank:]}, {}
    for end, of, to in (("", (1, 2, heads), feeds), ("0", (2, 1, heads), constants)):
        for name, dims in matrices.items():
            names.append(name + end)
            to[name + end] = (*lead, *of, *dims)[-rank:]
    constants["scale"] = (1,) * rank
    values = {name: rng.random(dims, np.float32) - (2 if name[0] == "l" else 0)
              for name, dims in (feeds | constants).items()}
    node = helper.make_node(function.name, [*names, "scale"], ["q1", "k1", "v1"],
                            domain="onnxexplainer")
    graph = helper.make_graph(
        [node], "one", [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank)
                        for name in feeds],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in node.output],
        [numpy_helper.from_array(values[name], name) for name in constants])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("onnxexplainer", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=[function])
    return model, {name: values[name] for name in feeds}


def session(model, kernels):
    o = onnxruntime.SessionOptions()
    o.intra_op_num_threads = 1
    if kernels:
        o.register_custom_ops_library(str(KERNELS))
    return onnxruntime.InferenceSession(model.SerializeToString(), o,
                                        providers=["CPUExecutionProvider"])


def ratio(function, call, length, rounds):
    make = one_attention if function.name.startswith("Attention") else one_node
    model, feeds = make(function, call, length)
    sessions = [session(model, kernels) for kernels in (True, False)]
    least = [float("inf")] * 2
    for _ in range(rounds):
        for i, s in enumerate(sessions):
            start = time.process_time()
            s.run(None, feeds)
            least[i] = min(least[i], time.process_time() - start)
    return least[0] / least[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=OPERATORS, default=list(OPERATORS))
    parser.add_argument("--lengths", type=int, nargs="+",
                        default=[2, 3, 4, 8, 15, 16, 17, 32, 33, 64, 128, 512, 4096])
    parser.add_argument("--rounds", type=int, default=30)
    o = parser.parse_args()
    print("| function | " + " | ".join(map(str, o.lengths)) + " |")
    print("| --- |" + " ---: |" * len(o.lengths), flush=True)
    done = set()
    for op in o.only:
        for name, (function, call) in functions(op, OPERATORS[op]).items():
            if name not in done:
                done.add(name)
                cells = [f"{ratio(function, call, n, o.rounds):.2f}" for n in o.lengths]
                print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
