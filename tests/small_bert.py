"""A BERT in small, as transformers exports it: ids and a mask, of which a bias of the lowest number is made."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH, HEADS, LENGTH, WORDS = 8, 2, 6, 20
X = {"ids": np.int64([[1, 5, 7, 2, 0, 0], [1, 9, 4, 6, 8, 2]]),
     "mask": np.int64([[1, 1, 1, 1, 0, 0], [1] * 6])}
R = {"ids": np.int64([[1, 2, 0, 0, 0, 0], [1, 3, 3, 2, 0, 0], [1, 11, 12, 13, 14, 2]]),
     "mask": np.int64([[1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0], [1] * 6])}


def layer(k, x):
    """Of `x`: nodes, shapes of weights, and the name of what comes out."""
    nodes, shapes = [], {}
    for q in "qkv":
        shapes |= {f"{q}w{k}": (WIDTH, WIDTH), f"{q}b{k}": (WIDTH,)}
        turn = [0, 2, 3, 1] if q == "k" else [0, 2, 1, 3]
        nodes += [("MatMul", f"{x} {q}w{k}", f"{q}m{k}", {}), ("Add", f"{q}m{k} {q}b{k}", f"{q}a{k}", {}),
                  ("Reshape", f"{q}a{k} heads", f"{q}r{k}", {}),
                  ("Transpose", f"{q}r{k}", f"{q}t{k}", {"perm": turn})]
    nodes += [("MatMul", f"qt{k} kt{k}", f"s{k}", {}), ("Mul", f"s{k} half", f"sc{k}", {}),
              ("Add", f"sc{k} bias", f"sm{k}", {}), ("Softmax", f"sm{k}", f"p{k}", {}),
              ("MatMul", f"p{k} vt{k}", f"o{k}", {}),
              ("Transpose", f"o{k}", f"ot{k}", {"perm": [0, 2, 1, 3]}), ("Reshape", f"ot{k} flat", f"of{k}", {}),
              ("MatMul", f"of{k} ow{k}", f"om{k}", {}), ("Add", f"{x} om{k}", f"r1{k}", {}),
              ("LayerNormalization", f"r1{k} g{k} b{k}", f"n1{k}", {}),
              ("MatMul", f"n1{k} u{k}", f"um{k}", {}), ("Div", f"um{k} root", f"ud{k}", {}),
              ("Erf", f"ud{k}", f"ue{k}", {}), ("Add", f"ue{k} one", f"ua{k}", {}),
              ("Mul", f"um{k} ua{k}", f"ux{k}", {}), ("Mul", f"ux{k} half", f"uh{k}", {}),
              ("MatMul", f"uh{k} d{k}", f"dm{k}", {}), ("Add", f"n1{k} dm{k}", f"r2{k}", {}),
              ("LayerNormalization", f"r2{k} h{k} c{k}", f"x{k + 1}", {})]
    shapes |= {f"ow{k}": (WIDTH, WIDTH), f"u{k}": (WIDTH, 2 * WIDTH), f"d{k}": (2 * WIDTH, WIDTH),
               **{f"{n}{k}": (WIDTH,) for n in "gbhc"}}
    return nodes, shapes, f"x{k + 1}"


def small_bert(layers=2):
    rng = np.random.default_rng(3)
    nodes = [("Gather", "table ids", "e", {}), ("Add", "e places", "x0", {}), ("Cast", "mask", "mf", {"to": 1}),
             ("Unsqueeze", "mf middle", "m4", {}), ("Sub", "one m4", "inv", {}), ("Mul", "inv least", "bias", {})]
    shapes, x = {"table": (WORDS, WIDTH), "places": (LENGTH, WIDTH), "head": (WIDTH, 3)}, "x0"
    for k in range(layers):
        more, sizes, x = layer(k, x)
        nodes, shapes = nodes + more, shapes | sizes
    nodes += [("Unsqueeze", "mf two", "m3", {}), ("Mul", f"{x} m3", "xm", {}),
              ("ReduceSum", "xm first", "sum", {"keepdims": 0}), ("ReduceSum", "m3 first", "count", {"keepdims": 0}),
              ("Div", "sum count", "mean", {}), ("MatMul", "mean head", "y", {})]
    constants = {name: (rng.normal(size=s) / np.sqrt(s[0])).astype("f") for name, s in shapes.items()}
    constants |= {"heads": np.int64([0, LENGTH, HEADS, WIDTH // HEADS]), "flat": np.int64([0, LENGTH, WIDTH]),
                  "root": np.float32(2 ** 0.5), "one": np.float32(1), "half": np.float32(0.5),
                  "least": np.finfo("f").min, "middle": np.int64([1, 2]), "first": np.int64([1]),
                  "two": np.int64([2])}
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(op, i.split(), [o], **a) for op, i, o, a in nodes], "small_bert",
        [value(n, TensorProto.INT64, ["N", LENGTH]) for n in X], [value("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made
