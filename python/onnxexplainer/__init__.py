"""Predictions and Shapley values of ONNX models in one call: a binding of libonnxexplainer.

    explained = onnxexplainer.explain("model.onnx", references)
    outputs = onnxexplainer.Session(explained).run(samples)

    values = onnxexplainer.DeepExplainer(model, data).shap_values(samples)
"""

from . import plots
from ._abi import VERSION as __version__
from ._errors import (AdditivityError, ArgumentError, Error, ExplainWarning, FileError,
                      InvalidModelError, LimitError, OnnxRuntimeError, OutOfMemoryError,
                      UnsupportedError)
from ._explain import explain
from ._explainers import (DeepExplainer, ExactExplainer, GradientExplainer, KernelExplainer,
                          PermutationExplainer, TreeExplainer)
from ._explanation import Explanation
from ._model import ValueInfo, stack
from ._sequences import dinucleotide_shuffles
from ._session import Session

__all__ = ["AdditivityError", "ArgumentError", "DeepExplainer", "Error", "ExactExplainer",
           "ExplainWarning", "Explanation", "FileError", "GradientExplainer", "InvalidModelError",
           "KernelExplainer", "LimitError", "OnnxRuntimeError", "OutOfMemoryError",
           "PermutationExplainer", "Session", "TreeExplainer", "UnsupportedError", "ValueInfo",
           "__version__", "dinucleotide_shuffles", "explain", "plots", "stack"]
