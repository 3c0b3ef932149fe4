"""What the second order and splits cost: time and memory of `--order=2` and `--splits=1` beside order
1, in one alternating run.

    bench/order.py [NETWORK|MODEL.onnx ...] [--refs 10] [--threads 2] [--folder build/bench]

A network is one of networks.py. Time is that of the fastest round as a multiple of ideal and of
order 1 with the same kernels; memory is what the process takes beyond its imports. `--update`
writes the table into docs/benchmarks.md."""
import argparse
from pathlib import Path
from types import SimpleNamespace

from contenders import ours
from document import merged
from heats import Heat
from models import ROOT, Case, Files
from process import Failed

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
    parser.add_argument("--update", action="store_true", help="write docs/benchmarks.md")
    return parser.parse_args()


OPTIONS = {"order 1": "--order=1", "order 2": "--order=2", "splits": "--splits=1"}
HEADING = "The second order and splits"
INTRODUCTION = (
    "`--order=2` and `--splits=1` beside order 1, {refs} references, {threads} threads, images of "
    "{size} (`bench/order.py --update`): seconds of the fastest of some rounds in turns, as a "
    "multiple of ideal or of order 1 with the same kernels; memory is what the process takes "
    "beyond its imports.")


def measure(files, kind, settings):
    """Rows of ideal, of both orders and of splits."""
    heat = Heat(files, settings)
    for name, option in OPTIONS.items():
        heat.start(ours(name, option, **KINDS[kind]))
    for contender, message in heat.failed:
        heat.close()
        raise Failed(f"{contender.name}: {message}")
    heat.run()
    rows, _ = heat.rows()
    heat.close()
    return rows


def cells(files, kind, settings):
    """Of one row of the table."""
    _, first, second, splits = measure(files, kind, settings)
    own = first["peak"] - first["imported"]
    of = [(row, min(row["seconds"]) / min(first["seconds"]), (row["peak"] - row["imported"]) / own)
          for row in (second, splits)]
    return [f"{first['x_ideal']:.2f}", f"{second['x_ideal']:.2f}",
            *(f"{number:.2f}" for _, time, memory in of for number in (time, memory)),
            f"{second['completeness']:.1e}"]


def main():
    asked = parse()
    settings = SimpleNamespace(threads=asked.threads, rounds=asked.rounds, seconds=asked.seconds)
    lines = ["| network | | order 1, x ideal | order 2, x ideal | order 2 / order 1 | memory | "
             "splits / order 1 | memory | gap of order 2 |",
             "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    print(*lines, sep="\n")
    for network in asked.models:
        files = Files(asked.folder, Case(network, asked.refs, size=asked.size), asked.threads)
        for kind in asked.kinds:
            try:
                row = cells(files, kind, settings)
            except Failed as failed:  # the others are measured all the same
                row = [str(failed)] + [""] * 6
            lines.append(f"| {' | '.join([network, kind, *row])} |")
            print(lines[-1], flush=True)
        files.close()
    if asked.update:
        about = INTRODUCTION.format(refs=asked.refs, threads=asked.threads, size=asked.size or 224)
        page = ROOT / "docs" / "benchmarks.md"
        section = "\n\n".join([f"## {HEADING}", about, "\n".join(lines)])
        page.write_text(merged(page.read_text(), f"\n\n{section}\n", before="Transformers"))


if __name__ == "__main__":
    main()
