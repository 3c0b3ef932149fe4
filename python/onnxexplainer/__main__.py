"""`python -m onnxexplainer` and `onnxexplainer`: the command line that the package carries, on the
ONNX Runtime of the installed onnxruntime package. `plot` and `report` are Python's."""

import os
import re
import subprocess
import sys
import textwrap

from . import plots
from ._library import FOLDER, runtime_path


def help_of(program: str) -> str:
    """What the program says of its commands, with those that are Python's."""
    said = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    kinds = textwrap.fill("draw SHAP values: " + ", ".join(plots.KINDS), 66,
                          subsequent_indent=" " * 13)
    ours = f"  plot       {kinds}\n  report     write one page about a model and samples\n"
    return re.sub(r"^  plot .*\n", lambda found: ours, said, count=1, flags=re.M)


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
    if sys.argv[1:2] in (["--help"], ["-h"]):
        sys.stdout.write(help_of(program))
        return
    os.execv(program, [program, *sys.argv[1:]])


if __name__ == "__main__":
    main()
