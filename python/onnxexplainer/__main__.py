"""`python -m onnxexplainer` and `onnxexplainer`: the command line that the package carries, on the
ONNX Runtime of the installed onnxruntime package."""

import os
import sys

from ._library import FOLDER, runtime_path


def main() -> None:
    """Becomes the command line."""
    path = runtime_path()
    if path is not None:
        os.environ["ONNXRUNTIME_LIBRARY"] = path
    program = str(FOLDER / "bin" / "onnxexplainer")
    os.execv(program, [program, *sys.argv[1:]])


if __name__ == "__main__":
    main()
