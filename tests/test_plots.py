"""Plots: what they show is right, labels do not overlap, colours are told apart by all readers."""

import io
import itertools
import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from package import ox  # noqa: F401, a fixture

KINDS = ("image", "text", "bar", "waterfall", "beeswarm", "force", "scatter", "decision", "heatmap",
         "logo", "table")
LONG = "the mean over all of the cells of the distance from the centre"


def table_values(ox, rows=40, features=20, outputs=2, seed=0):
    """A linear model's values with names of any length, some of which are alike."""
    rng = np.random.default_rng(seed)
    data = rng.normal(size=(rows, features)) * 10.0 ** rng.integers(-3, 4, features)
    weights = rng.normal(size=(features, outputs)) / np.abs(data).mean(0)[:, None]
    values = (data - data.mean(0))[..., None] * weights
    names = [f"{LONG} {i}" if i % 3 else f"f{i}" for i in range(features)]
    return ox.Explanation(values, np.full((rows, outputs), 0.5), data, feature_names=names)


def samples_for(ox, kind):
    """What a plot of the kind can draw, and options."""
    rng = np.random.default_rng(1)
    if kind == "image":
        values = rng.normal(size=(2, 3, 12, 16, 4))
        return ox.Explanation(values, np.zeros((2, 4)), rng.uniform(size=(2, 3, 12, 16))), \
            {"labels": [f"{LONG} {i}" for i in range(4)]}
    if kind == "text":
        words = "a short text <b> of words ##s & signs and some more of them".split()
        return ox.Explanation(rng.normal(size=(2, len(words), 2)), np.zeros((2, 2)),
                              np.array([words] * 2)), {}
    if kind == "logo":
        letters = np.eye(4)[rng.integers(0, 4, (1, 150))]
        return ox.Explanation(letters[..., None] * rng.normal(size=(1, 150, 4, 1)),
                              np.zeros((1, 1)), letters), {}
    return table_values(ox), {}


# ---- files -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_files(ox, kind, tmp_path):
    """Each kind becomes a PNG, an SVG and a page that needs nothing beside it."""
    source, options = samples_for(ox, kind)
    made = ox.plots.KINDS[kind](source, **options)
    paths = {suffix: made.save(tmp_path / f"plot.{suffix}") for suffix in ("png", "svg", "html")}
    with Image.open(paths["png"]) as picture:
        assert min(picture.size) > 100 and len(picture.getcolors(1 << 24)) > 2
    assert ElementTree.parse(paths["svg"]).getroot().tag.endswith("svg")
    page = (tmp_path / "plot.html").read_text()
    assert page.startswith("<!doctype html>") and page.count("<html") == 1
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    with pytest.raises(ox.ArgumentError, match="written to"):
        made.save(tmp_path / "plot.gif")
    shown = made._repr_html_() if hasattr(made, "_repr_html_") else made._repr_png_()
    assert shown.startswith(("<style", b"\x89PNG"[:4]) if isinstance(shown, str) else b"\x89PNG")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["plot.html", "plot.png", "plot.svg"]


def test_same_twice(ox):
    """Files are the same whenever they are made."""
    svg, again = (ox.plots.bar(table_values(ox)).svg() for _ in range(2))
    assert svg == again and "date" not in svg


def test_no_place(ox, tmp_path):
    with pytest.raises(ox.FileError, match="No such file"):
        ox.plots.table(table_values(ox)).save(tmp_path / "none" / "x.html")


def boxes(figure):
    """Visible texts with their boxes, in pixels."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    import matplotlib.text
    found, beyond = [], set() # ticks outside of the axes are there, but not drawn
    for axis in (axis for axes in figure.findobj(matplotlib.axes.Axes)
                 for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        beyond |= {id(label) for tick in axis.get_major_ticks()
                   for label in (tick.label1, tick.label2)
                   if not low - 1e-9 <= tick.get_loc() <= high + 1e-9}
    for item in figure.findobj(matplotlib.text.Text):
        hidden = id(item) in beyond or not item.get_visible() or not item.get_text().strip()
        axes = item.axes
        while axes is not None and not hidden:
            hidden, axes = not axes.get_visible(), None
        if not hidden:
            box = item.get_window_extent(renderer)
            if box.width > 0 and box.height > 0:
                found.append((item.get_text(), box))
    return found


def overlapping(made):
    """Pairs of labels of which one lies over the other."""
    found = boxes(made.figure if hasattr(made, "figure") else made.plot().figure)
    assert len(found) > 3
    for (a, one), (b, other) in itertools.combinations(found, 2):
        width = min(one.x1, other.x1) - max(one.x0, other.x0)
        height = min(one.y1, other.y1) - max(one.y0, other.y0)
        if width > 1.5 and height > 1.5:
            yield a, b, width, height


@pytest.mark.parametrize("kind, options", [
    *((kind, {}) for kind in KINDS), ("bar", {"sample": 3}), ("decision", {"sample": 3}),
    ("image", {"sign": ["all", "positive", "negative", "absolute"], "outputs": 2}),
    ("force", {"count": 40}), ("waterfall", {"count": 3}), ("beeswarm", {"count": 3})])
def test_labels_apart(ox, kind, options):
    """No label lies over another."""
    for seed in range(3 if kind in ("force", "waterfall") else 1):
        source, more = samples_for(ox, kind)
        if kind in ("force", "waterfall"):
            source = table_values(ox, seed=seed)
        assert list(overlapping(ox.plots.KINDS[kind](source, **more, **options))) == []


OF_TABLES = [("waterfall", {}), ("bar", {}), ("bar", {"sample": 0}), ("force", {}), ("decision", {}),
             ("decision", {"sample": 0}), ("beeswarm", {}), ("scatter", {}), ("heatmap", {})]


@pytest.mark.parametrize("kind, options", OF_TABLES)
def test_labels_apart_of_any_size(ox, kind, options):
    """Nor where values are tiny beside the base value or each other, huge, or of one sign."""
    for seed in (1, 13, 20, 21, 30, 34, 35):
        rng = np.random.default_rng(seed)
        features, rows = rng.integers(1, 9), rng.integers(1, 12)
        values = rng.normal(size=(rows, features)) * 10.0 ** rng.uniform(-4, 1, features) * \
            10.0 ** rng.integers(-4, 5)
        values = (np.abs(values), -np.abs(values), values)[seed % 3]
        base = np.full((rows, 1), rng.normal() * 10.0 ** rng.integers(-2, 4))
        data = rng.normal(size=(rows, features)) * 10.0 ** rng.integers(-3, 7, features)
        names = [f"feature of a name {i}" if rng.random() < .5 else f"f{i}"
                 for i in range(features)]
        source = ox.Explanation(values[..., None], base, data, feature_names=names)
        assert list(overlapping(ox.plots.KINDS[kind](source, **options))) == [], seed


@pytest.mark.parametrize("kind", ["waterfall", "bar"])
def test_number_of_a_small_bar(ox, kind):
    """That of a short bar at the left edge stands beside the feature's name, not over it."""
    names = ["age", "city", "visits", "income", "job"]
    source = ox.Explanation(np.array([[.276, .201, .0133, -.00788, .00576]])[..., None],
                            np.full((1, 1), .448), np.array([[65, 2, 1, 10801.7, 3]]),
                            feature_names=names)
    made = ox.plots.KINDS[kind](source)
    assert list(overlapping(made)) == []
    found = dict(boxes(made.figure))
    assert found["income = 10802"].x1 < found["\u22120.00788"].x0


@pytest.mark.parametrize("kind, options", OF_TABLES)
@pytest.mark.parametrize("base, value", [(0, 0), (123, 0), (123, 1e-13)])
@pytest.mark.filterwarnings("error")
def test_nothing_changes(ox, kind, options, base, value):
    source = ox.Explanation(np.full((2, 3, 1), float(value)), np.full((2, 1), float(base)),
                            np.ones((2, 3)))
    assert ox.plots.KINDS[kind](source, **options).svg()


def test_spread(ox):
    """Intervals are apart, inside, and where they belong if there is room."""
    from onnxexplainer.plots._draw import spread
    rng = np.random.default_rng(0)
    for _ in range(200):
        widths = rng.uniform(0.1, 1, rng.integers(1, 9))
        centres = rng.uniform(-1, 11, len(widths))
        places = spread(list(centres), list(widths), 0.0, 10.0)
        order = np.argsort(places)
        left, right = places[order] - widths[order] / 2, places[order] + widths[order] / 2
        assert left[0] >= -1e-9 and right[-1] <= 10 + 1e-9
        assert (left[1:] >= right[:-1] - 1e-9).all()
        assert (np.argsort(centres, kind="stable") == order).all()
    assert np.allclose(spread([1, 5], [1, 1], 0, 10), [1, 5])
    assert np.allclose(spread([5, 5], [2, 2], 0, 10), [4, 6])


# ---- colours -----------------------------------------------------------------------------

# Of linear RGB, for the three kinds of dichromats (Machado, Oliveira, Fernandes 2009).
VISIONS = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
               [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
               [0.004733, 0.691367, 0.303900]],
    "all": np.eye(3)}


def linear(colour):
    parts = np.array([int(colour[i:i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIE L*a*b* of linear RGB."""
    xyz = np.clip(rgb, 0, 1) @ np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192],
                                        [0.1805, 0.0722, 0.9505]]) / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", VISIONS)
def test_colours_for_all(ox, vision):
    """For and against differ by much more than what is just told apart (2.3) for any reader."""
    from onnxexplainer.plots import _draw
    seen = [lab(np.array(VISIONS[vision]) @ linear(c)) for c in (_draw.POSITIVE, _draw.NEGATIVE)]
    assert np.linalg.norm(seen[0] - seen[1]) > 35
    ramp = [lab(np.array(VISIONS[vision]) @ linear(_hex(c)))
            for c in _draw.low_high()(np.linspace(0, 1, 9))]
    steps = np.diff([c[0] for c in ramp])
    assert (steps > 0).all() # lightness alone orders them
    bases = [lab(np.array(VISIONS[vision]) @ linear(c)) for c in
             dict.fromkeys(__import__("onnxexplainer.plots._steps", fromlist=["x"]).BASES.values())]
    for a, b in itertools.combinations(bases, 2):
        assert np.linalg.norm(a - b) > 12


def _hex(colour):
    return "#" + "".join(f"{round(part * 255):02x}" for part in colour[:3])


def test_white_letters_are_legible(ox):
    """A contrast of 4.5, as WCAG asks."""
    from onnxexplainer.plots import _draw
    for colour in (_draw.POSITIVE, _draw.NEGATIVE, _draw.NEUTRAL, _draw.FAINT):
        assert 1.05 / (linear(colour) @ [0.2126, 0.7152, 0.0722] + 0.05) > 4.5


# ---- what values are ---------------------------------------------------------------------


def test_values(ox, tmp_path):
    """All that has SHAP values gives the same."""
    rng = np.random.default_rng(0)
    phi, base, data = rng.normal(size=(3, 5, 2)), rng.normal(size=(3, 2)), rng.normal(size=(3, 5))
    of = ox.plots.values
    whole = of(ox.Explanation(phi, base, data))
    assert whole.phi.shape == (3, 2, 5) and np.allclose(whole.predictions(), base + phi.sum(1))
    for other in (of(phi, data=data, base_values=base), of(phi, base_values=base),
                  of(phi, data=data), of(phi)):
        assert np.array_equal(other.phi, whole.phi)
    alone = of(ox.Explanation(phi[1], base[1], data[1]))
    assert np.array_equal(alone.phi, whole.phi[1:2]) and np.allclose(alone.base, base[1:2])
    one = of(ox.Explanation(phi[..., 0], base[:, 0], data))
    assert np.array_equal(one.phi, whole.phi[:, :1]) and np.allclose(one.base, base[:, :1])
    least = of(ox.Explanation(phi[1, :, 0], base[1, 0], data[1]))
    assert np.array_equal(least.phi, whole.phi[1:2, :1]) and np.allclose(least.base, base[1:2, :1])
    outputs = {"x_shap": np.moveaxis(phi, -1, 1), "shap_target": np.array([[4, 1]] * 3),
               "base_value": base, "y": rng.normal(size=(3, 7))}
    np.savez(tmp_path / "x.npz", **outputs)
    for found in (of(outputs, data=data), of(tmp_path / "x.npz", data={"x": data})):
        assert np.array_equal(found.phi, whole.phi) and found.scores is None
        assert found.label(0, 0) == "output 4" and np.array_equal(found.data, data)
    outputs["y"][:, [4, 1]] = base + phi.sum(1)
    assert np.array_equal(of(outputs).scores, outputs["y"])
    assert of(outputs, labels=list("abcdefg")).of_output("b").common_label() == "b"
    with pytest.raises(ox.ArgumentError, match='none of those explained: "e", "b"'):
        of(outputs, labels=list("abcdefg")).of_output("a")
    with pytest.raises(ox.ArgumentError, match="no SHAP values"):
        of({"y": phi})
    with pytest.raises(ox.ArgumentError, match=r"samples of shape \[3, 4\]"):
        of(outputs, data=data[:, :4])
    phi[2, 0, 0] = np.nan
    with pytest.raises(ox.ArgumentError, match="sample 2 are not finite"):
        of(phi)
    with pytest.raises(ox.FileError, match="none.npz"):
        of(tmp_path / "none.npz")


def test_probabilities(ox):
    from onnxexplainer.plots._values import probabilities
    logits = np.array([[1.0, 3.0, -2.0]])
    values = ox.plots.values(logits[:, None], base_values=np.zeros((1, 3)))
    soft = np.exp(logits) / np.exp(logits).sum()
    assert probabilities(values) is None # numbers without names may be anything
    named = ox.plots.values(values, labels=list("abc"))
    assert np.allclose(probabilities(named), soft) and probabilities(named, "none") is None
    assert np.allclose(probabilities(values, "sigmoid"), 1 / (1 + np.exp(-logits)))
    chances = ox.plots.values(soft[:, None], base_values=np.zeros((1, 3)))
    assert np.allclose(probabilities(chances), soft)


# ---- what plots show ---------------------------------------------------------------------


def test_waterfall_adds_up(ox):
    """Bars join the base value and the prediction, without gaps."""
    source = table_values(ox)
    axes = ox.plots.waterfall(source, sample=5, output=1, count=6).figure.axes[0]
    ends = sorted(((p.get_xy()[:, 0][0], p.get_xy()[:, 0][2], p.get_xy()[:, 1][2])
                   for p in axes.patches), key=lambda e: e[2])
    assert len(ends) == 6 and np.isclose(ends[0][0], 0.5)
    assert np.allclose([e[1] for e in ends[:-1]], [e[0] for e in ends[1:]])
    assert np.isclose(ends[-1][1], 0.5 + source.values[5, :, 1].sum())
    strengths = [abs(e[1] - e[0]) for e in ends[1:]]
    assert strengths == sorted(strengths)


def test_bar_lengths(ox):
    source = table_values(ox)
    mean = np.sort(np.abs(source.values[..., 0]).mean(0))[::-1]
    widths = [p.get_width() for p in ox.plots.bar(source, output=0, count=6).figure.axes[0].patches]
    assert np.allclose(widths, [*mean[:5], mean[5:].sum()])
    one = ox.plots.bar(source, sample=-1, output=0, count=99).figure.axes[0].patches
    assert np.allclose(sorted(p.get_width() for p in one), np.sort(source.values[-1, :, 0]))


def test_force_ends(ox):
    """What is for meets what is against at the prediction."""
    source = table_values(ox)
    axes = ox.plots.force(source, sample=2, output=0, count=99).figure.axes[0]
    ends = np.array([p.get_xy()[[0, 2], 0] for p in axes.patches])
    prediction = 0.5 + source.values[2, :, 0].sum()
    rising = ends[:, 1] > ends[:, 0]
    assert np.isclose(ends[rising].max(), prediction)
    assert np.isclose(ends[~rising].min(), prediction)
    assert np.allclose(np.sort(ends[:, 1] - ends[:, 0]), np.sort(source.values[2, :, 0]))


def test_decision_and_beeswarm(ox):
    source = table_values(ox, features=6)
    phi = source.values[..., 1]
    lines = ox.plots.decision(source, output=1).figure.axes[0].lines
    ends = [line.get_xdata()[-1] for line in lines[:40]]
    assert np.allclose(ends, 0.5 + phi.sum(1)) and lines[0].get_xdata()[0] == 0.5
    dots = ox.plots.beeswarm(source, output=1).figure.axes[0].collections
    order = np.argsort(-np.abs(phi).mean(0))
    for row, feature in zip(dots, order):
        assert np.allclose(row.get_offsets()[:, 0], phi[:, feature])
        assert np.ptp(row.get_offsets()[:, 1]) <= 0.9


def test_scatter_partner(ox):
    """The feature that a product goes with colours the dots; categories stand by name."""
    rng = np.random.default_rng(0)
    data = rng.normal(size=(200, 5))
    phi = np.zeros((200, 5))
    phi[:, 0] = data[:, 0] * data[:, 3]
    made = ox.plots.scatter(phi, 0, data=data, feature_names=list("abcde")).figure
    assert "d" in [t.get_text() for t in made.axes[-1].texts]
    mixed = data.astype(object)
    mixed[:, 0] = np.where(data[:, 0] > 0, "yes", "no")
    made = ox.plots.scatter(phi, "a", data=mixed, feature_names=list("abcde")).figure
    assert [t.get_text() for t in made.axes[0].get_xticklabels()] == ["no", "yes"]
    with pytest.raises(ox.ArgumentError, match="'z' is none of a, b"):
        ox.plots.scatter(phi, "z", data=data, feature_names=list("abcde"))


def test_heatmap(ox):
    rng = np.random.default_rng(0)
    source = ox.Explanation(rng.normal(size=(2, 1, 9, 7, 1)), np.zeros((2, 1)),
                            np.zeros((2, 1, 9, 7)))
    shown = ox.plots.heatmap(source, sample=1).figure.axes[0].images[0].get_array()
    assert np.allclose(shown, source.values[1, 0, :, :, 0].T)
    shown = ox.plots.heatmap(source, sample=1, steps_last=True).figure.axes[0].images[0].get_array()
    assert np.allclose(shown, source.values[1, 0, :, :, 0])
    table = table_values(ox, features=6)
    made = ox.plots.heatmap(table, output=0).figure
    shown = np.asarray(made.axes[0].images[0].get_array())
    assert np.allclose(np.sort(shown.sum(0)), np.sort(table.values[..., 0].sum(1)))
    assert np.allclose(made.axes[1].lines[0].get_ydata(), 0.5 + shown.sum(0))


def test_logo_letters(ox):
    """Letters are as high as their values, on their side of the line."""
    phi = np.zeros((1, 3, 4))
    phi[0, 0, 1], phi[0, 1, 2], phi[0, 2, 0], phi[0, 2, 3] = 2, -1, 0.5, 0.25
    for values in (phi, phi.transpose(0, 2, 1)):
        axes = ox.plots.logo(values[..., None]).figure.axes[0]
        heights = sorted((round(p.get_extents().transformed(axes.transData.inverted()).y0, 6),
                          round(p.get_extents().transformed(axes.transData.inverted()).y1, 6))
                         for p in axes.patches)
        assert heights == [(-1, 0), (0, 0.25), (0, 2), (0.25, 0.75)]
    with pytest.raises(ox.ArgumentError, match="alphabet="):
        ox.plots.logo(np.zeros((1, 5, 6, 1)))


def test_image_panels(ox):
    """Channels are added up; an output is a panel, from the highest prediction on; a strong pixel
    has the colour of its sign, a weak one shows the original."""
    phi = np.zeros((1, 3, 8, 8, 2))
    phi[0, :, 2, 3, 0], phi[0, 0, 5, 6, 0] = [1, 1, 1], -3
    phi[0, 0, 0, 0, 1] = 5
    data = np.zeros((1, 3, 8, 8))
    data[:, :, 4:] = 1
    made = ox.plots.image(phi, data=data, base_values=np.zeros((1, 2)), labels=list("ab"),
                          blend=0.5)
    panels = [axes.images[0].get_array() for axes in made.figure.axes[:3]]
    assert np.array_equal(panels[0], np.moveaxis(data[0], 0, -1))
    from onnxexplainer.plots import _image
    assert np.allclose(_image.heats(np.moveaxis(phi[0], -1, 0), 0)[0][[2, 5], [3, 6]], [3, -3])
    second = panels[2] # output 0 is predicted to be 0, output 1 to be 5
    assert second[2, 3, 0] > second[2, 3, 2] + 0.2 and second[5, 6, 2] > second[5, 6, 0] + 0.2
    assert np.allclose(second[0, 0], 0.5) and np.allclose(second[7, 7], 1)
    captions = [axes.get_title() for axes in made.figure.axes[1:3]]
    assert captions[0] == "b\n99.3%" and captions[1] == "a\n0.7%"
    for sign, at in (("positive", (2, 3)), ("negative", (5, 6))):
        panel = ox.plots.image(phi[..., :1], data=data, sign=sign,
                               blend=0).figure.axes[1].images[0].get_array()
        white = np.isclose(panel, 1, atol=1e-9).all(-1)
        assert not white[at] and white.sum() == 63
    with pytest.raises(ox.ArgumentError, match="all, positive"):
        ox.plots.image(phi, data=data, sign="most")


def test_smoothing(ox):
    """The mean of the pixels around that there are."""
    from onnxexplainer.plots._image import _smoothed
    plane = np.random.default_rng(0).normal(size=(6, 5))
    expected = [[plane[max(y - 2, 0):y + 3, max(x - 2, 0):x + 3].mean() for x in range(5)]
                for y in range(6)]
    assert np.allclose(_smoothed(plane, 2), expected)


# ---- texts and tables --------------------------------------------------------------------


def test_text(ox):
    """Pieces become words, padding one token; HTML is escaped; numbers stand for colours."""
    tokens = ["[CLS]", "<script>", "un", "##happy", "[SEP]", "[PAD]", "[PAD]"]
    phi = np.array([[0, 1.0, -0.25, -0.75, 0.01, 0.25, 0.25]])
    made = ox.plots.text(phi[..., None], tokens, base_values=np.zeros((1, 1)))
    line, = made.lines
    assert line.tokens == ["[CLS]", "<script>", "unhappy", "[SEP]", "[PAD] \u00d7 2"]
    assert np.allclose(line.values, [0, 1, -1, 0.01, 0.5])
    page = made.html()
    assert "<script>" not in page and "&lt;script&gt;" in page
    plain = made.terminal(False)
    assert "<script>[+1] unhappy[\u22121] [SEP] [PAD] \u00d7 2[+0.5]" in plain
    deep = made.terminal(True, deep=True)
    assert "\x1b[97;48;2;200;64;31m<script>\x1b[0m" in deep
    assert "\x1b[97;48;2;31;107;176munhappy\x1b[0m" in deep
    assert re.sub(r"\x1b\[[\d;]*m", "", made.terminal(True, deep=False)).splitlines()[1] == \
        "[CLS] <script> unhappy [SEP] [PAD] \u00d7 2"
    pieces = ox.plots.text(np.ones((1, 3, 4, 1)), ["\u2581two", "\u2581wor", "ds"],
                           data=np.zeros((1, 3, 4)))
    assert pieces.lines[0].tokens == ["two", "words"]
    assert np.allclose(pieces.lines[0].values, [4, 8]) # embeddings are added up
    ids = ox.plots.text(np.ones((1, 3, 1)), ["zero", "one", "two", "three"],
                        data=np.array([[3, 0, 9]]))
    assert ids.lines[0].tokens == ["three", "zero", "<9>"]
    with pytest.raises(ox.ArgumentError, match="4 tokens for 3"):
        ox.plots.text(np.ones((1, 3, 1)), list("abcd"))


def test_no_colour(ox, monkeypatch):
    """NO_COLOR is honoured also in a terminal."""
    made = ox.plots.text(np.ones((1, 2, 1)), ["a", "b"])
    monkeypatch.setattr("sys.stdout", type("Terminal", (io.StringIO,),
                                           {"isatty": lambda self: True})())
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in made.terminal()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in made.terminal()


def test_table(ox):
    source = table_values(ox)
    made = ox.plots.table(source, sample=4, output=1, count=5)
    rows = made.rows()
    assert len(rows) == 5 and rows[-1][0] == "16 other features"
    assert np.isclose(sum(row[2] for row in rows), source.values[4, :, 1].sum())
    assert dict(made.sums)["base value"] == 0.5
    assert np.isclose(dict(made.sums)["prediction"], 0.5 + source.values[4, :, 1].sum())
    assert made.text().count("\n") == 9 and "|" in made.text()
    source.feature_names[int(np.abs(source.values[4, :, 1]).argmax())] = "<b>"
    assert "&lt;b&gt;" in ox.plots.table(source, sample=4, output=1).html()
    with pytest.raises(ox.ArgumentError, match="there are 40"):
        ox.plots.table(source, sample=40)


# ---- photographs -------------------------------------------------------------------------


def info(ox, *shape):
    return ox.ValueInfo("x", "float32", shape, 1)


def test_preprocess(ox, tmp_path):
    """Presets, files, layouts; a picture of the model's size is taken as it is."""
    from onnxexplainer import _pictures
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    (tmp_path / "ours.json").write_text(json.dumps(
        {"do_rescale": False, "image_mean": [104, 117, 123], "order": "bgr"}))
    for name, expected in (("imagenet", (pixels / 255 - mean) / std), ("tf", pixels / 127.5 - 1),
                           ("0-1", pixels / 255),
                           (str(tmp_path / "ours.json"), pixels[..., ::-1] - [104., 117, 123])):
        settings = _pictures.preprocess(name)
        first, shown = _pictures.load([tmp_path / "x.png"], info(ox, "N", 3, 8, 8), settings)
        last, _ = _pictures.load([tmp_path / "x.png"], info(ox, "N", 8, 8, 3), settings)
        assert first.dtype == np.float32 and np.array_equal(shown[0], pixels)
        assert np.allclose(first[0], np.moveaxis(expected, -1, 0), atol=1e-4)
        assert np.array_equal(last[0], np.moveaxis(first[0], 0, -1))
    alone, _ = _pictures.load([tmp_path / "x.png"], info(ox, "N", 8, 8),
                              _pictures.preprocess("0-1"))
    assert alone.shape == (1, 8, 8)
    for refused, text in (("caffe", "none of imagenet"), (str(tmp_path / "no.json"), "No such")):
        with pytest.raises(ox.ArgumentError, match=text):
            _pictures.preprocess(refused)
    with pytest.raises(ox.ArgumentError, match="no pictures"):
        _pictures.load([tmp_path / "x.png"], info(ox, "N", 5), _pictures.preprocess("tf"))


def test_settings_of_others(ox, tmp_path):
    """preprocessor_config.json of transformers, config.json of timm."""
    from onnxexplainer import _pictures
    files = {"transformers": {"do_center_crop": True, "crop_size": {"height": 224, "width": 224},
                              "size": {"shortest_edge": 256}, "rescale_factor": 1 / 127.5,
                              "image_mean": [0.5] * 3, "image_std": [0.25] * 3},
             "timm": {"pretrained_cfg": {"input_size": [3, 224, 224], "crop_pct": 0.875,
                                         "mean": [0.5] * 3, "std": [0.25] * 3}}}
    for name, settings in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(settings))
        found = _pictures.preprocess(str(tmp_path / f"{name}.json"))
        assert found.crop == 0.875 and found.size == (224, 224)
        assert found.mean == (0.5,) * 3 and found.std == (0.25,) * 3
        assert np.isclose(found.factor, 1 / (127.5 if name == "transformers" else 255))


def test_cut(ox, tmp_path):
    """The middle square, scaled; turned as its EXIF says."""
    from onnxexplainer import _pictures
    wide = np.zeros((20, 40, 3), np.uint8)
    wide[:, 10:30] = 200
    Image.fromarray(wide).save(tmp_path / "wide.png")
    cut = np.asarray(_pictures.cut(_pictures.read(tmp_path / "wide.png"), (10, 10), 1.0))
    assert (cut[:, 1:-1] == 200).all() and (cut > 150).all() # borders are of both
    turned = Image.fromarray(wide)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert _pictures.read(tmp_path / "turned.jpg").size == (20, 40)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(ox.FileError, match="bad.png"):
        _pictures.read(tmp_path / "bad.png")
