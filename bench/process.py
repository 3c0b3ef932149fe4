"""A contender's process (worker.py), as the one that measures sees it."""
import json
import os
import select
import subprocess
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
PATIENCE = 600  # seconds until an answer is given up


class Failed(Exception):
    """The contender cannot do it; one line says why."""


class Process:
    def __init__(self, python, job, environment, threads):
        self.log = tempfile.TemporaryFile("w+")
        set_up = {"OMP_NUM_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
        self.child = subprocess.Popen(
            [python, HERE / "worker.py", json.dumps(job)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
            env=os.environ | set_up | environment)
        self.imported = False

    def ask(self, command):
        """The answer to one command, a dict."""
        if not self.imported:
            self.imported = True
            self.answer()
        try:
            self.child.stdin.write(command + "\n")
            self.child.stdin.flush()
        except BrokenPipeError:
            pass  # answer() says how it ended
        return self.answer()

    def answer(self):
        if not select.select([self.child.stdout], [], [], PATIENCE)[0]:
            raise Failed(f"no answer in {PATIENCE} s")
        line = self.child.stdout.readline()
        if not line:
            raise Failed(self.last_words())
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def last_words(self):
        code = self.child.wait()
        self.log.seek(0)
        lines = [line.strip() for line in self.log if line.strip()]
        fatal = [line for line in lines if "Check failed" in line or "Error" in line]
        return f"ended with code {code}: {(fatal or lines or ['no message'])[-1][:150]}"

    def result(self):
        """(arrays of its last run, its notes)."""
        with tempfile.TemporaryDirectory() as folder:
            notes = self.ask(f"result {folder}/result.npz")["notes"]
            with np.load(f"{folder}/result.npz") as arrays:
                return dict(arrays), notes

    def close(self):
        self.child.terminate()
        self.child.stdin.close()
        self.child.wait()
        self.child.stdout.close()
        self.log.close()
