"""One contender in a process of its own, which stays alive and does what it is told, a line of
JSON for each line read: `load`, `run`, `result FILE`. Its memory is measured by that of the
process.

    python worker.py '{"module": "ort", "class": "Explained", ...}'

The class takes the job, does everything that is done once in its constructor, explains in run(),
and gives its last values by result(): a dict of arrays phi, target and prediction, and what else
there is to tell in `notes`. Libraries are imported by the module, before the clock starts."""
import importlib
import json
import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np

LONG_SECONDS = 2  # a first run this long is not repeated before the rounds
LEAST_SECONDS = 0.05  # a round repeats shorter runs until it has taken this long


def peak():
    """The highest resident size of this process so far, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def timed(call):
    start = time.perf_counter()
    value = call()
    return time.perf_counter() - start, value


class Worker:
    def __init__(self, job):
        self.job = job
        self.module = importlib.import_module(f"contenders.{job['module']}")
        self.repeats = 1

    def load(self):
        before = peak()
        make = getattr(self.module, self.job["class"])
        load, self.contender = timed(lambda: make(self.job))
        first = timed(self.contender.run)[0]
        if first < LONG_SECONDS:
            again = timed(self.contender.run)[0]
            self.repeats = max(1, int(LEAST_SECONDS / again))
        return {"imported": before, "load": load, "first": first, "peak": peak()}

    def run(self):
        seconds = timed(lambda: [self.contender.run() for _ in range(self.repeats)])[0]
        return {"seconds": seconds / self.repeats, "peak": peak()}

    def result(self, path):
        np.savez(path, **self.contender.result())
        return {"notes": getattr(self.contender, "notes", {})}


def one_line(error):
    """The kind of error with the line that says most: the last that names one, else the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "Error: " in line]
    return (named or [f"{type(error).__name__}: {(lines or ['no message'])[0]}"])[-1][:200]


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer
    warnings.filterwarnings("ignore")

    def answer(call):
        try:
            print(json.dumps(call() or {}), file=answers, flush=True)
        except Exception as error:
            print(json.dumps({"error": one_line(error)}), file=answers, flush=True)
            raise

    worker = []
    answer(lambda: worker.append(Worker(json.loads(sys.argv[1]))))
    for line in sys.stdin:
        verb, *arguments = line.split()
        answer(lambda: getattr(worker[0], verb)(*arguments))


if __name__ == "__main__":
    main()
