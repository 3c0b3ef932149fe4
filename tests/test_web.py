"""The page of web/, used in a real browser (web_page.mjs): what it shows is what the command line
computes, nothing leaves its origin, and it can be used by everybody. OX_UPDATE=1 keeps the
screenshots in docs/web/; they are looked at before they are committed."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from PIL import Image

from conftest import ROOT
from package import ox  # noqa: F401, a fixture

TOLERANCE = 1e-4  # of probabilities and SHAP values, page and command line
CHROMIUM = "/usr/bin/chromium"
NODE = ROOT / "build/web/node"
SHARED = ROOT.parent / "shared"
MODELS, IMAGES = SHARED / "models", SHARED / "images"
SITE_MODELS = ROOT / "build/web/site/models"
OF_SHARED = {"picture", "text"}
EXPLAINER = ROOT / "build/machines/wasm/build/onnxexplainer_page.wasm"  # of tools/check-machines wasm


@pytest.fixture(scope="module")
def address():
    """Of the page, served as `make web` does."""
    command = [sys.executable, str(ROOT / "tools/web"), "--dev", "--serve", "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        line = server.stdout.readline().strip()
        assert line.startswith("http://localhost:"), "tools/web did not begin to serve"
        yield line
        server.terminate()


def write(path, array):
    np.save(path, array)
    return str(path)


@pytest.fixture(scope="module")
def own(cli, tmp_path_factory):
    """Models of one's own: {name: (explained model, files that are dropped with it)}"""
    folder = tmp_path_factory.mktemp("own")

    def explained(name, model, *options):
        out = folder / f"{name}.onnx"
        subprocess.run([cli, "explain", "--quiet", model, *options, "-o", out], check=True)
        return str(out)

    digits = ROOT / "examples/digits"
    network = ROOT / "examples/diabetes/network.onnx"
    with np.load(ROOT / "examples/diabetes/data.npz") as data:
        references, sample = data["references"], data["samples"][:1].astype(np.float32)
    made = {
        "own table": (explained("diabetes", network, "-r", write(folder / "r.npy", references)),
                      [write(folder / "sample.npy", sample)]),
        "own picture": (explained("digits", digits / "digits.onnx", "-r", digits / "references.npy",
                                  "--gap"), [str(folder / "digit.png")]),
    }
    if EXPLAINER.exists(): # by the page; this is what it should be like
        made["own explained here"] = (explained("here", digits / "digits.onnx", "-r",
                                                 digits / "references.npy"), [])
    ink = np.load(digits / "input.npy")[4, 0]
    Image.fromarray((255 * ink).round().astype(np.uint8)).save(folder / "digit.png")
    if MODELS.is_dir():
        topics, parts = MODELS / "text_bag_topics", MODELS / "multi_input_breast"
        ids = np.load(topics / "input.npy")[:1]
        made["own tokens"] = (
            explained("topics", topics / "model.onnx", "-r", topics / "background.npy",
                      "--target=all"),
            [write(folder / "ids.npy", ids), str(topics / "classes.txt")])
        references = [f"-r{name}={parts}/background_{name}.npy"
                      for name in ("mean", "error", "worst")]
        made["own with three inputs"] = (
            explained("breast", parts / "model.onnx", *references, "--target=input"),
            [str(parts / "classes.txt")])
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("web")


@pytest.fixture(scope="module")
def seen(address, own, folder):
    """What a person at the page saw."""
    assert shutil.which(CHROMIUM), "tools/setup chromium npm installs the browser"
    demos = json.loads((SITE_MODELS / "index.json").read_text())
    example, listener = html_of_docs()
    plan = {"chromium": CHROMIUM, "demos": demos, "picture": str(IMAGES / "cat_chelsea.png"),
            "digit": own["own picture"][1][0],
            "texts": texts() if "text" in demos else [],
            "refused": refused(folder),
            "example": example,
            "listener": re.search(r"<script[^>]*>(.*)</script>", listener, re.S)[1],
            "own": {name: [model, *beside] for name, (model, beside) in own.items() if beside},
            "explained": [str(ROOT / "examples/digits" / name) for name in ("digits.onnx", "references.npy")] +
                         own["own picture"][1] if EXPLAINER.exists() else None}
    (folder / "plan.json").write_text(json.dumps(plan))
    done = subprocess.run(["node", ROOT / "tests/web_page.mjs", address, folder], cwd=NODE,
                          capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "seen.json").read_text())


def refused(folder):
    """Files that are no explained models: one that is not explained, one that only says so, one
    that is no model."""
    plain = ROOT / "examples/digits/digits.onnx"
    said, other = folder / "said.onnx", folder / "other.onnx"
    model = onnx.load(plain)
    onnx.helper.set_model_props(model, {"onnxexplainer.version": "0.1.0"})
    onnx.save(model, said)
    other.write_text("This is no model.")
    return [str(path) for path in (plain, said, other)]


def html_of_docs():
    return re.findall(r"```html\n(.*?)```", (ROOT / "docs/web.md").read_text(), re.S)


def texts():
    return (MODELS / "minilm_l3_topics/input_texts.txt").read_text().splitlines()[:6]


def native(cli, tmp_path, model, feeds):
    """Outputs of the command line for what the page gave the model."""
    command = [cli, "run", "--quiet", model, "-o", tmp_path / "found.npz"]
    for i, (name, tensor) in enumerate(feeds.items()):
        array = np.array(tensor["data"], tensor["type"]).reshape(tensor["dims"])
        command += ["--input", f"{name}={write(tmp_path / f'{i}.npy', array)}"]
    subprocess.run(command, check=True)
    with np.load(tmp_path / "found.npz") as found:
        return {name: found[name] for name in found.files}


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def check(cli, tmp_path, model, result):
    expected = native(cli, tmp_path, model, result["feeds"])
    assert result["outputs"].keys() == expected.keys()
    assert any(name.endswith("_shap") for name in expected)
    for name, value in expected.items():
        found = np.array(result["outputs"][name]["data"]).reshape(value.shape)
        np.testing.assert_allclose(found, value, rtol=0, atol=TOLERANCE, err_msg=name)
        if name == "logits":
            np.testing.assert_allclose(softmax(found), softmax(value), rtol=0, atol=TOLERANCE)
    return expected


RESULTS = ["digit", "digit of a picture", "digit to show", "digit by keys", "digit on one thread",
           "digit listened to", "digit offline", "picture", "picture to show", "text 0", "text 1",
           "text 2", "text to show", "table", "table by slider", "own table", "own picture",
           "own tokens", "own with three inputs", *["own explained here"] * EXPLAINER.exists()]


@pytest.mark.parametrize("name", RESULTS)
def test_values_are_the_command_lines(cli, tmp_path, seen, own, name):
    if not SHARED.is_dir() and name not in seen["results"]:
        pytest.skip("no ../shared folder")
    model = own[name][0] if name in own else SITE_MODELS / f"{name.split()[0]}.onnx"
    result = seen["results"][name]
    check(cli, tmp_path, model, result)
    missed = re.search(r"^missed by\n(.+)$", result["text"], re.MULTILINE).group(1)
    assert float(missed.replace("−", "-")) < TOLERANCE


def test_the_drawn_digit_is_read(seen):
    assert seen["results"]["digit"]["headline"].split()[0] == "7"
    assert seen["results"]["digit of a picture"]["headline"].split()[0] == "4"
    assert seen["results"]["digit by keys"]["headline"].split()[0] == "1"
    assert seen["results"]["digit offline"]["headline"].split()[0] == "7"


def test_another_class_has_another_map(seen):
    first, second = seen["heat"]
    assert first.endswith("against 7") and second.endswith("against 1")


def test_a_picture_becomes_the_numbers_of_the_command_line(cli, shared, tmp_path, seen):
    """(x - 127) / 128 of a dropped PNG is --pixels from -127 / 128 on."""
    subprocess.run([cli, "run", "--quiet", SITE_MODELS / "picture.onnx",
                    "--input", IMAGES / "cat_chelsea.png", "--pixels=-0.9921875:1", "-o", tmp_path / "found.npz"], check=True)
    with np.load(tmp_path / "found.npz") as found:
        logits = found["logits"]
    page = seen["results"]["picture"]["outputs"]["logits"]["data"]
    np.testing.assert_allclose(softmax(np.array(page)), softmax(logits[0]), rtol=0, atol=TOLERANCE)


def test_texts_have_the_tokens_of_the_model(shared, seen):
    expected = np.load(MODELS / "minilm_l3_topics/input_input_ids.npy")
    mask = np.load(MODELS / "minilm_l3_topics/input_attention_mask.npy")
    for i in range(len(texts())):
        feeds = seen["results"][f"text {i}"]["feeds"]
        assert feeds["input_ids"]["data"] == expected[i].tolist()
        assert feeds["attention_mask"]["data"] == mask[i].tolist()


def test_the_sum_of_a_waterfall(seen):
    text = seen["results"]["table"]["text"]
    base, *contributions, score = [float(number.replace("−", "-")) for number in
                                   re.findall(r"^.*\t([+−]?[\d.]+)$", text, re.MULTILINE)]
    assert len(contributions) == 10
    assert abs(base + sum(contributions) - score) < 0.02  # of numbers with three digits


def test_what_is_not_explained_is_refused(seen):
    plain, said, other = seen["refused"]
    assert plain.startswith("digits.onnx is not explained yet")
    assert plain.splitlines()[-1] == ("onnxexplainer explain digits.onnx --references "
                                      "references.npy --gap -o digits.explained.onnx")
    assert said == 'the model says that it is explained, but has no output "shap_target"'
    assert other == "not an ONNX model"


def test_nothing_leaves_the_page(seen, address):
    assert len(seen["requests"]) > 20
    assert [r for r in seen["requests"] if not r.startswith((address, f"blob:{address}"))] == []
    assert seen["leaves"] == "kept"


def test_no_errors(seen):
    assert seen["messages"] == []


def test_everybody_can_use_it(seen):
    assert seen["violations"] == []
    assert (seen["end"], seen["around"]) == ("Your model", "Digit")


def test_it_fits_a_phone(seen):
    assert seen["widths"] and set(seen["widths"].values()) == {390}


def test_it_works_offline_on_threads(seen):
    assert seen["offline"] == {"isolated": True, "online": False}


def test_what_the_docs_show(seen):
    number = r"(-?\d+\.\d{3})"
    said = re.fullmatch(rf"A blank page is most like a \d: {number} = {number}", seen["said"])
    assert said and said[1] == said[2]
    assert seen["logged"] in seen["times"]


def test_colours_are_those_of_the_plots(ox):  # noqa: F811
    style = (ROOT / "web/style.css").read_text()
    colours = re.findall(r"--(positive|negative): light-dark\((#\w+),", style)
    draw = ox.plots._draw
    assert dict(colours) == {"positive": draw.POSITIVE, "negative": draw.NEGATIVE}


def test_screenshots(seen, folder):
    demos = json.loads((SITE_MODELS / "index.json").read_text())
    for name in demos:
        for kind in ("desktop", "phone"):
            taken = Image.open(folder / f"{name}-{kind}.png").convert("RGB")
            assert taken.width == {"desktop": 1200, "phone": 390}[kind]
            assert len(taken.getcolors(1 << 24)) > 50
            if os.environ.get("OX_UPDATE"):
                out = ROOT / f"docs/web/{name}-{kind}.png"
                out.parent.mkdir(exist_ok=True)
                taken.quantize(256, kmeans=3, dither=Image.Dither.NONE).save(out, optimize=True)
