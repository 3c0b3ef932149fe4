"""Operators on images that are decomposed or pick by index: GridSample, RoiAlign, DeformConv and
others, and convolutions whose filters vary."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from rulecheck import Rule, check, check_additive, floats, ints, node

import rulecheck


@pytest.fixture(autouse=True)
def newer():
    """Operators of opset 20 and 22 are among these."""
    former = rulecheck.OPSET
    rulecheck.OPSET = 22
    yield
    rulecheck.OPSET = former


def grid(n, *shape, low=-1.4, high=1.4, seed=5):
    """A grid for n samples, made for any batch by Expand."""
    return floats(1, *shape, low=low, high=high, seed=seed)


EXPAND = [
    node("Shape", "x", "batch", start=0, end=1),
    node("Concat", "batch rest", "grid_shape", axis=0),
    node("Expand", "fixed grid_shape", "grid"),
]


@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("corners", [0, 1])
def test_grid_sample_by_a_fixed_grid(explain, run, mode, padding, corners):
    nodes = [*EXPAND, node("GridSample", "x grid", "y", mode=mode, padding_mode=padding,
                           align_corners=corners)]
    constants = {"fixed": grid(1, 3, 4, 2), "rest": ints(3, 4, 2)}
    check_additive(Rule(nodes, {"x": (2, 4, 5)}, constants), explain, run)


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_grid_sample_of_volumes(explain, run, mode):
    nodes = [*EXPAND, node("GridSample", "x grid", "y", mode=mode)]
    constants = {"fixed": grid(1, 2, 2, 3, 3), "rest": ints(2, 2, 3, 3)}
    check_additive(Rule(nodes, {"x": (2, 3, 2, 4)}, constants), explain, run)


@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_grid_sample_by_a_grid_that_varies(explain, run, mode, padding):
    rule = Rule([node("GridSample", "x grid", "y", mode=mode, padding_mode=padding)],
                {"x": (2, 4, 3), "grid": (2, 3, 2)}, low=-1.3, high=1.3)
    check(rule, explain, run)


@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("size", [(2, 3, 4, 5), (2, 3, 2, 3, 4)])
def test_affine_grid(explain, run, corners, size):
    axes = len(size) - 2
    nodes = [node("Shape", "x", "batch", start=0, end=1),
             node("Concat", "batch rest", "size", axis=0),
             node("AffineGrid", "x size", "y", align_corners=corners)]
    check_additive(Rule(nodes, {"x": (axes, axes + 1)}, {"rest": ints(*size[1:])}), explain, run)


def roi_rule(mode, ratio, rois, half="half_pixel"):
    """The batch of RoiAlign's output is the regions: one image, cut out of x."""
    nodes = [node("RoiAlign", "x rois index", "y", mode=mode, sampling_ratio=ratio,
                  output_height=2, output_width=3, spatial_scale=0.5,
                  coordinate_transformation_mode=half)]
    return nodes, {"rois": np.array(rois, np.float32), "index": ints(*[0] * len(rois))}


def explain_one(explain, run, nodes, shape, constants, opset=22, seed=0, targets=None,
                low=-2, high=2, linear=False, tolerance=2e-5):
    """A model of a single sample, [1, shape], explained against three references: completeness of
    every output value for each reference on its own."""
    rng = np.random.default_rng(seed)
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *shape])
    out = helper.make_tensor_value_info("flat", TensorProto.FLOAT, None)
    nodes = [*nodes, node("Reshape", "y all", "flat")]
    constants = {**constants, "all": ints(1, -1)}
    initializers = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    domains = sorted({n.domain for n in nodes if n.domain})
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    model = helper.make_model(helper.make_graph(nodes, "one", [value], [out], initializers),
                              opset_imports=opsets, ir_version=10)
    x = rng.uniform(low, high, (1, *shape)).astype(np.float32)
    r = rng.uniform(low, high, (3, *shape)).astype(np.float32)
    same = rng.random(shape) < 0.3
    r[0][same] = x[0][same]
    prediction = run(model, x)["flat"]
    size = prediction.size
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("flat", TensorProto.FLOAT, [1, size]))
    singles = []
    for i in range(3):
        outputs = run(explain(model, r[i:i + 1], "--target=all"), x)
        np.testing.assert_array_equal(outputs["flat"], prediction)
        phi = outputs["x_shap"]
        assert np.isfinite(phi).all()
        base = run(model, r[i:i + 1])["flat"]
        gap = prediction - base - phi.reshape(1, size, -1).sum(axis=2, dtype=np.float64)
        assert np.abs(gap).max() <= tolerance * max(1, np.abs(prediction).max())
        singles.append(phi)
    together = run(explain(model, r, "--target=all"), x)["x_shap"]
    np.testing.assert_allclose(together, np.mean(singles, axis=0), atol=1e-5, rtol=1e-4)
    return singles


@pytest.mark.parametrize("half", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("mode, ratio, rois", [
    ("avg", 2, [[0, 0, 7, 5], [2, 1, 9, 9], [-3, -3, 4, 20]]),
    ("avg", 0, [[0, 0, 7, 5], [2, 1, 12, 9], [3.5, 3, 4, 4]]),
    ("max", 2, [[0, 0, 7, 5], [2, 1, 9, 9]]),
])
def test_roi_align(explain, run, mode, ratio, rois, half):
    nodes, constants = roi_rule(mode, ratio, rois, half)
    explain_one(explain, run, nodes, (2, 6, 7), constants, opset=21)


def test_max_unpool(explain, run):
    index = ints(0, 3, 10, 13, 18, 21, 30, 33).reshape(1, 2, 2, 2)
    nodes = [node("MaxUnpool", "x index shape", "y", kernel_shape=[2, 2], strides=[2, 2])]
    explain_one(explain, run, nodes, (2, 2, 2), {"index": index, "shape": ints(1, 2, 5, 4)})


@pytest.mark.parametrize("attributes", [
    {}, {"pads": [1, 0, 1, 2], "strides": [2, 1], "dilations": [1, 2]},
    {"group": 2, "offset_group": 2}])
@pytest.mark.parametrize("varies", [False, True])
def test_deform_conv(explain, run, attributes, varies):
    groups, parts = attributes.get("group", 1), attributes.get("offset_group", 1)
    conv = node("Conv", "x k", "places", **{k: v for k, v in attributes.items()
                                            if k in ("pads", "strides", "dilations")})
    k = floats(2 * parts * 6, 4, 2, 3, seed=3) * 0.2
    m = floats(parts * 6, 4, 2, 3, seed=4) * 0.2
    mask = [node("Conv", "x m", "score", **{k: v for k, v in attributes.items()
                                            if k in ("pads", "strides", "dilations")}),
            node("Sigmoid", "score", "mask")]
    offset, name = [conv], "places"
    constants = {"w": floats(4, 4 // groups, 2, 3), "b": floats(4), "k": k, "m": m}
    if not varies:
        size = (3, 4) if "pads" in attributes else (4, 4)
        fixed = numpy_helper.from_array(np.array([0.3], np.float32))
        offset = [node("Shape", "x", "batch", start=0, end=1),
                  node("Concat", "batch rest", "offset_shape", axis=0),
                  node("ConstantOfShape", "offset_shape", "offset", value=fixed)]
        constants["rest"], name = ints(2 * parts * 6, *size), "offset"
    nodes = [*offset, *mask, node("DeformConv", f"x w {name} b mask", "y", kernel_shape=[2, 3],
                                  **attributes)]
    used = {v for n in nodes for v in n.input}
    rule = Rule(nodes, {"x": (4, 5, 6)}, {k: v for k, v in constants.items() if k in used},
                low=-1, high=1)
    check(rule, explain, run)


@pytest.mark.parametrize("attributes", [
    {}, {"pads": [1, 0, 2, 1]}, {"strides": [2, 1], "dilations": [1, 2], "pads": [0, 1, 0, 1]}])
def test_col2im(explain, run, attributes):
    size = 1
    stride, dilation = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    pads = attributes.get("pads", [0] * 4)
    for k, (image, block) in enumerate(zip((5, 6), (2, 3))):
        size *= (image + pads[k] + pads[k + 2] - dilation[k] * (block - 1) - 1) // stride[k] + 1
    constants = {"image": ints(5, 6), "block": ints(2, 3)}
    rule = Rule([node("Col2Im", "x image block", "y", **attributes)], {"x": (2 * 6, size)},
                constants)
    check_additive(rule, explain, run)


@pytest.mark.parametrize("shape, axes", [((4, 9), (1, 2)), ((7, 3), (-1, 1)), ((4, 6), (1, 2)),
                                         ((5,), (2,))])
def test_center_crop_pad(explain, run, shape, axes):
    rule = Rule([node("CenterCropPad", "x shape", "y", axes=list(axes))], {"x": (5, 6, 2)},
                {"shape": ints(*shape)})
    check_additive(rule, explain, run)


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("attributes", [
    {"kernel_shape": [2, 2]}, {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]},
    {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER", "strides": [2, 2]}])
def test_lp_pool(explain, run, p, attributes):
    check(Rule([node("LpPool", "x", "y", p=p, **attributes)], {"x": (2, 5, 4)}), explain, run)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_global_lp_pool(explain, run, p, monkeypatch):
    monkeypatch.setattr(rulecheck, "OPSET", 21)
    check(Rule([node("GlobalLpPool", "x", "y", p=p)], {"x": (2, 3, 4)}), explain, run)


@pytest.mark.parametrize("attributes", [
    {}, {"strides": [2, 1], "pads": [1, 0, 1, 2], "dilations": [1, 2]}, {"group": 2}])
def test_conv_whose_filters_vary(explain, run, attributes):
    group = attributes.get("group", 1)
    nodes = [node("Reshape", "x to", "row"), node("MatMul", "row make", "made"),
             node("Reshape", "made shape", "w"), node("MatMul", "row bias", "b1"),
             node("Reshape", "b1 four", "b"), node("Conv", "x w b", "y", **attributes)]
    constants = {"to": ints(1, -1), "make": floats(4 * 5 * 6, 4 * (4 // group) * 6) * 0.1,
                 "shape": ints(4, 4 // group, 2, 3), "bias": floats(4 * 5 * 6, 4), "four": ints(4)}
    explain_one(explain, run, nodes, (4, 5, 6), constants, tolerance=1e-4)


@pytest.mark.parametrize("attributes", [
    {}, {"strides": [2, 1], "pads": [1, 0, 0, 2], "output_padding": [1, 0]},
    {"group": 2, "dilations": [1, 2]}])
def test_conv_transpose_whose_filters_vary(explain, run, attributes):
    group = attributes.get("group", 1)
    nodes = [node("Reshape", "x to", "row"), node("MatMul", "row make", "made"),
             node("Reshape", "made shape", "w"), node("ConvTranspose", "x w", "y", **attributes)]
    constants = {"to": ints(1, -1), "make": floats(48, 4 * (4 // group) * 6) * 0.1,
                 "shape": ints(4, 4 // group, 2, 3)}
    explain_one(explain, run, nodes, (4, 3, 4), constants, tolerance=1e-4)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_max_roi_pool(explain, run, scale):
    """Overlapping cells, a region beyond the border, and one of a single pixel."""
    regions = np.float32([[0, 0, 0, 6, 5], [0, 2, 1, 9, 9], [0, 3, 3, 3, 3], [0, 4, 1, 5, 2]])
    nodes = [node("MaxRoiPool", "x rois", "y", pooled_shape=[2, 3], spatial_scale=scale)]
    explain_one(explain, run, nodes, (2, 6, 7), {"rois": regions}, opset=18)
