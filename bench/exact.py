#!/usr/bin/env python3
"""How close values come to Shapley values: small random nets of every kind (tests/exact_nets.py),
one sample, one reference, all coalitions enumerated. Prints the medians over the seeds of the rank
correlation (Spearman) and of the relative L2 distance, and the largest ratio of the sums of
absolute values.

Needs numpy, onnx, onnxruntime and the onnxexplainer command. `--peers` adds shap.DeepExplainer and
captum's DeepLift, which need torch."""
import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import exact_nets  # noqa: E402


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options)


def ours(command, options):
    """values(net, target) by the command line with `options`."""
    def values(net, target):
        with tempfile.TemporaryDirectory() as folder:
            model, references, out = (f"{folder}/{name}" for name in ("m.onnx", "r.npy", "e.onnx"))
            onnx.save(net.model(), model)
            np.save(references, net.r)
            subprocess.run([command, "explain", model, "--references", references, "-o", out,
                            f"--target={target}", "--cache=load", "--quiet", *options], check=True)
            return session(out).run(["x_shap"], {"x": net.x})[0]
    return values


# ---- peers --------------------------------------------------------------------------------------

def shap_values(net, target):
    import shap
    import torch
    from exact_torch import module_of
    explainer = shap.DeepExplainer(module_of(net), torch.from_numpy(net.r))
    phi = np.asarray(explainer.shap_values(torch.from_numpy(net.x), check_additivity=False))
    return phi.reshape(*net.x.shape, net.outputs)[..., target]


def captum_values(net, target):
    import torch
    from captum.attr import DeepLift
    from exact_torch import module_of
    x, r = torch.from_numpy(net.x).requires_grad_(), torch.from_numpy(net.r)
    return DeepLift(module_of(net)).attribute(x, r, target=target).detach().numpy()


# ---- figures ------------------------------------------------------------------------------------

def measure(kind, seeds, contenders):
    """{name: rows of agreement}, an empty list for those that fail on nets of this kind."""
    rows = {name: [] for name in contenders}
    for seed in range(seeds):
        net = exact_nets.make(kind, seed)
        plain = session(net.model().SerializeToString())
        exact, target = exact_nets.exact(net, lambda v: plain.run(["out"], {"x": v})[0])
        for name, values in contenders.items():
            if len(rows[name]) < seed:
                continue
            try:
                phi = values(net, target)
            except Exception as error:
                print(f"{kind}: {name}: {str(error).splitlines()[0]}", file=sys.stderr)
                rows[name] = []
                continue
            rows[name].append(exact_nets.agreement(net.per_player(phi), exact))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("kinds", nargs="*", default=[*exact_nets.KINDS],
                        help=f"of {', '.join(exact_nets.KINDS)} (default: all)")
    parser.add_argument("--command", default=ROOT / "build" / "onnxexplainer")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--option", metavar="OPTIONS", action="append", default=[],
                        help='a column with options of explain, such as --option="--pool=tree"; '
                             "repeat for more")
    parser.add_argument("--peers", action="store_true", help="columns for SHAP and Captum")
    arguments = parser.parse_args()

    contenders = {"onnxexplainer": ours(arguments.command, [])}
    for options in arguments.option:
        contenders[options] = ours(arguments.command, options.split())
    if arguments.peers:
        contenders |= {"SHAP": shap_values, "Captum": captum_values}
    print("Spearman / relative L2 / largest sum abs(phi)/sum abs(exact)\n")
    print("| net |", *(f" {name} |" for name in contenders), sep="")
    print("| --- |", *(" --- |" for _ in contenders), sep="")
    for kind in arguments.kinds:
        cells = []
        for rows in measure(kind, arguments.seeds, contenders).values():
            middle, most = np.median(rows, axis=0) if rows else None, np.max(rows, axis=0, initial=0)
            cells.append(f" {middle[0]:.3f} / {middle[1]:.3f} / {most[2]:.1f} |" if rows else " - |")
        print(f"| {kind} |", *cells, sep="", flush=True)


if __name__ == "__main__":
    main()
