"""Kernels on the blocked layout: on every instruction set they agree with their naive twins, for all
roles that operands may have."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

import kernels

SETS = ["plain", "neon", "avx2", "avx512"]  # one that the machine lacks runs as its best
BLOCK = 16


def run(op, inputs, **attributes):
    """Runs one node; inputs that are None are left out."""
    names = ["" if value is None else f"i{k}" for k, value in enumerate(inputs)]
    while names and not names[-1]:
        names.pop()
    node = helper.make_node(op, names, ["y"], domain="onnxexplainer", **attributes)
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape)
             for name, value in zip(names, inputs) if name]
    graph = helper.make_graph([node], "g", infos, [
        helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    model = helper.make_model(graph, ir_version=8, opset_imports=[
        helper.make_opsetid("", 18), helper.make_opsetid("onnxexplainer", 1)])
    options = onnxruntime.SessionOptions()
    kernels.register(options, model)
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    return session.run(None, {n: v for n, v in zip(names, inputs) if n})[0]


def both(monkeypatch, isa, op, inputs, **attributes):
    attributes = {"block": BLOCK, "targets": 1, **attributes}
    monkeypatch.setenv("ONNXEXPLAINER_ISA", "naive")
    wanted = run(op, inputs, **attributes)
    monkeypatch.setenv("ONNXEXPLAINER_ISA", isa)
    found = run(op, inputs, **attributes)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6 * np.abs(wanted).max(initial=0))
    return found


def numbers(rng, shape):
    """Normal numbers, with some that are 0, tiny or large."""
    x = rng.normal(size=shape) * 2
    kind = rng.integers(0, 20, size=shape)
    x = np.where(kind == 0, 0, np.where(kind == 1, x * 1e-30, np.where(kind == 2, x * 40, x)))
    return x.astype(np.float32)


# targets, references, samples, blocks, H, W
SIZES = {"one": (1, 1, 1, 1, 1, 1), "odd": (1, 3, 1, 2, 5, 7), "samples": (1, 3, 2, 1, 3, 3),
         "targets": (2, 3, 2, 1, 4, 3), "square": (2, 2, 2, 3, 2, 5), "tiles": (2, 2, 2, 1, 31, 35), "none": (1, 2, 0, 1, 3, 3)}
# which rows m, scale, add and acc have: all, one a target and sample, one a sample, one, or none
EXTRAS = {"m": ("all", None, None, None), "shared": ("targets", None, None, None),
          "scaled": ("all", "all", None, None), "constant": ("all", "one", None, "all"),
          "gated": ("all", "all", "all", None), "thin": ("thin", None, None, None),
          "thin sum": ("thin", "one", "samples", "all"), "all": ("targets", "samples", "one", "all")}


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("extras", EXTRAS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("op", ["BlockedReluFlow", "BlockedSwishFlow"])
def test_flows(monkeypatch, op, size, extras, isa):
    k, r, n, blocks, h, w = SIZES[size]
    rng = np.random.default_rng(len(op + size + extras))
    rows = {"all": k * r * n, "thin": k * r * n, "targets": k * n, "samples": n, "one": 1}
    channels = blocks * BLOCK
    made = []
    for i, kind in enumerate(EXTRAS[extras]):
        plane = (1, 1) if i in (1, 2) or kind == "thin" else (h, w)
        made.append(None if kind is None else numbers(rng, (rows[kind], channels, *plane)))
    m, scale, add, acc = made
    x, x0 = numbers(rng, (n, channels, h, w)), numbers(rng, (r, channels, h, w))
    if n:
        x0[0] = np.where(rng.integers(0, 3, size=x0[0].shape) == 0, x[0], x0[0])
    if acc is not None and extras == "constant":  # more channels than are wanted
        acc = numbers(rng, (k * r * n, channels + BLOCK, h, w))
    found = both(monkeypatch, isa, op, [m, x, x0, scale, add, acc], targets=k)
    assert found.shape == (k * r * n, channels, h, w) and np.isfinite(found).all()


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("size", SIZES)
def test_sums(monkeypatch, size, isa):
    k, r, n, blocks, h, w = SIZES[size]
    rng = np.random.default_rng(len(size))
    m = rng.normal(size=(k * r * n, blocks * BLOCK, h, w)).astype(np.float32)
    x = rng.normal(size=(n, blocks * BLOCK, h, w)).astype(np.float32)
    x0 = rng.normal(size=(r, blocks * BLOCK, h, w)).astype(np.float32)
    found = both(monkeypatch, isa, "BlockedSumFlow", [m, x, x0], targets=k)
    assert found.shape == (k * r * n, blocks * BLOCK, 1, 1)


PLAIN = dict(strides=[1, 1], dilations=[1, 1], pads=[0] * 4)
POOLS = {"side by side": dict(PLAIN, kernel_shape=[2, 2], strides=[2, 2]),
         "overlapping": dict(PLAIN, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
         "apart": dict(PLAIN, kernel_shape=[2, 1], strides=[3, 2]),
         "dilated": dict(PLAIN, kernel_shape=[2, 2], dilations=[2, 3], pads=[0, 1, 1, 2])}


def pooled(size, pool, axis):
    extent = (pool["kernel_shape"][axis] - 1) * pool["dilations"][axis] + 1
    total = size + pool["pads"][axis] + pool["pads"][2 + axis] - extent
    return total // pool["strides"][axis] + 1


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("ties", [False, True])
def test_pools(monkeypatch, pool, ties, isa):
    rng = np.random.default_rng(len(pool))
    h, w = 9, 8
    make = rng.normal if not ties else lambda size: rng.integers(0, 3, size=size)
    x, x0 = (np.asarray(make(size=(rows, 32, h, w)), np.float32) for rows in (2, 3))
    out = (pooled(h, POOLS[pool], 0), pooled(w, POOLS[pool], 1))
    m = rng.normal(size=(6, 32, *out)).astype(np.float32)
    found = both(monkeypatch, isa, "BlockedMaxPoolFlow", [m, x, x0], **POOLS[pool])
    assert found.shape == (6, 32, h, w) and np.isfinite(found).all()


@pytest.mark.parametrize("size", [(4, 6), (5, 5), (1, 4)])
@pytest.mark.parametrize("steps", [(2, 2), (3, 1), (1, 2)])
def test_phases(size, steps):
    """Against slices of the result, for which the blocked order makes no difference."""
    rng = np.random.default_rng(6)
    whole = rng.normal(size=(2, 2, *size, BLOCK)).astype(np.float32)
    parts = []
    for i in range(steps[0]):
        for j in range(steps[1]):
            part = np.zeros((2, 2, -(-size[0] // steps[0]), -(-size[1] // steps[1]), BLOCK),
                            np.float32)
            own = whole[:, :, i::steps[0], j::steps[1]]
            part[:, :, :own.shape[2], :own.shape[3]] = own
            parts.append(part.reshape(2, 2 * BLOCK, *part.shape[2:4]))
    found = run("BlockedInterleave", parts, block=BLOCK, steps=steps, size=size)
    np.testing.assert_array_equal(found.reshape(whole.shape), whole)
    if len(parts) > 1:
        parts[1] = None
        whole[:, :, 0::steps[0], 1::steps[1]] = 0 if steps[1] > 1 else whole[:, :, 0::steps[0], 1::1]
        if steps[1] == 1:
            whole[:, :, 1::steps[0]] = 0
        found = run("BlockedInterleave", parts, block=BLOCK, steps=steps, size=size)
        np.testing.assert_array_equal(found.reshape(whole.shape), whole)


@pytest.mark.parametrize("wrong", [dict(block=24), dict(targets=5), dict(block=0), dict(block=1 << 40)])
def test_what_does_not_fit_is_refused(wrong):
    x = np.ones((2, 32, 3, 3), np.float32)
    with pytest.raises(Exception, match="onnxexplainer|BlockedReluFlow"):
        run("BlockedReluFlow", [x, x[:1], x], **{"block": BLOCK, "targets": 1, **wrong})
