"""Who is compared: one row of the table each."""
from dataclasses import dataclass, field

# Raises the thresholds above which glibc gives memory back to the system and takes it page by page.
MALLOC = {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=4294967296:"
                            "glibc.malloc.trim_threshold=17179869184:glibc.malloc.mmap_max=0"}


@dataclass(frozen=True)
class Contender:
    name: str
    module: str           # of this package
    cls: str
    python: str = "ours"  # the interpreter: ours, torch or tf
    explain: tuple = ()   # options of `onnxexplainer explain` where a model is explained for it
    kernels: bool = False
    tune: bool = False
    env: dict = field(default_factory=dict)
    job: dict = field(default_factory=dict)
    main: bool = False    # measured with every number of references, not with one alone

    @property
    def ours(self):
        return self.cls == "Explained"


def ours(name, *explain, **rest):
    return Contender(name, "ort", "Explained", explain=explain, **rest)


def peer(name, module, cls, python, **rest):
    """A row as users run it, and on PyTorch one with memory allocation tuned."""
    rows = [Contender(name, module, cls, python, **rest)]
    if python == "torch":
        rows.append(Contender(f"{name}, malloc tuned", module, cls, python, env=MALLOC, **rest))
    return rows


IDEAL = Contender("ideal", "ort", "Plain", main=True)
# Neighbours share a heat, so those that are to be compared most exactly come first.
CONTENDERS = [
    ours("onnxexplainer tuned", kernels=True, tune=True, main=True),
    ours("onnxexplainer kernels, load", "--cache=load", kernels=True, main=True),
    Contender("cached PyTorch, compiled, malloc tuned", "cached_torch", "Cached", "torch",
              env=MALLOC, job={"compile": True}),
    *peer("cached PyTorch", "cached_torch", "Cached", "torch", main=True),
    *peer("cached TensorFlow", "cached_tf", "Cached", "tf", main=True),
    ours("onnxexplainer portable, load", "--cache=load", main=True),
    ours("onnxexplainer portable, file", "--cache=file"),
    ours("onnxexplainer portable, none", "--cache=none"),
    ours("onnxexplainer kernels, file", "--cache=file", kernels=True),
    ours("onnxexplainer kernels, none", "--cache=none", kernels=True),
    ours("onnxexplainer kernels, none, chunk 1", "--cache=none", "--chunk=1", kernels=True,
         main=True),
    *peer("SHAP PyTorch", "shap_torch", "Shap", "torch", main=True),
    *peer("SHAP TensorFlow", "shap_tf", "Shap", "tf", main=True),
    *peer("Captum", "captum_torch", "Captum", "torch"),
]
BASE = "onnxexplainer portable, load"  # whose values the others are compared with
