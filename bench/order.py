"""What the second order costs: time and memory of `--order=2` beside order 1, in one alternating run.

    bench/order.py [NETWORK|MODEL.onnx ...] [--refs 10] [--threads 2] [--folder build/bench]

A network is one of networks.py. Time is that of the fastest round as a multiple of ideal and, of
order 2, of order 1 with the same kernels; memory is what the process takes beyond its imports."""
import argparse
from pathlib import Path
from types import SimpleNamespace

from contenders import ours
from heats import Heat
from models import Case, Files

KINDS = {"portable": {}, "kernels": {"kernels": True}, "tuned": {"kernels": True, "tune": True}}
NETWORKS = ("resnet50", "vgg19", "densenet201", "efficientnetb0")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="*", default=NETWORKS)
    parser.add_argument("--refs", type=int, default=10)
    parser.add_argument("--size", type=int, default=0, help="of images (default: the usual one)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--folder", type=Path, default=Path("build/bench"), help="of networks")
    return parser.parse_args()


def measure(files, kind, settings):
    """Rows of ideal and of both orders."""
    heat = Heat(files, settings)
    for order in (1, 2):
        heat.start(ours(f"order {order}", f"--order={order}", **KINDS[kind]))
    for contender, message in heat.failed:
        raise SystemExit(f"{contender.name}: {message}")
    heat.run()
    rows, _ = heat.rows()
    heat.close()
    return rows


def main():
    asked = parse()
    settings = SimpleNamespace(threads=asked.threads, rounds=asked.rounds, seconds=asked.seconds)
    print("| network | | order 1, x ideal | order 2, x ideal | order 2 / order 1 | memory | gap |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for network in asked.models:
        files = Files(asked.folder, Case(network, asked.refs, size=asked.size), asked.threads)
        for kind in asked.kinds:
            _, first, second = measure(files, kind, settings)
            time = min(second["seconds"]) / min(first["seconds"])
            memory = (second["peak"] - second["imported"]) / (first["peak"] - first["imported"])
            print(f"| {network} | {kind} | {first['x_ideal']:.2f} | {second['x_ideal']:.2f} | "
                  f"{time:.2f} | {memory:.2f} | {second['completeness']:.1e} |", flush=True)
        files.close()


if __name__ == "__main__":
    main()
