"""Random graphs against a slow twin that was written from the formulas (twin.py): predictions,
base values and SHAP values. OX_GRAPHS says how many, OX_GRAPHS_FROM which is the first."""

import collections
import json
import os
import re
import subprocess

import numpy as np
import onnxruntime
import pytest

from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, NotImplemented

import kernels
import library
import twin
import twin_operators
from conftest import BUILD, ROOT
from twin_beyond import BEYOND

GRAPHS = int(os.environ.get("OX_GRAPHS", 2000))
FIRST = int(os.environ.get("OX_GRAPHS_FROM", 0))
PART = 50
OPTIONS = [{}, {"cache": 1}, {"cache": 3}, {"no_functions": True}, {"chunk": 1, "cache": 3},
           {"gap": True}]
SAMPLES, REFERENCES = 2, 2
COUNTS = collections.Counter()


def session(model, fast):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if fast:
        kernels.register(options, model)
    return onnxruntime.InferenceSession(model.SerializeToString(), options,
                                        providers=["CPUExecutionProvider"])


def special(rng, x, r):
    """Features that are the same, 0, tiny, large, or ties."""
    for _ in range(int(rng.integers(3))):
        at = tuple(int(rng.integers(n)) for n in x.shape[1:])
        kind = int(rng.integers(5))
        if kind == 0:
            r[(slice(None), *at)] = x[(0, *at)]
        elif kind == 1:
            x[(slice(None), *at)] = 0
        elif kind == 2:
            x[(slice(None), *at)] = 1e-40
        elif kind == 3:
            x[(0, *at)] = 50
        else:
            x[(slice(None), *at)] = x.reshape(len(x), -1)[:, 0]


def check(seed):
    draw = twin_operators.Draw(seed)
    graph, rng = draw.graph(), draw.rng
    x = rng.normal(size=(SAMPLES, *graph.shape)).astype(graph.kind)
    r = rng.normal(size=(REFERENCES, *graph.shape)).astype(graph.kind)
    special(rng, x, r)
    options, fast = OPTIONS[int(rng.integers(len(OPTIONS)))], bool(rng.integers(2))
    model = graph.model()
    try:
        original = session(model, False)
    except (Fail, NotImplemented, InvalidGraph):
        COUNTS["not in ONNX Runtime"] += 1
        return
    explained = library.explain(model, {"x": r}, target="all", **options)
    runner = session(explained, fast)
    outputs = runner.run(None, {"x": x})
    again = runner.run(None, {"x": x})  # the same bits, at this number of threads
    assert all(a.tobytes() == b.tobytes() for a, b in zip(outputs, again)), f"graph {seed}\n{graph}"
    check_wild(f"graph {seed}\n{graph}", model.graph, rng, runner, original, x, outputs)
    found = dict(zip([o.name for o in explained.graph.output], outputs))
    prediction = found[model.graph.output[0].name]
    plain = original.run(None, {"x": x})[0]
    eps = float(np.finfo(graph.kind).eps)
    for n in range(SAMPLES):
        for target in range(2):
            compare(seed, graph, found, prediction, plain, x, r, n, target, eps, (options, fast))


def check_wild(where, graph, rng, runner, original, x, outputs):
    """What is no number, or beyond all, in one sample: it predicts as it did, and the others get what
    they get without it, to the bit. Of float64 to the last one: functions that ONNX Runtime computes
    some at a time round otherwise where one of them is NaN. A max pool of ONNX Runtime makes the least
    finite number of -inf, and leaves NaN out, where it gives no indices: what it predicts is let be."""
    wild = x.copy()
    at = (0, *(int(rng.integers(n)) for n in x.shape[1:]))
    wild[at] = [np.nan, np.inf, -np.inf, 1e30, np.finfo(x.dtype).max][int(rng.integers(5))]
    with np.errstate(all="ignore"):
        found = runner.run(None, {"x": wild})
        plain, = original.run(None, {"x": wild})
    for mine, usual in zip(found, outputs):
        near = x.dtype == np.float64 and np.allclose(mine[1:], usual[1:], rtol=1e-14, atol=1e-15)
        assert near or np.array_equal(mine[1:], usual[1:], equal_nan=True), where
    pools = any(n.op_type in ("MaxPool", "GlobalMaxPool") for n in graph.node)
    assert pools or same(found[0][0], plain[0]), f"{where}\n{found[0]}\n{plain}"


def same(a, b):
    """To rounding of large terms that cancel, which two fusions may take in another order."""
    with np.errstate(all="ignore"):
        finite = np.isfinite(a) & np.isfinite(b)
        size = max(np.abs(a[finite]).max(initial=1), np.abs(b[finite]).max(initial=1))
        near = np.abs(a - b) <= 1e-4 * size
    return (near | (np.isnan(a) & np.isnan(b)) | (a == b)).all()


def compare(seed, graph, found, prediction, plain, x, r, n, target, eps, how):
    where = f"graph {seed}, sample {n}, target {target}, {how}\n{graph}"
    try:
        with np.errstate(over="ignore"):
            pairs = [twin.explain(graph, x[n:n + 1], one[None], target) for one in r]
    except twin.Unclear:
        COUNTS["unclear"] += 1
        return
    phi = np.mean([p[0] for p in pairs], axis=0)[0].astype(np.float64)
    if not np.isfinite(phi).all() or not np.isfinite(plain[n, target]):
        # a slope without bound times nothing, as of Acosh at 1; 0 over 0 in the model itself
        COUNTS["unclear"] += 1
        return
    size = float(max(p[3] for p in pairs))
    if not np.isfinite(size) or size > 1e6:
        COUNTS["too large"] += 1
        return
    COUNTS["compared"] += 1
    tolerance = 2048 * eps * max(size, 1)
    mine = found["x_shap"][n, target]
    value, base = float(pairs[0][1]), float(np.mean([p[2] for p in pairs]))
    assert abs(prediction[n, target] - plain[n, target]) <= tolerance, where
    assert abs(prediction[n, target] - value) <= tolerance, where
    assert abs(found["base_value"][n, target] - base) <= tolerance, where
    assert np.abs(mine - phi).max() <= tolerance, f"{where}\n{mine}\n{phi}"
    assert abs(mine.sum(dtype=np.float64) - (value - base)) <= tolerance, where


def test_every_operator(cli):
    """What is explained is drawn, or listed with a reason and the test that has it."""
    drawn = {(step.domain or "ai.onnx", step.op) for seed in range(2000)
             for step in twin_operators.Draw(seed).graph().steps}
    done = subprocess.run([cli, "ops", "--json"], capture_output=True, text=True, check=True)
    explained = {(row["domain"], row["op"]) for row in json.loads(done.stdout)
                 if row["state"] in ("differentiated", "decomposed")}
    domains = {"ms": "com.microsoft", "ml": "ai.onnx.ml", "ours": "onnxexplainer"}
    listed = set()
    for file, (reason, names) in BEYOND.items():
        text = (ROOT / "tests" / file).read_text()
        assert reason
        for name in names.split():
            domain, _, op = name.rpartition(":")
            assert re.search(rf"\b{op}\b", text), f"{file} has no {op}"
            listed.add((domains.get(domain, "ai.onnx"), op))
    assert listed <= explained, listed - explained
    assert not explained - drawn - listed, explained - drawn - listed
    assert len(drawn & explained) >= 105


@pytest.mark.parametrize("first", range(FIRST, FIRST + GRAPHS, PART))
def test_graphs(first):
    before = COUNTS["compared"]
    for seed in range(first, min(first + PART, FIRST + GRAPHS)):
        check(seed)
    print(dict(COUNTS))
    assert COUNTS["compared"] > before  # of the others the formulas leave a choice
