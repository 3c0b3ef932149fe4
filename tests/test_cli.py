"""The command line. Each case of tests/cli is a shell script NAME.cmd with what it prints, NAME.out
and NAME.err, and its exit code, NAME.code (missing: nothing, 0). A script runs in an empty folder
with $OX, the program, and $DATA, the folder of the files made below; `{...}` in what is expected
stands for anything within a line. A script that fails must leave its folder empty.

    OX_UPDATE=1 pytest tests/test_cli.py     writes what is printed now, to be reviewed as a diff
"""

import csv
import json
import os
import pathlib
import pty
import re
import struct
import subprocess
import zipfile
import zlib

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

CASES = pathlib.Path(__file__).resolve().parent / "cli"
NAMES = ["alpha", "beta gamma", 'delta, "4"', "epsilon"]


def model(nodes, inputs, outputs, weights=(), metadata=None):
    """A checked model of opset 18."""
    graph = helper.make_graph(
        [helper.make_node(*node[:3], **(node[3] if len(node) > 3 else {})) for node in nodes],
        "test",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(made, metadata or {})
    onnx.checker.check_model(made)
    return made


def linear(batch="batch"):
    """y = x W: its SHAP values are exact."""
    weights = np.float32([[1, 0.5], [-2, 1], [0.25, 3], [4, -1]])
    return model([("MatMul", ["x", "W"], ["y"])],
                 [("x", TensorProto.FLOAT, [batch, 4])],
                 [("y", TensorProto.FLOAT, [batch, 2])], [("W", weights)])


def explained():
    """What `explain` makes of linear() with one reference of zeros and the target 1, by hand."""
    made = linear()
    more = model(
        [("Mul", ["x", "w"], ["x_shap"]), ("Shape", ["x"], ["n"], {"start": 0, "end": 1}),
         ("Expand", ["one", "n"], ["shap_target"]), ("Expand", ["zero", "n"], ["base_value"])],
        [("x", TensorProto.FLOAT, ["batch", 4])],
        [("x_shap", TensorProto.FLOAT, ["batch", 4]), ("shap_target", TensorProto.INT64, ["batch"]),
         ("base_value", TensorProto.FLOAT, ["batch"])],
        [("w", np.float32([0.5, 1, 3, -1])), ("one", np.int64([1])), ("zero", np.float32([0]))])
    for field in ("node", "output", "initializer"):
        getattr(made.graph, field).extend(getattr(more.graph, field))
    helper.set_model_props(made, {"onnxexplainer.version": "0.1.0", "onnxexplainer.target": "1",
                                  "onnxexplainer.output": "y", "onnxexplainer.inputs": "x",
                                  "onnxexplainer.feature_names": "\n".join(NAMES)})
    return made


def norule():
    return model([("ArgMax", ["x"], ["i"], {"name": "pick", "axis": 1}),
                  ("Cast", ["i"], ["h"], {"to": TensorProto.FLOAT}), ("Mul", ["h", "x"], ["y"])],
                 [("x", TensorProto.FLOAT, ["batch", 4])],
                 [("y", TensorProto.FLOAT, ["batch", 4])])


def several():
    """Numbers, whole numbers and a scalar go in; one output has no sample axis."""
    return model(
        [("Cast", ["ids"], ["i"], {"to": TensorProto.FLOAT}),
         ("Concat", ["a", "i"], ["ai"], {"axis": 1}), ("Mul", ["ai", "rate"], ["y"]),
         ("Identity", ["rate"], ["rate_out"])],
        [("a", TensorProto.FLOAT, ["batch", 2]), ("ids", TensorProto.INT64, ["batch", 1]),
         ("rate", TensorProto.FLOAT, [])],
        [("y", TensorProto.FLOAT, ["batch", 3]), ("rate_out", TensorProto.FLOAT, [])])


def spare():
    """Only one of the two inputs reaches the output "y", the other the output "twice"."""
    return model(
        [("MatMul", ["x", "W"], ["y"]), ("Add", ["other", "other"], ["twice"])],
        [("x", TensorProto.FLOAT, ["batch", 4]), ("other", TensorProto.FLOAT, ["batch", 3])],
        [("y", TensorProto.FLOAT, ["batch", 1]), ("twice", TensorProto.FLOAT, ["batch", 3])],
        [("W", np.float32([[1], [-2], [0.25], [4]]))])


def root():
    """Its second output value is not finite where the sum of x W is negative."""
    weights = np.float32([[1, 0.5], [-2, 1], [0.25, 3], [4, -1]])
    return model([("MatMul", ["x", "W"], ["h"]), ("Mul", ["h", "some"], ["s"]),
                  ("Sqrt", ["s"], ["r"]), ("Add", ["r", "h"], ["y"])],
                 [("x", TensorProto.FLOAT, ["batch", 4])],
                 [("y", TensorProto.FLOAT, ["batch", 2])],
                 [("W", weights), ("some", np.float32([0, 1]))])


def pooled():
    """Means of the channels of images."""
    return model([("GlobalAveragePool", ["x"], ["p"]), ("Flatten", ["p"], ["y"])],
                 [("x", TensorProto.FLOAT, ["batch", 3, 8, 12])],
                 [("y", TensorProto.FLOAT, ["batch", 3])])


def channels_last():
    return model([("ReduceMean", ["x", "axes"], ["y"], {"keepdims": 0})],
                 [("x", TensorProto.FLOAT, ["batch", 8, 12, 3])],
                 [("y", TensorProto.FLOAT, ["batch", 3])], [("axes", np.int64([1, 2]))])


def switched():
    """x, or less x where a flag is false."""
    return model([("Neg", ["x"], ["less"]), ("Where", ["flag", "x", "less"], ["y"])],
                 [("x", TensorProto.FLOAT, ["batch", 4]), ("flag", TensorProto.BOOL, [])],
                 [("y", TensorProto.FLOAT, ["batch", 4])])


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """The folder of models and arrays that the cases use."""
    folder = tmp_path_factory.mktemp("data")
    for name, made in {"linear": linear(), "explained": explained(), "norule": norule(),
                       "several": several(), "fixed": linear(3), "spare": spare(),
                       "root": root(), "cnn": pooled(), "last": channels_last(), "switched": switched(),
                       "large": model([("Identity", ["x"], ["y"])], [("x", TensorProto.UINT64, ["batch", 1])],
                                      [("y", TensorProto.UINT64, ["batch", 1])])}.items():
        onnx.save(made, folder / f"{name}.onnx")
    whole = (folder / "linear.onnx").read_bytes()
    (folder / "truncated.onnx").write_bytes(whole[: len(whole) // 2])
    (folder / "text.onnx").write_text("a model is more than words\n")

    x = (np.arange(20, dtype=np.float32).reshape(5, 4) - 6) / 4
    nan = x.copy()
    nan[3, 2] = np.nan
    infinite = x.copy()
    infinite[1, 0] = -np.inf
    arrays = {"x": x, "zeros": np.zeros((2, 4), np.float32), "wide": np.zeros((5, 5), np.float32),
              "deep": np.zeros((5, 4, 1), np.float32), "complex": x.astype(np.complex64),
              "words": np.array(["a", "b"]), "none": np.zeros((0, 4), np.float32), "nan": nan,
              "infinite": infinite, "ids": np.arange(5).reshape(5, 1), "rate": np.float64(2),
              "fractions": np.full((5, 1), 0.5), "a": x[:, :2].astype(np.float64)}
    arrays["one"] = x[0]
    arrays["objects"] = x.astype(object)
    arrays["nhwc"] = np.zeros((2, 8, 12, 3), np.float32)
    arrays["few_rows"], arrays["large"] = x[:2, :3], np.uint64([[2**64 - 1], [2**53 + 1]])
    arrays["nchw"], arrays["chw"] = np.zeros((2, 3, 8, 12), np.float32), np.zeros((3, 8, 12), np.float32)
    arrays["pixels"] = np.float32([[0, 255, 17, 90], [204, 51, 128, 3]])
    arrays["bytes"] = arrays["pixels"].astype(np.uint8)
    arrays["unit"] = arrays["pixels"] / 255
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    npy = (folder / "x.npy").read_bytes()
    (folder / "truncated.npy").write_bytes(npy[:-7])
    (folder / "longer.npy").write_bytes(npy + b"more")
    (folder / "text.npy").write_text("numbers\n")
    np.savez(folder / "x.npz", x=x)
    np.savez(folder / "only.npz", x)
    np.savez(folder / "other_name.npz", samples=x)
    np.savez(folder / "spare.npz", x=x, other=x[:, :3])
    np.savez(folder / "stranger.npz", x=x, z=x)
    zipped = bytearray((folder / "x.npz").read_bytes())
    zipped[zipped.index(b"NUMPY") + 130] ^= 255
    (folder / "damaged.npz").write_bytes(zipped)
    (folder / "text.npz").write_text("numbers\n")
    with zipfile.ZipFile(folder / "stray.npz", "w") as stray:
        stray.writestr("notes.txt", "numbers\n")
    (folder / "empty.csv").write_text("")
    (folder / "version.npy").write_bytes(npy[:6] + b"\x09" + npy[7:])
    (folder / "unclosed.npy").write_bytes(npy[:10] + npy[10:].replace(b"}", b" ", 1))
    np.save(folder / "fields.npy", np.zeros(5, [("p", "f4"), ("q", "f4")]))

    write_csv(folder / "x.csv", ["p", "q", "r", "s"], x)
    shuffled = np.hstack([x[:, ::-1], x[:, :1] * 0 - 1])
    write_csv(folder / "named.csv", NAMES[::-1] + ["label"], shuffled)
    write_csv(folder / "three.csv", ["p", "q", "r"], x[:, :3])
    write_csv(folder / "misspelt.csv", NAMES[:1] + ["beta gama"] + NAMES[2:], x)
    write_csv(folder / "spare.csv", [f"other[{i}]" for i in range(3)] + NAMES,
              np.hstack([x[:, :3], x]))
    np.savetxt(folder / "headless.csv", x, delimiter=",")
    (folder / "word.csv").write_text("p,q,r,s\n1,2,3,4\n1,2,three,4\n")
    (folder / "ragged.csv").write_text("p,q,r,s\n1,2,3,4\n1,2\n")
    (folder / "names.txt").write_text("\n".join(NAMES) + "\n")
    (folder / "few.txt").write_text("\n".join(NAMES[:3]) + "\n")

    phi = np.zeros((2, 1, 4, 4), np.float32)
    phi[:, 0, 0, 0], phi[:, 0, 3, 3] = 1, -1
    np.savez(folder / "images.npz", x_shap=phi, shap_target=np.int64([0, 0]))
    np.savez(folder / "table.npz", x_shap=x, shap_target=np.int64([0] * 5))
    np.savez(folder / "no_images.npz", x_shap=phi[:0], shap_target=np.int64([]))
    np.savez(folder / "broken.npz", x_shap=phi * np.float32("nan"))
    np.save(folder / "images.npy", np.abs(phi))
    return folder


def write_csv(path, header, rows):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows.tolist())


def matches(expected, text):
    """Whether text is what is expected; `{...}` stands for anything within a line."""
    pattern = ".*".join(re.escape(part) for part in expected.split("{...}"))
    return re.fullmatch(pattern, text) is not None


def read(path):
    return path.read_text() if path.exists() else ""


def update(case, done, data):
    """Writes what a case printed; keeps files whose wildcards match it."""
    now = {".out": done.stdout.replace(str(data), "$DATA"),
           ".err": done.stderr.replace(str(data), "$DATA"),
           ".code": f"{done.returncode}\n" if done.returncode else ""}
    for suffix, text in now.items():
        path = case.with_suffix(suffix)
        if matches(read(path), text):
            continue
        if text:
            path.write_text(text)
        else:
            path.unlink()


@pytest.mark.parametrize("name", sorted(path.stem for path in CASES.glob("*.cmd")))
def test_case(name, cli, data, tmp_path):
    case = CASES / f"{name}.cmd"
    folder = tmp_path / "work"
    folder.mkdir()
    environment = {**os.environ, "OX": cli, "DATA": str(data)}
    done = subprocess.run(["sh", str(case)], cwd=folder, env=environment, capture_output=True,
                          text=True, stdin=subprocess.DEVNULL)
    if os.environ.get("OX_UPDATE"):
        update(case, done, data)
    assert done.returncode == int(read(case.with_suffix(".code")) or 0), done.stderr
    for suffix, text in ((".out", done.stdout), (".err", done.stderr)):
        text = text.replace(str(data), "$DATA")
        expected = read(case.with_suffix(suffix))
        assert matches(expected, text), f"{suffix}:\n{text}\nexpected:\n{expected}"
    if done.returncode:
        assert sorted(path.name for path in folder.iterdir()) == []


@pytest.fixture
def ox(cli, tmp_path):
    """ox(argument, ...): what the command line prints; it must succeed."""

    def ox(*arguments):
        done = subprocess.run([cli, *map(str, arguments)], capture_output=True, text=True,
                              cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return ox


def truth(path, inputs):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs)))


def agree(path, expected):
    with np.load(path) as found:
        assert list(found) == list(expected)
        for name, value in expected.items():
            assert found[name].shape == value.shape and found[name].dtype == value.dtype
            np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8", "<f2", ">f2", "i1", "<i2", ">i4",
                                   "<i8", "u1", ">u2", "<u4", ">u8", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_npy(ox, data, tmp_path, dtype, order, version):
    x = np.asarray(np.arange(28).reshape(7, 4) % 9, dtype=dtype, order=order)
    with open(tmp_path / "x.npy", "wb") as file:
        np.lib.format.write_array(file, x, version)
    ox("run", data / "explained.onnx", "--input", "x.npy", "-o", "o.npz", "-q")
    agree(tmp_path / "o.npz", truth(data / "explained.onnx", {"x": x.astype(np.float32)}))


HALVES = [0, -0.0, 1, -1 / 3, 65504, 65519.9, 65520, -1e9, 6.1e-5, 6e-8, 2.9e-8, np.inf, -np.inf, np.nan]
WHOLE = [0, 1, 127, 128, 255, 32767, 65535, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1, -1, -128, -2**31, -2**63]


@pytest.mark.parametrize("given", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_numbers_of_another_width(ox, tmp_path, given, kind):
    """Rounded to the nearest, as NumPy does."""
    x = np.array(HALVES, given)
    name = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    onnx.save(model([("Cast", ["x"], ["y"], {"to": TensorProto.DOUBLE})], [("x", name, ["N"])],
                    [("y", TensorProto.DOUBLE, ["N"])]), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", x)
    ox("run", "m.onnx", "-i", "x.npy", "-o", "o.npz", "-q")
    with np.errstate(over="ignore"):
        expected = x.astype(kind).astype(np.float64)
    np.testing.assert_array_equal(np.load(tmp_path / "o.npz")["y"], expected)


@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
@pytest.mark.parametrize("given", ["i8", "u8"])
def test_whole_numbers_of_another_width(cli, ox, tmp_path, given, kind):
    """Those that fit are what they were; the first that does not is named."""
    fits = [v for v in WHOLE if np.iinfo(given).min <= v <= np.iinfo(given).max]
    good = np.array([v for v in fits if np.iinfo(kind).min <= v <= np.iinfo(kind).max], given)
    bad = [v for v in fits if not np.iinfo(kind).min <= v <= np.iinfo(kind).max]
    name = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    onnx.save(model([("Identity", ["x"], ["y"])], [("x", name, ["N"])], [("y", name, ["N"])]), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", good)
    ox("run", "m.onnx", "-i", "x.npy", "-o", "o.npz", "-q")
    y = np.load(tmp_path / "o.npz")["y"]
    assert y.dtype == np.dtype(kind) and y.tolist() == good.tolist()
    for v in bad:
        np.save(tmp_path / "x.npy", np.array([0, 1, v], given))
        done = subprocess.run([cli, "run", "m.onnx", "-i", "x.npy", "-o", "o.npz"], cwd=tmp_path,
                              capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr == f"onnxexplainer: x.npy: {float(v):.17g} at [2] does not fit {np.dtype(kind).name}\n"


@pytest.mark.parametrize("batch", [[], ["--batch=1"], ["--batch", "4"], ["--batch=all"],
                                   ["--memory=1K"], ["--threads=1", "--compress"]])
@pytest.mark.parametrize("name", ["linear", "fixed"])
@pytest.mark.parametrize("rows", [1, 3, 10])
def test_batches(ox, data, tmp_path, name, rows, batch):
    x = np.random.default_rng(rows).normal(size=(rows, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    ox("run", data / f"{name}.onnx", "-i", "x.npy", "-o", "o.npz", "-q", *batch)
    agree(tmp_path / "o.npz", truth(data / "linear.onnx", {"x": x}))


@pytest.mark.parametrize("batch", ["1", "2", "all"])
def test_several_inputs(ox, data, tmp_path, batch):
    ox("run", data / "several.onnx", "-i", f"a={data}/a.npy", "-i", f"ids={data}/ids.npy",
       "-i", f"rate={data}/rate.npy", "-o", "o.npz", "--batch", batch, "-q")
    inputs = {"a": np.load(data / "a.npy").astype(np.float32), "ids": np.load(data / "ids.npy"),
              "rate": np.array(2, np.float32)}
    agree(tmp_path / "o.npz", truth(data / "several.onnx", inputs))


def test_same_bytes(ox, data, tmp_path):
    for name in ("a.npz", "b.npz"):
        ox("run", data / "explained.onnx", "-i", data / "x.npy", "-o", name, "-q")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_tables(ox, data, tmp_path):
    expected = truth(data / "explained.onnx", {"x": np.load(data / "x.npy")})
    ox("run", data / "explained.onnx", "-i", data / "named.csv", "-o", "o.csv", "-q")
    ox("run", data / "explained.onnx", "-i", data / "named.csv", "-o", "o.json", "-q")
    with open(tmp_path / "o.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    objects = json.loads((tmp_path / "o.json").read_text())
    assert len(rows) == len(objects) == 5
    for row, item, n in zip(rows, objects, range(5)):
        assert list(row) == list(item)
        assert item["shap_target"] == int(row["shap_target"]) == 1
        for i, name in enumerate(NAMES):
            assert np.float32(row[f"x_shap:{name}"]) == expected["x_shap"][n, i]
            assert np.float32(item[f"x_shap:{name}"]) == expected["x_shap"][n, i]
        assert np.float32(row["y[1]"]) == expected["y"][n, 1]


def read_png(path):
    """Pixels of an RGB file without interlacing, [height, width, 3]."""
    blob, at, parts = path.read_bytes(), 8, b""
    assert blob[:8] == b"\x89PNG\r\n\x1a\n"
    while at < len(blob):
        size, kind = struct.unpack(">I4s", blob[at:at + 8])
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", blob[at + 8:at + 18])
            assert (depth, colour) == (8, 2)
        parts += blob[at + 8:at + 8 + size] if kind == b"IDAT" else b""
        at += size + 12
    lines = np.frombuffer(zlib.decompress(parts), np.uint8).reshape(height, 1 + 3 * width)
    pixels = np.zeros((height, 3 * width), np.uint8)
    for y, (method, line) in enumerate(zip(lines[:, 0], lines[:, 1:])):
        above = pixels[y - 1] if y else np.zeros(3 * width, np.uint8)
        for i in range(3 * width):
            left, up = (pixels[y, i - 3], above[i]) if i >= 3 else (0, above[i])
            corner = above[i - 3] if i >= 3 else 0
            left, up, corner = int(left), int(up), int(corner)
            guess = left + up - corner
            paeth = min((left, up, corner), key=lambda value: abs(guess - value))
            pixels[y, i] = (int(line[i]) + (0, left, up, (left + up) // 2, paeth)[method]) % 256
    return pixels.reshape(height, width, 3)


def test_plot(ox, data, tmp_path):
    ox("plot", data / "images.npz", "--image", data / "images.npy", "--sample=1", "-o", "o.png")
    pixels = read_png(tmp_path / "o.png")
    side, margin = 224, 8
    assert pixels.shape == (side + 2 * margin, 2 * side + 3 * margin, 3)
    original = pixels[margin:margin + side, margin:margin + side]
    overlay = pixels[margin:margin + side, 2 * margin + side:2 * margin + 2 * side]
    assert (original[5, 5] == 255).all() and (original[100, 100] == 0).all()
    assert tuple(overlay[5, 5]) == (255, 0, 81) and tuple(overlay[-5, -5]) == (0, 139, 251)
    assert np.ptp(overlay[100, 100].astype(int)) == 0 and 150 < overlay[100, 100, 0] < 200
    assert (pixels[:margin] == 255).all()


def test_plot_without_image(ox, data, tmp_path):
    ox("plot", data / "images.npz", "-o", "o.png", "--columns")
    pixels = read_png(tmp_path / "o.png")
    assert pixels.shape == (224 + 16, 2 * 224 + 24, 3)
    assert (pixels[100, 100] == 255).all()


def test_plot_smooth(ox, data, tmp_path):
    """Means over 3 x 3 pixels, cut off at the border: the corner keeps 1/4 of its value, its
    neighbours along the edge get 1/6, the one across 1/9."""
    ox("plot", data / "images.npz", "-o", "o.png", "--sample=0", "--smooth=1")
    pixels = read_png(tmp_path / "o.png")[8:-8, 8:-8]
    shades = pixels[28::56, 28::56].astype(int)
    assert tuple(shades[0, 0]) == (255, 0, 81) and tuple(shades[3, 3]) == (0, 139, 251)
    assert 0 < shades[0, 1, 1] < shades[1, 1, 1] < 255 and shades[0, 1, 1] == shades[1, 0, 1]
    assert (shades[0, 2:] == 255).all() and (shades[2:, 0] == 255).all()


def test_plot_smooths_large_images(ox, tmp_path):
    phi = np.zeros((1, 1, 113, 113), np.float32)
    phi[0, 0, 50, 50] = 1
    np.savez(tmp_path / "large.npz", x_shap=phi)
    ox("plot", "large.npz", "-o", "o.png")
    ox("plot", "large.npz", "-o", "sharp.png", "--smooth=0")
    coloured = [(read_png(tmp_path / name) != 255).any(axis=2).sum() for name in
                ("o.png", "sharp.png")]
    assert coloured == [25 * 4, 4]


def test_streams(cli, data):
    """- is standard input and output."""
    x = (data / "x.npy").read_bytes()
    done = subprocess.run([cli, "run", data / "linear.onnx", "-i", "-", "-o", "-"], input=x,
                          capture_output=True, check=True)
    rows = done.stdout.decode().splitlines()
    assert rows[0] == "y[0],y[1]" and len(rows) == 6


def test_terminal(cli, data):
    """Progress shows on a terminal, and no model is written to one."""
    ours, theirs = pty.openpty()
    command = [cli, "explain", data / "linear.onnx", "-r", data / "zeros.npy", "-o", "-"]
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("onnxexplainer: no model is written to a terminal")
    command = [cli, "run", data / "linear.onnx", "-i", data / "x.npy"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs)
    assert done.returncode == 0
    assert b"100% 5/5" in os.read(ours, 4096)
    os.close(theirs)
    os.close(ours)


@pytest.mark.parametrize("option", [[], ["--progress"], ["--progress", "--no-progress"]])
def test_progress(cli, data, option):
    command = [cli, "run", data / "linear.onnx", "-i", data / "x.npy", *option]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    assert ("100% 5/5" in done.stderr) == (option == ["--progress"])


def test_ops(ox):
    rules = json.loads(ox("ops", "--json"))
    assert {"domain", "op", "state", "formula"} == set(rules[0])
    assert len(ox("ops").splitlines()) == len(rules)
    rows = [line for line in ox("ops", "--markdown").splitlines() if line.startswith("| ")]
    assert len(rows) == len(rules) + 2


def test_replaces_whole(ox, data, tmp_path):
    """What stood at the place of the output keeps its mode, and links are followed."""
    target, link = tmp_path / "target.npz", tmp_path / "link.npz"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to("target.npz")
    ox("run", data / "linear.onnx", "-i", data / "x.npy", "-o", "link.npz", "-q")
    assert link.is_symlink() and target.stat().st_mode & 0o777 == 0o640
    agree(target, truth(data / "linear.onnx", {"x": np.load(data / "x.npy")}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.npz", "target.npz"]


def test_batches_stay_small_where_a_sample_takes_much(cli, tmp_path):
    """16 MB a sample: 64 samples at a time would take a gigabyte."""
    onnx.save(model([("MatMul", ["x", "W"], ["h"]), ("Exp", ["h"], ["e"]),
                     ("ReduceSum", ["e", "axis"], ["y"], {"keepdims": 1})],
                    [("x", TensorProto.FLOAT, ["N", 1])], [("y", TensorProto.FLOAT, ["N", 1])],
                    [("W", np.zeros((1, 1 << 21), np.float32)), ("axis", np.int64([1]))]),
              tmp_path / "wide.onnx")
    np.save(tmp_path / "x.npy", np.zeros((64, 1), np.float32))
    done = subprocess.run([cli, "run", "wide.onnx", "-i", "x.npy", "-o", "y.csv", "--stats"],
                          cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(re.search(r"peak memory (\d+) MiB", done.stderr).group(1)) < 400
    assert len((tmp_path / "y.csv").read_text().splitlines()) == 65


def test_empty_fields_of_csv(cli, tmp_path):
    """Missing values where the input takes such, an error where it takes whole numbers."""
    for kind in (onnx.TensorProto.FLOAT, onnx.TensorProto.INT64):
        x = onnx.helper.make_tensor_value_info("x", kind, ["N", 2])
        y = onnx.helper.make_tensor_value_info("y", kind, ["N", 2])
        graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
        onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)],
                                         ir_version=8), tmp_path / f"{kind}.onnx")
    (tmp_path / "x.csv").write_text("x[0],x[1]\n1,2\n,4\n")
    def run(kind):
        return subprocess.run([cli, "run", f"{kind}.onnx", "-i", "x.csv", "-o", "y.npz"],
                              cwd=tmp_path, capture_output=True, text=True)
    assert run(onnx.TensorProto.INT64).stderr == \
        "onnxexplainer: x.csv: row 2, column \"x[0]\": \"\" is no number\n"
    assert not (tmp_path / "y.npz").exists()
    assert run(onnx.TensorProto.FLOAT).returncode == 0
    np.testing.assert_equal(np.load(tmp_path / "y.npz")["y"], np.float32([[1, 2], [np.nan, 4]]))


def test_more_inputs_than_a_word_has_bits(cli, tmp_path):
    """Under the sanitizers, too, which found what was asked of input 32."""
    parts = [f"p{i}" for i in range(40)]
    onnx.save(model([("Split", ["x"], parts, {"axis": 1, "num_outputs": 40}),
                     ("Concat", parts, ["y"], {"axis": 1})],
                    [("x", TensorProto.FLOAT, ["N", 40])], [("y", TensorProto.FLOAT, ["N", 40])], []),
              tmp_path / "parts.onnx")
    x = np.arange(1, 41, dtype=np.float32)[None]
    np.save(tmp_path / "x.npy", x)
    for command in (["explain", "parts.onnx", "-r", "fill:0", "--target=36", "-o", "e.onnx", "-q"],
                    ["run", "e.onnx", "-i", "x.npy", "-o", "y.npz", "-q"]):
        done = subprocess.run([cli, *command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "y.npz")["x_shap"], x * (np.arange(40) == 36))
