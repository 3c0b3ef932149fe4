"""What is raised and warned: an exception for each code of the library, with its message."""

from __future__ import annotations

from ._abi import ox_code, ox_error


class Error(Exception):
    """Base of all errors; the message is one line that names the culprit. `code` says which kind."""

    code: ox_code | None = None


class ArgumentError(Error, ValueError):
    """An option or an argument that cannot be used."""

    code = ox_code.ARGUMENT


class InvalidModelError(Error, ValueError):
    """A model or tensor that breaks the rules of its format."""

    code = ox_code.INVALID


class UnsupportedError(Error, NotImplementedError):
    """A valid model that cannot be explained: no rule, no shape; or what is not done here."""

    code = ox_code.UNSUPPORTED


class FileError(Error, OSError):
    """A file that cannot be read or written."""

    code = ox_code.IO


class OutOfMemoryError(Error, MemoryError):
    """No memory."""

    code = ox_code.MEMORY


class OnnxRuntimeError(Error, RuntimeError):
    """ONNX Runtime is missing or refuses."""

    code = ox_code.RUNTIME


class LimitError(Error, ValueError):
    """More is made of a model than its limit allows: see the option `limit`."""

    code = ox_code.LIMIT


class AdditivityError(Error, AssertionError):
    """SHAP values that are not finite, or whose sums miss the prediction by more than rounding."""


class ExplainWarning(UserWarning):
    """What the library warns of: values that are wrong or will be."""


BY_CODE = {kind.code: kind for kind in (ArgumentError, InvalidModelError, UnsupportedError,
                                        FileError, OutOfMemoryError, OnnxRuntimeError, LimitError)}


def error_of(err: ox_error) -> Error:
    """The exception for what the library has filled in."""
    return BY_CODE[ox_code(err.code)](err.message.decode(errors="replace"))
