#!/usr/bin/env python3
"""10,000 rows of a table through shap_values, against shap.DeepExplainer: rows.py [ROWS]. Both have
the same PyTorch module, the same 100 references and two threads; they take turns, since the machine
may be shared. SHAP is given all rows at once, too, which is its fastest. Needs onnxexplainer, torch
and shap installed."""

import os
import sys
import time
import warnings

import numpy as np

THREADS, ROUNDS, FEATURES, REFERENCES = 2, 3, 30, 100
os.environ["OMP_NUM_THREADS"] = str(THREADS)
warnings.filterwarnings("ignore")

import shap  # noqa: E402
import torch  # noqa: E402

import onnxexplainer  # noqa: E402


def network():
    torch.manual_seed(0)
    layers = []
    for into, out in ((FEATURES, 64), (64, 32)):
        layers += [torch.nn.Linear(into, out), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(32, 2)).eval()


def timed(function):
    start = time.perf_counter()
    found = function()
    return found, time.perf_counter() - start


def main():
    torch.set_num_threads(THREADS)
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    rng = np.random.default_rng(0)
    table = rng.normal(size=(rows, FEATURES)).astype(np.float32)
    references, model = table[rng.permutation(rows)[:REFERENCES]], network()
    theirs = shap.DeepExplainer(model, torch.tensor(references))
    ours, made = timed(lambda: onnxexplainer.DeepExplainer(model, references, threads=THREADS))
    ours.shap_values(table[:32]) # sessions are made when first asked for
    seconds = {"ours": [], "shap": []}
    for _ in range(ROUNDS):
        mine, took = timed(lambda: ours.shap_values(table))
        seconds["ours"].append(took)
        other, took = timed(lambda: theirs.shap_values(torch.tensor(table)))
        seconds["shap"].append(took)
        ratio = seconds["shap"][-1] / seconds["ours"][-1]
        print(f"ours {seconds['ours'][-1]:.2f} s, shap {took:.2f} s, ratio {ratio:.0f}", flush=True)
    assert mine.shape == other.shape
    error = np.linalg.norm(mine - other) / np.linalg.norm(other)
    best = min(seconds["shap"]) / min(seconds["ours"])
    print(f"{rows} rows, {REFERENCES} references: {best:.0f} times as fast, relative difference "
          f"{error:.1e}; the explainer was made in {made:.1f} s")


main()
