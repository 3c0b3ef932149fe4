"""`python -m onnxexplainer` and `onnxexplainer`: the command line that the package carries, on the
ONNX Runtime of the installed onnxruntime package. `plot` and `report` are Python's."""

import os
import sys

from ._library import FOLDER, runtime_path


def main() -> None:
    """Runs a command of Python's, or becomes the command line."""
    if sys.argv[1:2] == ["plot"]:
        from ._plot_command import main as plot
        sys.exit(plot(sys.argv[2:]))
    if sys.argv[1:2] == ["report"]:
        from ._report import main as report
        sys.exit(report(sys.argv[2:]))
    path = runtime_path()
    if path is not None:
        os.environ["ONNXRUNTIME_LIBRARY"] = path
    program = str(FOLDER / "bin" / "onnxexplainer")
    os.execv(program, [program, *sys.argv[1:]])


if __name__ == "__main__":
    main()
