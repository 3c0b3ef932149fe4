"""Pictures in place of arrays: layout, range and scaling, PNG and JPEG, several and folders."""

import base64
import struct
import subprocess
import zlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

# 16 x 8 pixels, the left half (200, 100, 50), the right half (20, 40, 220)
JPEG = base64.b64decode("""
/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYG
CAsICQoKCgoKBggLDAsKDAkKCgr/2wBDAQICAgICAgUDAwUKBwYHCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoK
CgoKCgoKCgoKCgoKCgoKCgoKCgr/wAARCAAIABADAREAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAABQn/xAAUEAEA
AAAAAAAAAAAAAAAAAAAA/8QAFgEBAQEAAAAAAAAAAAAAAAAACAkK/8QAFBEBAAAAAAAAAAAAAAAAAAAAAP/aAAwDAQAC
EQMRAD8APFc2E62hxMN//9k=""")
LUMA = np.array([0.299, 0.587, 0.114])


def chunk(kind, body):
    check = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + check


def png(path, pixels):
    """Writes [height, width, 3] bytes."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
                     + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def identity(path, shape, kind=TensorProto.FLOAT):
    """A model that gives back what it gets."""
    values = [helper.make_tensor_value_info(name, kind, shape) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", values[:1],
                              values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8),
              path)


@pytest.fixture
def seen(cli, tmp_path):
    """seen(shape, option, ...): what an input of the shape gets, and what is noted."""

    def seen(shape, *options, kind=TensorProto.FLOAT):
        identity(tmp_path / "m.onnx", shape, kind)
        done = subprocess.run([cli, "run", "m.onnx", "-oo.npz", *options], cwd=tmp_path,
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return np.load(tmp_path / "o.npz")["y"], done.stderr

    return seen


@pytest.fixture
def refused(cli, tmp_path):
    def refused(shape, *options):
        identity(tmp_path / "m.onnx", shape)
        done = subprocess.run([cli, "run", "m.onnx", *options], cwd=tmp_path, capture_output=True,
                              text=True)
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        return done.stderr

    return refused


@pytest.fixture
def pixels(tmp_path):
    made = np.random.default_rng(1).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    png(tmp_path / "a.png", made)
    return made


@pytest.mark.parametrize("shape", [["N", 3, 6, 8], [1, 3, 6, 8], ["N", 3, "H", "W"], [3, 6, 8]])
def test_channels_first(seen, pixels, shape):
    found, note = seen(shape, "-ia.png")
    expected = np.float32(pixels.transpose(2, 0, 1) / 255)
    np.testing.assert_array_equal(found, expected.reshape(found.shape))
    assert len(found.shape) == len(shape)
    assert ("NCHW [1,3,6,8]" if len(shape) == 4 else "CHW [3,6,8]") in note and "0:1" in note


@pytest.mark.parametrize("shape", [["N", 6, 8, 3], ["N", "H", "W", 3], [6, 8, 3]])
def test_channels_last(seen, pixels, shape):
    found, note = seen(shape, "-ia.png")
    np.testing.assert_array_equal(found, np.float32(pixels / 255).reshape(found.shape))
    assert "HWC [" in note


@pytest.mark.parametrize("shape", [["N", 1, 6, 8], ["N", 6, 8, 1], ["N", 6, 8]])
def test_gray(seen, pixels, shape):
    found, note = seen(shape, "-ia.png")
    np.testing.assert_allclose(found.reshape(6, 8), pixels @ LUMA / 255, rtol=1e-6)
    assert "gray" in note


def test_range(seen, pixels):
    shape = ["N", 6, 8, 3]
    np.testing.assert_array_equal(seen(shape, "-ia.png", "--pixels=0:255")[0][0], pixels)
    np.testing.assert_allclose(seen(shape, "-ia.png", "--pixels=-1:1")[0][0], pixels / 127.5 - 1,
                               rtol=1e-5, atol=1e-6)
    mean, deviation = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    np.testing.assert_allclose(seen(shape, "-ia.png", "--pixels=imagenet")[0][0],
                               (pixels / 255 - mean) / deviation, rtol=1e-5, atol=1e-6)
    bytes_, note = seen(shape, "-ia.png", kind=TensorProto.UINT8)
    assert bytes_.dtype == np.uint8 and "0:255" in note
    np.testing.assert_array_equal(bytes_[0], pixels)


def test_halved(seen, tmp_path):
    """Twice as fine: a triangle two pixels wide to each side, 1/8 3/8 3/8 1/8, cut at the border."""
    line = np.array([0, 80, 160, 240, 200, 40, 0, 120], float)
    png(tmp_path / "fine.png", np.repeat(np.tile(line, (8, 1))[..., None], 3, 2).astype(np.uint8))
    found, note = seen(["N", 1, 4, 4], "-ifine.png", "--pixels=0:255")
    weights = np.array([1, 3, 3, 1])
    padded, ones = np.pad(line, 1), np.pad(np.ones(8), 1)
    expected = [padded[2 * i:2 * i + 4] @ weights / (ones[2 * i:2 * i + 4] @ weights)
                for i in range(4)]
    np.testing.assert_allclose(found[0, 0], np.tile(expected, (4, 1)), rtol=1e-5)
    assert "1 scaled to cover 4 x 4, the middle kept" in note


def test_middle(seen, tmp_path):
    """Twice as wide as the input: the outer quarters are cut off."""
    wide = np.zeros((4, 8, 3), np.uint8)
    wide[:, 2:6] = 255
    png(tmp_path / "wide.png", wide)
    found, _ = seen(["N", 3, 4, 4], "-iwide.png")
    np.testing.assert_array_equal(found, 1)
    found, _ = seen(["N", 3, 2, 2], "-iwide.png")
    assert found.min() > 0.8


def test_enlarged(seen, tmp_path):
    """Bilinear: what is linear stays so away from the border."""
    ramp = np.repeat(np.tile(np.arange(4) * 60, (4, 1))[..., None], 3, 2).astype(np.uint8)
    png(tmp_path / "ramp.png", ramp)
    found, _ = seen(["N", 1, 8, 8], "-iramp.png", "--pixels=0:255")
    np.testing.assert_allclose(found[0, 0, :, 1:7],
                               np.tile((np.arange(1, 7) - 0.5) * 30, (8, 1)), rtol=1e-5)


def test_jpeg(seen, tmp_path):
    (tmp_path / "a.JPG").write_bytes(JPEG)
    found, _ = seen(["N", 8, 16, 3], "-ia.JPG", "--pixels=0:255")
    assert np.abs(found[0, :, :8] - [200, 100, 50]).max() <= 3
    assert np.abs(found[0, :, 8:] - [20, 40, 220]).max() <= 3


def test_contents_decide(seen, pixels, tmp_path):
    """A PNG called .jpg is one all the same."""
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.png").read_bytes())
    found, _ = seen(["N", 6, 8, 3], "-ib.jpg")
    np.testing.assert_array_equal(found[0], np.float32(pixels / 255))


def test_pipe(cli, pixels, tmp_path):
    identity(tmp_path / "m.onnx", ["N", 6, 8, 3])
    subprocess.run([cli, "run", "m.onnx", "-i-", "-oo.npz", "-q"], cwd=tmp_path, check=True,
                   input=(tmp_path / "a.png").read_bytes())
    np.testing.assert_array_equal(np.load(tmp_path / "o.npz")["y"][0], np.float32(pixels / 255))


def test_several_and_folders(seen, tmp_path):
    """In the order given, those of a folder by name; hidden and other files are left out."""
    folder = tmp_path / "many"
    folder.mkdir()
    for i, name in enumerate(["c.png", "b.png", "a.PNG"]):
        png(folder / name, np.full((4, 4, 3), 10 * i, np.uint8))
    png(folder / ".hidden.png", np.full((4, 4, 3), 99, np.uint8))
    (folder / "notes.txt").write_text("no picture")
    png(tmp_path / "first.png", np.full((4, 4, 3), 50, np.uint8))
    found, note = seen(["N", 3, 4, 4], "-ix=first.png", "-ix=many", "--pixels=0:255")
    np.testing.assert_array_equal(found[:, 0, 0, 0], [50, 20, 10, 0])
    assert "first.png and others" in note and "[4,3,4,4]" in note


def test_references(cli, tmp_path):
    """Pictures as references and as samples add up like arrays of the same numbers."""
    values = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 4, 4])
    nodes = [helper.make_node("Tanh", ["x"], ["t"]),
             helper.make_node("GlobalAveragePool", ["t"], ["p"]),
             helper.make_node("Flatten", ["p"], ["y"])]
    graph = helper.make_graph(nodes, "g", [values], [
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8),
              tmp_path / "net.onnx")
    made = np.random.default_rng(3).integers(0, 256, (3, 4, 4, 3)).astype(np.uint8)
    for i, name in enumerate(["r0.png", "r1.png", "x.png"]):
        png(tmp_path / name, made[i])
    np.save(tmp_path / "r.npy", np.float32(made[:2].transpose(0, 3, 1, 2) / 255))

    def run(*references):
        subprocess.run([cli, "explain", "net.onnx", *references, "-oe.onnx"], cwd=tmp_path,
                       check=True)
        subprocess.run([cli, "run", "e.onnx", "-ix.png", "-oo.npz", "--strict", "-q"],
                       cwd=tmp_path, check=True)
        return np.load(tmp_path / "o.npz")["x_shap"]

    np.testing.assert_array_equal(run("-rr0.png", "-rr1.png"), run("-rr.npy"))


def test_refusals(refused, pixels, tmp_path):
    assert "no axis of 1 or 3 channels" in refused(["N", 4], "-ia.png")
    assert "no axis of 1 or 3 channels" in refused(["N", "C", "H", "W"], "-ia.png")
    png(tmp_path / "b.png", np.zeros((5, 5, 3), np.uint8))
    assert "takes any size, but all the same" in refused(["N", 3, "H", "W"], "-ia.png", "-ib.png")
    assert 'no batch axis for 2 pictures' in refused([3, 6, 8], "-ia.png", "-ib.png")
    assert 'no input "z", it has "x"' in refused(["N", 3, 6, 8], "-iz=a.png")
    (tmp_path / "text.png").write_text("words")
    assert "neither PNG nor JPEG" in refused(["N", 3, 6, 8], "-itext.png")
    (tmp_path / "empty").mkdir()
    assert "a folder without pictures" in refused(["N", 3, 6, 8], "-iempty")


PROMISES = {
    "png": lambda n: b"".join([b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", struct.pack(
        ">IIBBBBB", n, n, 8, 2, 0, 0, 0)), chunk(b"IDAT", zlib.compress(b"\0"))]),
    "jpg": lambda n: JPEG.replace(b"\x08\x00\x08\x00\x10\x03",
                                  b"\x08" + struct.pack(">HH", n, n) + b"\x03"),
}


@pytest.mark.parametrize("kind", PROMISES)
def test_promised_pixels(refused, tmp_path, kind):
    """A few bytes that promise 2 GB are refused before there is room for them."""
    data = PROMISES[kind](26000)
    (tmp_path / f"a.{kind}").write_bytes(data)
    assert f"a.{kind}: {len(data)} bytes do not hold 26000 x 26000 pixels" in refused(
        ["N", 3, 8, 16], f"-ia.{kind}")


@pytest.mark.parametrize("size", [3, 20, 200, len(JPEG) - 20])
def test_damaged_jpeg(refused, tmp_path, size):
    """What is cut short is not filled up with gray."""
    (tmp_path / "cut.jpg").write_bytes(JPEG[:size])
    assert "damaged or unusual JPEG" in refused(["N", 3, 8, 16], "-icut.jpg")


def test_plot_takes_a_jpeg(cli, tmp_path):
    np.savez(tmp_path / "e.npz", x_shap=np.ones((1, 3, 8, 16), np.float32))
    (tmp_path / "a.jpg").write_bytes(JPEG)
    subprocess.run([cli, "plot", "e.npz", "--image=a.jpg", "-oo.png", "-q"], cwd=tmp_path,
                   check=True)
    assert (tmp_path / "o.png").read_bytes().startswith(b"\x89PNG")
