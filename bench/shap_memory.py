#!/usr/bin/env python3
"""Peak memory and time of shap.DeepExplainer on PyTorch, beside those of bench/ideal.py.

The network is the one of bench/networks.py with the same weights, in PyTorch, and SHAP
explains the highest logit of the sample. It runs as its users run it (ranked_outputs=1), but
for the check of additivity, which does not work together with ranked outputs in shap 0.51.
The completeness error is that of bench/ideal.py.

Weights are calibrated in another process, and read into the measured one by mapping the file,
so that the peak is that of SHAP. "imported" is the peak before the explainer is made: Python,
PyTorch, SHAP, the network and the references.
"""
import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

import images


def peak():
    """Peak memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def prepare(options):
    """Writes the weights of the network; runs in a process of its own."""
    import torch
    import networks

    photographs = np.concatenate(images.load(20, options.images))
    torch.save(networks.build(options.network, photographs).state_dict(), options.weights)


def measure(options):
    import shap
    import torch
    import networks

    torch.set_num_threads(options.threads)
    with torch.device("meta"):
        net = networks.NETWORKS[options.network]().eval()
    net.load_state_dict(torch.load(options.weights, mmap=True), assign=True)
    references = torch.as_tensor(np.load(options.references))
    sample = torch.as_tensor(np.load(options.input))
    imported = peak()

    warnings.filterwarnings("ignore")  # SHAP warns of every module that it does not know
    start = time.perf_counter()
    explainer = shap.DeepExplainer(net, references)
    made = time.perf_counter() - start
    seconds = []
    for _ in range(options.rounds):
        start = time.perf_counter()
        phi, target = explainer.shap_values(sample, ranked_outputs=1, check_additivity=False)
        seconds.append(time.perf_counter() - start)
    highest = peak()

    with torch.no_grad():
        k = int(target[0, 0])
        dy = float(net(sample)[0, k]) - float(net(references)[:, k].double().mean())
    phi = np.asarray(phi, np.float64)
    gap = abs(phi.sum() - dy) / max(abs(dy), 1e-3 * abs(phi).sum())
    print(f"shap {shap.__version__}, torch {torch.__version__}, {options.network}, "
          f"R = {len(references)}, {options.threads} threads, {options.rounds} rounds")
    print(f"{'':10}{'min ms':>9}{'median':>9}{'peak MiB':>10}{'imported':>10}{'made s':>8}")
    print(f"{'shap':10}{min(seconds) * 1e3:9.1f}{statistics.median(seconds) * 1e3:9.1f}"
          f"{highest:10.0f}{imported:10.0f}{made:8.2f}")
    print(f"completeness error {gap:.1e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("network", help="vgg19, resnet50, densenet201 or efficientnetb0")
    parser.add_argument("--references", required=True, help=".npy [R,3,224,224]")
    parser.add_argument("--input", required=True, help=".npy with the sample")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=Path, default=images.PHOTOGRAPHS,
                        help="folder of PNG files to calibrate on")
    parser.add_argument("--step", choices=(prepare.__name__, measure.__name__),
                        help=argparse.SUPPRESS)
    parser.add_argument("--weights", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        {"prepare": prepare, "measure": measure}[options.step](options)
        return
    with tempfile.TemporaryDirectory() as folder:
        for step in ("prepare", "measure"):
            subprocess.run([sys.executable, __file__, *sys.argv[1:], "--step", step,
                            "--weights", f"{folder}/weights.pt"], check=True)


if __name__ == "__main__":
    main()
