"""python -m onnxexplainer report: one file with all that is said of a model and samples."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from conftest import ROOT
from package import ox  # noqa: F401, a fixture
from test_plots_command import model

DIGITS = ROOT / "examples" / "digits"


class Page(HTMLParser):
    """Heads, texts, and what a page would fetch."""

    def __init__(self, path):
        super().__init__()
        self.fetched, self.tags, self.text = [], [], ""
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "xlink:href") and not value.startswith(("data:", "#")):
                self.fetched.append(value)

    def handle_data(self, data):
        self.text += data + " "


@pytest.fixture
def report(ox, capsys, tmp_path):
    """report(*arguments): the page."""
    def report(*arguments):
        from onnxexplainer._report import main
        out = tmp_path / "report.html"
        assert main([*map(str, arguments), "-q", "-o", str(out)]) == 0, capsys.readouterr().err
        page = Page(out)
        assert page.fetched == [] and "script" not in page.tags and "link" not in page.tags
        return page
    return report


def test_images(report, ox, tmp_path):
    path = tmp_path / "digits.onnx"
    ox.explain(DIGITS / "digits.onnx", DIGITS / "references.npy", gap=True, target="top:2",
               output=path)
    np.save(tmp_path / "x.npy", np.load(DIGITS / "input.npy")[:2])
    (tmp_path / "classes.txt").write_text("\n".join(f"the <{i}>" for i in range(10)))
    page = report(path, "-i", tmp_path / "x.npy", "--labels", tmp_path / "classes.txt")
    for text in ("DeepSHAP", "20 fnv1a:", "top:2", "Conv 3", "image: float32 [N, 1, 28, 28]",
                 "largest gap", "Nothing to warn of", "one sample", "all 2 samples"):
        assert text in page.text, text
    assert re.search(r"the <\d> \d+\.\d%", page.text)
    assert page.tags.count("img") == 1


def test_table(report, tmp_path):
    rng = np.random.default_rng(0)
    np.savetxt(tmp_path / "x.csv", rng.normal(size=(30, 3)), delimiter=",", header="age,size,hue",
               comments="")
    page = report(model(tmp_path / "m.onnx", (3,), 1), "-i", tmp_path / "x.csv", "-r", "fill:0",
                  "--title", "Ages & sizes")
    assert page.tags.count("svg") >= 8 and "Ages & sizes" in page.text
    for kind in ("beeswarm", "bar", "waterfall, sample 2", "scatter", "decision", "table, sample 0",
                 "age", "and 10 more samples"):
        assert kind in page.text, kind


def test_wrong_sums_are_told(report, ox, tmp_path):
    """What the check finds stands in the report."""
    path = model(tmp_path / "m.onnx", (3,), 1)
    x = np.ones((2, 3), np.float32)
    x[1, 0] = np.inf
    np.save(tmp_path / "x.npy", x)
    page = report(path, "-i", tmp_path / "x.npy", "-r", "fill:0")
    assert "Nothing to warn of" not in page.text and "sample 1" in page.text


def test_refused(ox, capsys, tmp_path):
    from onnxexplainer._report import main
    path = model(tmp_path / "m.onnx", (3,), 1)
    np.save(tmp_path / "x.npy", np.ones((2, 3), np.float32))
    for out, text in (("r.pdf", "written to .html"), ("none/r.html", "none/r.html")):
        assert main([str(path), "-i", str(tmp_path / "x.npy"), "-r", "fill:0", "-o",
                     str(tmp_path / out)]) == 1
        assert text in capsys.readouterr().err
