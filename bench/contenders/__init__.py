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


def peers(name, module, cls, main=None):
    """On PyTorch: as users run it, and with memory allocation tuned; `main` is one of the names."""
    tuned = f"{name}, malloc tuned"
    return [Contender(name, module, cls, "torch", main=main == name),
            Contender(tuned, module, cls, "torch", env=MALLOC, main=main == tuned)]


IDEAL = Contender("ideal", "ort", "Plain", main=True)
# Neighbours share a heat, so those that are to be compared most exactly come first.
CONTENDERS = [
    ours("onnxexplainer tuned", kernels=True, tune=True, main=True),
    ours("onnxexplainer kernels, load", "--cache=load", kernels=True, main=True),
    Contender("cached PyTorch, compiled, malloc tuned", "cached_torch", "Cached", "torch",
              env=MALLOC, job={"compile": True}),
    *peers("cached PyTorch", "cached_torch", "Cached", main="cached PyTorch, malloc tuned"),
    Contender("cached TensorFlow", "cached_tf", "Cached", "tf", main=True),
    ours("onnxexplainer portable, load", "--cache=load", main=True),
    ours("onnxexplainer portable, file", "--cache=file"),
    ours("onnxexplainer portable, none", "--cache=none"),
    ours("onnxexplainer kernels, file", "--cache=file", kernels=True),
    ours("onnxexplainer kernels, none", "--cache=none", kernels=True),
    ours("onnxexplainer kernels, none, chunk 1", "--cache=none", "--chunk=1", kernels=True,
         main=True),
    *peers("SHAP PyTorch", "shap_torch", "Shap", main="SHAP PyTorch"),
    Contender("SHAP TensorFlow", "shap_tf", "Shap", "tf", main=True),
    *peers("Captum", "captum_torch", "Captum"),
]
BASE = "onnxexplainer portable, load"  # whose values the others are compared with
