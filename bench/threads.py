"""Threads: how much a second one brings, and whether an explained model and another session of the
same program disturb each other. Runs in a process of its own and prints JSON:

    python bench/threads.py MODEL EXPLAINED KERNELS REFERENCES SAMPLE THREADS"""
import json
import subprocess
import sys
import threading
import time

import numpy as np

from models import KERNELS, PYTHON, Case, Files

ROUNDS = 8


def timed(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def least(run):
    return min(timed(run) for _ in range(ROUNDS))


def beside(explain, user):
    """Both at once for a while: the work done per time, in units of what each does alone."""
    alone = {run: least(run) for run in (explain, user)}
    done, end = {explain: 0, user: 0}, time.perf_counter() + 4 * sum(alone.values())

    def keep_running(run):
        while time.perf_counter() < end:
            run()
            done[run] += 1
    threads = [threading.Thread(target=keep_running, args=(run,)) for run in alone]
    took = timed(lambda: [*map(threading.Thread.start, threads),
                          *map(threading.Thread.join, threads)])
    return sum(done[run] * alone[run] for run in alone) / took


def after(explain, user):
    """Its time right after a run of the other session, whose threads may still be spinning, in
    units of its time on its own; alternating."""
    alone, spinning = [], []
    for _ in range(ROUNDS):
        alone.append(timed(explain))
        alone.append(timed(explain))
        user()
        spinning.append(timed(explain))
    return min(spinning) / min(alone)


def measure(options, network="resnet50", refs=10):
    """The JSON of a process of its own."""
    files = Files(options.folder, Case(network, refs), options.threads)
    explained, _ = files.explained(())
    done = subprocess.run(
        [PYTHON["ours"], __file__, files.model, explained, KERNELS, files.references,
         f"{files.stem}.sample.npy", str(options.threads)],
        check=True, text=True, stdout=subprocess.PIPE)
    files.close()
    return {"network": network, "refs": refs} | json.loads(done.stdout)


def main():
    model, explained, kernels, references, sample, count = sys.argv[1:]
    from contenders.ort import session  # not needed by who only asks for the figures
    references, sample = np.load(references), np.load(sample)

    def runs(threads):
        plain, own = session(model, threads), session(explained, threads, kernels)
        name = plain.get_inputs()[0].name
        return (lambda: own.run(None, {name: sample}), lambda: plain.run(None, {name: references}))
    one, all_threads = runs(1), runs(int(count))
    for run in (*one, *all_threads):
        run()
    scaling = [[timed(run) for run in (*one, *all_threads)] for _ in range(ROUNDS)]
    explain1, plain1, explain, plain = map(min, zip(*scaling))
    print(json.dumps({"explained": explain1 / explain, "plain": plain1 / plain,
                      "after": after(*all_threads), "beside": beside(*all_threads)}))


if __name__ == "__main__":
    main()
