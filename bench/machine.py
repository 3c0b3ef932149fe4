"""What the figures were measured on."""
import os
import platform
import subprocess
from pathlib import Path

from models import COMMAND, PYTHON

PACKAGES = {"ours": ["onnxruntime", "numpy"], "torch": ["torch", "shap", "captum", "numpy"],
            "tf": ["tensorflow-cpu", "keras", "shap", "numpy"]}


def versions(python, packages):
    code = ("import importlib.metadata as m, sys; "
            "print(', '.join(f'{p} {m.version(p)}' for p in sys.argv[1:]))")
    return subprocess.run([python, "-c", code, *packages], check=True, text=True,
                          capture_output=True).stdout.strip()


def describe(threads):
    """Lines of text."""
    info = [line.split(":") for line in Path("/proc/cpuinfo").read_text().splitlines()
            if ":" in line]
    info = {key.strip(): value.strip() for key, value in info}
    vector = next((name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2"))
                   if flag in info.get("flags", "").split()), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    ours = subprocess.run([COMMAND, "--version"], check=True, text=True, capture_output=True)
    model = info.get("model name", platform.processor())
    return [f"{model}, family {info.get('cpu family', '?')}, "
            f"{os.cpu_count()} cores, {vector}, {memory:.0f} GiB; {threads} threads",
            f"{platform.system()}, {' '.join(platform.libc_ver())}, Python "
            f"{platform.python_version()}",
            f"{ours.stdout.strip()}, {versions(PYTHON['ours'], PACKAGES['ours'])}",
            f"PyTorch's: {versions(PYTHON['torch'], PACKAGES['torch'])}",
            f"TensorFlow's: {versions(PYTHON['tf'], PACKAGES['tf'])}"]
