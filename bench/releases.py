"""releases.py [REF] [--rounds=N] [--processor]: this version beside another, by default that of the
last tag before it (where there is none a commit has to be named): built in build/releases, then both
explain and run the models of examples/ and ../shared/models in turn. Prints, of each, the least
seconds over the rounds and their ratio: below 1 this version is the faster. On a machine that does
other things --processor takes what both commands need of the processor, on one thread where there is
a choice. Exit code 1 where `explain` or a run of one model takes more than a tenth longer, or the
versions have no model in common."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SLOWER = 1.1


def call(*command, cwd=ROOT):
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"releases.py: {' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    return done.stdout.strip()


def build(ref):
    """The command line of another version; its Python packages are those of this one."""
    commit = call("git", "rev-parse", "--short", f"{ref}^{{commit}}")
    folder = ROOT / "build/releases" / commit
    if not folder.exists():
        call("git", "worktree", "prune")
        call("git", "worktree", "add", "--detach", folder, commit)
        (folder / "build").mkdir()
        for part in ("venv", "onnxruntime"):
            (folder / "build" / part).symlink_to((ROOT / "build" / part).resolve())
    call("cmake", "--preset", "default", cwd=folder)
    call("cmake", "--build", "build", "--target", "onnxexplainer_cli", "onnxexplainer_ops",
         cwd=folder)
    return commit, folder / "build/onnxexplainer"


def models():
    """[(name, model, references, samples)]"""
    digits = ROOT / "examples/digits"
    yield "digits", digits / "digits.onnx", digits / "references.npy", digits / "input.npy"
    for file in sorted((ROOT.parent / "shared/models").glob("*/background.npy")):
        folder = file.parent
        if (folder / "input.npy").exists():
            yield folder.name, folder / "model.onnx", file, folder / "input.npy"


def processor_time(*command):
    """Seconds of processor time; None where the command fails."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime if process.returncode == 0 else None


def measure_processor(explain, run):
    """Seconds of `explain`, and of `run` with loading; None where the model cannot be explained."""
    first = processor_time(*explain)
    second = None if first is None else processor_time(*run, "--threads=1")
    return None if second is None else (first, second)


def measure_clock(explain, run):
    """Seconds of `explain`, and of the run; None where the model cannot be explained this way."""
    start = time.perf_counter()
    done = subprocess.run(explain, capture_output=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        return None
    done = subprocess.run([*run, "--json"], capture_output=True)
    if done.returncode:
        return None
    return seconds, json.loads(done.stdout)["seconds"]["run"]


def compare(programs, rounds, measure, model, references, samples):
    """[least seconds of explain, of the run] of each program, or None."""
    least = [[float("inf")] * 2 for _ in programs]
    with tempfile.TemporaryDirectory() as folder:
        explained = pathlib.Path(folder, "explained.onnx")
        for _ in range(rounds):
            for i, program in enumerate(programs):
                seconds = measure(
                    [program, "explain", model, "-r", references, "-o", explained, "-q"],
                    [program, "run", explained, "-i", samples])
                if seconds is None:
                    return None
                least[i] = [min(a, b) for a, b in zip(least[i], seconds)]
    return least


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ref", nargs="?")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--processor", action="store_true")
    options = parser.parse_args()
    measure = measure_processor if options.processor else measure_clock
    ref = options.ref or call("git", "describe", "--tags", "--abbrev=0", "HEAD^")
    commit, before = build(ref)
    slower, measured = [], 0
    print(f"| model | explain, {commit} | now | ratio | run, {commit} | now | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, *files in models():
        least = compare([before, ROOT / "build/onnxexplainer"], options.rounds, measure, *files)
        if least is None:
            print(f"| {name} | not by both | | | | | |")
            continue
        measured += 1
        cells = []
        for was, now in zip(*least):
            cells += [f"{was:.3f}", f"{now:.3f}", f"{now / was:.2f}"]
            slower += [name] if now > SLOWER * was and now - was > 0.005 else []
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    if not measured:
        sys.exit(f"releases.py: {commit} explains and runs no model as this version does")
    if slower:
        sys.exit(f"releases.py: slower: {', '.join(sorted(set(slower)))}")


main()
