"""Onnxexplainer beside its peers; `bench/compare --help` and bench/README.md say how."""
import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import fit
import heats
import machine
import many
import models
import report
import threads
from contenders import CONTENDERS
from document import document, formula, many_text, merged, tables, threads_text
from models import Case

IMAGES = ("efficientnetb0", "resnet50", "densenet201", "vgg19")
NETWORKS = ("mlp", "lstm", "lstm_200", "lstm_1000", "gru", "gru_200", "gru_1000", "transformer", "gpt2",
            "vit", *IMAGES)
BATCHES = [("resnet50", 2), ("resnet50", 4), ("transformer", 2), ("transformer", 4),
           ("transformer", 16), ("lstm", 8), ("lstm", 64), ("mlp", 64)]
MANY = 1000  # references, of networks that are not of images
SIZES = (112, 160, 288)
FULL_AT = 10  # references with which every contender is measured; with others the main ones


def arguments():
    parser = argparse.ArgumentParser(prog="bench/compare", description=__doc__.split(";")[0])
    parser.add_argument("model", nargs="*", metavar="MODEL",
                        help=", ".join(NETWORKS) + " (default: all), or a model file, which is "
                             "explained on random numbers at its first input")
    parser.add_argument("--refs", type=int, nargs="+", metavar="R",
                        help="numbers of references (default: 10)")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=10, help="at most (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=4,
                        help="for the rounds of one contender; two are always made "
                             "(default: %(default)s)")
    parser.add_argument("--longest", type=float,
                        help="seconds of a run that is still made (default: 15, with --all 60)")
    parser.add_argument("--memory", type=float, default=20 * 1024,
                        help="MiB of a process that is still started (default: %(default)s)")
    parser.add_argument("--only", metavar="TEXT", action="append",
                        help="contenders whose name contains it; may be repeated")
    parser.add_argument("--all", action="store_true",
                        help="R of 1, 10, 50, 100 and 1000, batches, image sizes, many samples, "
                             "threads")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md with plots")
    parser.add_argument("--update", action="store_true",
                        help="write the tables that were measured into docs/benchmarks.md")
    parser.add_argument("--folder", type=Path, default=models.ROOT / "build" / "bench")
    options = parser.parse_args()
    options.refs = options.refs or ([1, 10, 50, 100, MANY] if options.all else [FULL_AT])
    options.longest = options.longest or (60 if options.all else 15)
    options.guess = 9 * 1024  # MiB of a contender of which nothing is known
    return options


def tell(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def plan(options):
    """Yields (case, contenders)."""
    for network in options.model or NETWORKS:
        for refs in sorted(options.refs):
            if options.all and refs == MANY and network in IMAGES:
                continue
            yield Case(network, refs), [c for c in CONTENDERS if c.main or refs == FULL_AT]
    if options.all:
        ours = [c for c in CONTENDERS if c.ours and c.main]
        for network, batch in BATCHES:
            yield Case(network, FULL_AT, batch=batch), ours
        for size in SIZES:
            yield Case("resnet50", FULL_AT, size=size), ours


def measure(options):
    rows, forecast = [], heats.Forecast()
    for case, contenders in plan(options):
        chosen = [c for c in contenders
                  if not options.only or any(text in c.name for text in options.only)]
        if not chosen:
            continue
        files = models.Files(options.folder, case, options.threads)
        found = heats.measure(files, chosen, forecast, options, tell)
        files.close()
        tell("")
        print(f"{report.heading(found[0])}, {options.threads} threads", report.table(found), "",
              sep="\n", flush=True)
        rows += found
    return rows


def show_growth(growth):
    for entry in growth:
        print(f"{entry['network']:15}{entry['name']:40}ms = {formula(entry['time']):24}"
              f"MiB = {formula(entry['memory']):24}n: {entry['axis']}")


def main():
    options = arguments()
    rows = measure(options)
    results = {"machine": machine.describe(options.threads), "rows": rows,
               "growth": [{"axis": axis, "network": network, "name": name,
                           "time": asdict(time), "memory": asdict(memory)}
                          for axis, network, name, time, memory in fit.growth(rows)]}
    show_growth(results["growth"])
    if options.all:
        results["many"], results["threads"] = many.measure(options), threads.measure(options)
        print("", many_text(results["many"]), "", threads_text(results["threads"]), sep="\n")
    (options.folder / "results.json").write_text(json.dumps(results, indent=1))
    page = models.ROOT / "docs" / "benchmarks.md"
    if options.write:
        import plot  # needs matplotlib, which nothing else does
        plot.draw(rows, models.ROOT / "docs")
        page.write_text(merged(page.read_text(), document(results)))
    elif options.update:
        page.write_text(merged(page.read_text(), "\n\n" + tables(rows)))


if __name__ == "__main__":
    main()
