"""What the number of threads changes in the values: the largest difference between one thread and N,
over the largest value, and whether two runs on N threads have the same bits.

    python bench/threads_values.py N FOLDER...    of model.onnx, input.npy, background.npy"""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime

from contenders.ort import session
from models import KERNELS, ROOT

REFERENCES = 4


def explained(folder, where):
    references = np.load(folder / "background.npy")[:REFERENCES]
    np.save(where / "r.npy", references)
    subprocess.run([ROOT / "build/onnxexplainer", "explain", folder / "model.onnx", "-q",
                    f"-r{where}/r.npy", f"-o{where}/e.onnx"], check=True)
    return str(where / "e.onnx")


def measure(folder, threads):
    with tempfile.TemporaryDirectory() as where:
        path = explained(folder, pathlib.Path(where))
        x = np.load(folder / "input.npy")[:1]
        found = []
        for count in (1, threads, threads):
            s = session(path, count, str(KERNELS))
            found.append(s.run(None, {s.get_inputs()[0].name: x}))
        names = [o.name for o in s.get_outputs()]
    one, many, again = found
    same = all(a.tobytes() == b.tobytes() for a, b in zip(many, again))
    for name, a, b in zip(names, one, many):
        if name.endswith("_shap") or name == names[0]:
            yield name, float(np.abs(a - b).max() / np.abs(a).max()), same


if __name__ == "__main__":
    print(f"ONNX Runtime {onnxruntime.__version__}")
    for path in map(pathlib.Path, sys.argv[2:]):
        for name, differ, same in measure(path, int(sys.argv[1])):
            print(f"{path.name}: {name} {differ:.1e}, again the {'same' if same else 'OTHER'} bits")
