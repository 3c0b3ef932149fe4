"""The files that snippets of docs/ find around them: a model and data of the kind that a page is
about, under the names that it uses. Each stage is a function (folder, shared)."""

import pathlib
import shutil
import subprocess

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from conftest import BUILD, ROOT

DIGITS = ROOT / "examples/digits"
DIABETES = ROOT / "examples/diabetes"


def save(path, nodes, inputs, outputs, weights):
    """A model of nodes (type, inputs, outputs, attributes); all values are floating-point ones."""
    def infos(shapes):
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])
                for name, shape in shapes.items()]
    graph = helper.make_graph(
        [helper.make_node(kind, into, out, **attributes) for kind, into, out, attributes in nodes],
        "network", infos(inputs), infos(outputs),
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def normal(seed, *shape, scale=1.0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def examples(folder, shared):
    (folder / "examples").symlink_to(ROOT / "examples")


def tutorial(folder, shared):
    """What its first block makes where torch is installed."""
    shutil.copy(DIGITS / "digits.onnx", folder)
    np.savez(folder / "digits.npz", references=np.load(DIGITS / "references.npy"),
             samples=np.load(DIGITS / "input.npy"))


def scaling(folder, shared):
    """A network on tables, explained, and a folder of Parquet."""
    import pyarrow
    import pyarrow.parquet

    names = ["age", "income", "height"]
    save(folder / "model.onnx", [("MatMul", ["x", "W"], ["h"], {}), ("Relu", ["h"], ["y"], {})],
         {"x": [3]}, {"y": [1]}, {"W": normal(0, 3, 1)})
    rows = normal(1, 1000, 3)
    np.save(folder / "references.npy", rows[:10])
    np.save(folder / "rows.npy", rows)
    (folder / "in").mkdir()
    for k in range(2):
        part = rows[500 * k:500 * k + 500]
        table = pyarrow.table(dict(zip(names, part.T)))
        if k:
            table = table.set_column(0, "age", pyarrow.array([None, *part[1:, 0].tolist()]))
        pyarrow.parquet.write_table(table, folder / f"in/{k}.parquet")


def image(folder, shared):
    lite = shared / "models/efficientnet_lite0"
    shutil.copy(lite / "model.onnx", folder)
    (folder / "classes.txt").write_text((lite / "classes.txt").read_text())
    with Image.open(shared / "images/cat_chelsea.png") as photo:
        photo.convert("RGB").save(folder / "photo.jpg")
    (folder / "backgrounds").mkdir()
    for name in ("coffee", "rocket"):
        shutil.copy(shared / f"images/{name}.png", folder / "backgrounds")
    np.save(folder / "superpixels.npy", np.arange(224)[:, None] // 32 * 7 +
            np.arange(224) // 32 + np.zeros((3, 1, 1), np.int64))


def text(folder, shared):
    mini = shared / "models/minilm_l3_topics"
    for kept, name in (("model.onnx", "model.onnx"), ("vocab.txt", "vocab.txt"),
                       ("classes.txt", "classes.txt")):
        shutil.copy(mini / kept, folder / name)
    for name in ("input_ids", "attention_mask"):
        np.save(folder / f"{name}.npy", np.load(mini / f"input_{name}.npy")[:2])
        np.save(folder / f"references_{name}.npy", np.load(mini / f"background_{name}.npy")[:4])


def table(folder, shared):
    recorded = ROOT / "tests/recorded"
    shutil.copy(recorded / "trees_pipeline.onnx", folder / "pipeline.onnx")
    arrays = np.load(recorded / "trees_pipeline.npz")
    names = ["age", "bmi", "bp", "s5", "sex"]
    for file, suffix in (("customers", ""), ("background", "_references")):
        columns = [arrays[name + suffix].ravel() for name in names]
        rows = [",".join("" if value != value else f"{value:g}" for value in row)
                for row in zip(*columns)]
        (folder / f"{file}.csv").write_text("\n".join([",".join(names), *rows]) + "\n")
    shutil.copy(DIABETES / "network.onnx", folder)
    shutil.copy(DIABETES / "data.npz", folder)


def time_series(folder, shared):
    """A recurrent network over 48 steps of 3 sensors."""
    steps, sensors, units = 48, 3, 8
    save(folder / "model.onnx",
         [("Transpose", ["x"], ["steps_first"], {"perm": [1, 0, 2]}),
          ("GRU", ["steps_first", "W", "R"], ["", "last"], {"hidden_size": units}),
          ("Squeeze", ["last", "axis"], ["state"], {}),
          ("MatMul", ["state", "V"], ["load"], {})],
         {"x": (steps, sensors)}, {"load": (1,)},
         {"W": normal(0, 1, 3 * units, sensors, scale=.5), "R": normal(1, 1, 3 * units, units, scale=.3),
          "V": normal(2, units, 1), "axis": np.array([0])})
    np.save(folder / "week.npy", normal(3, 4, steps, sensors))
    np.save(folder / "ordinary.npy", normal(4, 10, steps, sensors, scale=.3))


def letters(seed, count, steps):
    chosen = np.random.default_rng(seed).integers(0, 4, (count, steps))
    return np.eye(4, dtype=np.float32)[chosen]


def genomics(folder, shared):
    """A convolution that finds a motif, its strongest place, a logit."""
    motif = np.zeros((4, 4, 6), np.float32)
    for filter, word in enumerate(("TGACTC", "GATAAG", "CACGTG", "TTTCCC")):
        for step, letter in enumerate(word):
            motif[filter, "ACGT".index(letter), step] = 1
    save(folder / "model.onnx",
         [("Transpose", ["sequence"], ["channels"], {"perm": [0, 2, 1]}),
          ("Conv", ["channels", "motif", "bias"], ["found"], {"pads": [2, 3]}),
          ("Relu", ["found"], ["active"], {}),
          ("ReduceMax", ["active", "places"], ["best"], {"keepdims": 0}),
          ("Gemm", ["best", "weights"], ["logit"], {})],
         {"sequence": (200, 4)}, {"logit": (1,)},
         {"motif": motif, "bias": np.full(4, -2, np.float32), "places": np.array([2]),
          "weights": np.array([[2], [1], [-1], [.5]], np.float32)})
    sequence = letters(0, 1, 200)
    sequence[0, 90:96] = np.eye(4)[["ACGT".index(letter) for letter in "TGACTC"]]
    np.save(folder / "sequence.npy", sequence)


def detector(folder, shared):
    """Two scales of cells; of each the scores of 3 classes, and a box."""
    save(folder / "detector.onnx",
         [("Conv", ["image", "W0", "B0"], ["low"], {"strides": [4, 4], "pads": [1, 1, 1, 1]}),
          ("Relu", ["low"], ["fine"], {}),
          ("Conv", ["fine", "W1"], ["score_map"], {}),
          ("Reshape", ["score_map", "cells"], ["score_rows"], {}),
          ("Transpose", ["score_rows"], ["score_logits"], {"perm": [0, 2, 1]}),
          ("Sigmoid", ["score_logits"], ["scores"], {}),
          ("Conv", ["fine", "W2"], ["box_map"], {}),
          ("Reshape", ["box_map", "corners"], ["box_rows"], {}),
          ("Transpose", ["box_rows"], ["boxes"], {"perm": [0, 2, 1]})],
         {"image": (3, 64, 64)}, {"boxes": (256, 4), "scores": (256, 3)},
         {"W0": normal(0, 8, 3, 5, 5, scale=.2), "B0": normal(1, 8, scale=.1),
          "W1": normal(2, 3, 8, 1, 1, scale=.5), "W2": normal(3, 4, 8, 1, 1, scale=.5),
          "cells": np.array([0, 3, -1]), "corners": np.array([0, 4, -1])})
    pixels = np.random.default_rng(4).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).resize((96, 80)).save(folder / "street.jpg")


def segmentation(folder, shared):
    unet = shared / "models/unet_deconv_mnist"
    shutil.copy(unet / "model.onnx", folder)
    np.save(folder / "scan.npy", np.load(unet / "input.npy")[:2])
    np.save(folder / "references.npy", np.load(unet / "background.npy")[:5])


def autoencoder(folder, shared):
    save(folder / "autoencoder.onnx",
         [("Gemm", ["x", "E", "e"], ["h"], {}), ("Tanh", ["h"], ["code"], {}),
          ("Gemm", ["code", "D", "d"], ["reconstruction"], {})],
         {"x": (12,)}, {"reconstruction": (12,)},
         {"E": normal(0, 12, 3, scale=.4), "e": normal(1, 3, scale=.1),
          "D": normal(2, 3, 12, scale=.4), "d": normal(3, 12, scale=.1)})
    np.save(folder / "ordinary.npy", normal(4, 30, 12, scale=.5))
    odd = normal(5, 3, 12, scale=.5)
    odd[0, 7] = 4
    np.save(folder / "transactions.npy", odd)


def survival(folder, shared):
    """Cox's model with a network in it; and hazards of ten years."""
    weights = {"W": normal(0, 6, 8, scale=.5), "b": normal(1, 8, scale=.1), "v": normal(2, 8, 1, scale=.5)}
    first = [("Gemm", ["x", "W", "b"], ["h"], {}), ("Relu", ["h"], ["hidden"], {})]
    save(folder / "cox.onnx", [*first, ("MatMul", ["hidden", "v"], ["log_hazard"], {})],
         {"x": (6,)}, {"log_hazard": (1,)}, weights)
    weights["v"] = normal(2, 8, 10, scale=.5)
    save(folder / "hazards.onnx",
         [*first, ("MatMul", ["hidden", "v"], ["score"], {}), ("Sigmoid", ["score"], ["hazard"], {}),
          ("Sub", ["one", "hazard"], ["alive"], {}), ("Log", ["alive"], ["log_alive"], {}),
          ("CumSum", ["log_alive", "axis"], ["log_survival"], {}),
          ("Exp", ["log_survival"], ["survival"], {})],
         {"x": (6,)}, {"survival": (10,)},
         {**weights, "one": np.float32(1), "axis": np.array(1)})
    np.save(folder / "patients.npy", normal(3, 5, 6))
    np.save(folder / "cohort.npy", normal(4, 40, 6))


def deployed(folder, shared):
    examples(folder, shared)
    shutil.copy(DIGITS / "digits.onnx", folder)
    shutil.copy(DIGITS / "references.npy", folder)
    shutil.copy(DIGITS / "input.npy", folder / "samples.npy")


def explained(model, references, out):
    subprocess.run([BUILD / "onnxexplainer", "explain", model, "-q", "-r", references, "-o", out],
                   check=True)


def plots(folder, shared):
    image(folder, shared)
    rows = np.load(DIABETES / "data.npz")
    np.save(folder / "r.npy", rows["references"])
    explained(DIABETES / "network.onnx", folder / "r.npy", folder / "table.onnx")
    np.savetxt(folder / "table.csv", rows["samples"], delimiter=",",
               header=",".join(rows["names"]), comments="")
    bag = shared / "models/text_bag_topics"
    explained(bag / "model.onnx", bag / "background.npy", folder / "texts.onnx")
    np.save(folder / "ids.npy", np.load(bag / "input.npy")[:1])
    shutil.copy(bag / "vocab.txt", folder / "vocabulary.txt")
    np.save(folder / "photographs.npy", np.load(shared / "models/efficientnet_lite0/input.npy")[:1])


def json(folder, shared):
    deployed(folder, shared)
    shutil.move(folder / "digits.onnx", folder / "model.onnx")
    shutil.move(folder / "samples.npy", folder / "x.npy")
    explained(folder / "model.onnx", folder / "references.npy", folder / "explained.onnx")


def runtimes(folder, shared):
    for i, name in enumerate(("first", "second")):
        np.save(folder / "r.npy", normal(i, 2, 3))
        save(folder / "m.onnx", [("MatMul", ["x", "w"], ["y"], {})], {"x": (3,)}, {"y": (2,)},
             {"w": normal(i, 3, 2)})
        explained(folder / "m.onnx", folder / "r.npy", folder / f"{name}.onnx")


STAGES = {"tutorial": tutorial, "howto/image": image, "howto/text": text, "howto/table": table,
          "howto/time-series": time_series, "howto/genomics": genomics,
          "howto/detector": detector, "howto/segmentation": segmentation,
          "howto/autoencoder": autoencoder, "howto/survival": survival, "howto/phone": deployed,
          "howto/c": deployed, "trust": deployed, "plots": plots, "index": examples,
          "json": json, "runtimes": runtimes, "scaling": scaling}


def stage(page, folder: pathlib.Path, shared):
    """Sets the folder up for a page."""
    STAGES[page](folder, shared)
