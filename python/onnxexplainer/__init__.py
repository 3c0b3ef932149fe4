"""Predictions and Shapley values of ONNX models in one call: a binding of libonnxexplainer.

    explained = onnxexplainer.explain("model.onnx", references)
"""

from ._abi import VERSION as __version__
from ._errors import (AdditivityError, ArgumentError, Error, ExplainWarning, FileError,
                      InvalidModelError, LimitError, OnnxRuntimeError, OutOfMemoryError,
                      UnsupportedError)
from ._explain import explain

__all__ = ["AdditivityError", "ArgumentError", "Error", "ExplainWarning", "FileError",
           "InvalidModelError", "LimitError", "OnnxRuntimeError", "OutOfMemoryError",
           "UnsupportedError", "__version__", "explain"]
