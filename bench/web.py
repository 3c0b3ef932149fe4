#!/usr/bin/env python3
"""web.py [--rounds=30]: how long explaining takes in the page of web/, beside ONNX Runtime as Python
has it, on the same files. One of each in turn; of all rounds the least is printed, as rows of the
table in docs/web.md. `build/venv/bin/python bench/web.py` runs it after `make` and
`tools/setup npm chromium`."""

import argparse
import pathlib
import subprocess
import sys
import time

import numpy as np
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parent.parent
NODE, MODELS = ROOT / "build/web/node", ROOT / "build/web/site/models"
NAMES = {"digit": "digit, 20 references, ten classes",
         "picture": "efficientnet_lite0, 3 references, three classes"}
KINDS = ("page", "native", "kernels")
SHAPES = {"digit": (1, 1, 28, 28), "picture": (1, 3, 224, 224)}


class Native:
    def __init__(self, tab, threads, kernels):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        if kernels:
            options.register_custom_ops_library(str(ROOT / "build/libonnxexplainer_ops.so"))
        self.session = onnxruntime.InferenceSession(MODELS / f"{tab}.onnx", options)
        sample = np.random.default_rng(0).random(SHAPES[tab], np.float32)
        self.feeds = {self.session.get_inputs()[0].name: sample}

    def __call__(self):
        began = time.perf_counter()
        self.session.run(None, self.feeds)
        return 1000 * (time.perf_counter() - began)


class Page:
    def __init__(self, browser, threads):
        self.browser, self.threads = browser, threads

    def __call__(self):
        print(self.threads, file=self.browser.stdin, flush=True)
        return float(self.browser.stdout.readline())


def measure(address, tab, rounds):
    command = ["node", ROOT / "bench/web.mjs", address, "/usr/bin/chromium", tab]
    with subprocess.Popen(command, cwd=NODE, text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as browser:
        runs = {}
        for threads in (1, 2):
            runs["page", threads] = Page(browser, threads)
            runs["native", threads] = Native(tab, threads, False)
            runs["kernels", threads] = Native(tab, threads, True)
        least = dict.fromkeys(runs, float("inf"))
        for _ in range(rounds):
            for key, run in runs.items():
                least[key] = min(least[key], run())
        browser.stdin.close()
    return least


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    command = [sys.executable, ROOT / "tools/web", "--dev", "--serve", "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        address = server.stdout.readline().strip()
        for tab, name in NAMES.items():
            least = measure(address, tab, rounds)
            for threads in (1, 2):
                page, native, kernels = (least[kind, threads] for kind in KINDS)
                print(f"| {name} | {threads} | {page:.0f} | {native:.1f} | {kernels:.1f} "
                      f"| {page / native:.1f} |", flush=True)
        server.terminate()


if __name__ == "__main__":
    main()
