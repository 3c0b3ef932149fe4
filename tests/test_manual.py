"""Manual pages and completions, which the build writes from the tables of options."""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys

import pytest

from conftest import BUILD, ROOT

MANUAL = BUILD / "manual"
START = {
    "bash": (["bash", "--norc", "--noprofile", "-i"],
             ["bind 'set show-all-if-ambiguous on'", "bind 'set completion-query-items 0'",
              "bind 'set page-completions off'", "bind 'set enable-bracketed-paste off'",
              f". {MANUAL}/bash/onnxexplainer"]),
    "zsh": (["zsh", "-f", "-i"],
            [f"fpath=({MANUAL}/zsh $fpath)", "autoload -U compinit", "compinit -D -u",
             "bindkey -e", "setopt no_list_beep", "LISTMAX=1000"]),
}


def tables(cli):
    """{command: what its --help=json prints}"""
    def ask(*arguments):
        return json.loads(subprocess.run([cli, *arguments, "--help=json"], capture_output=True,
                                         check=True).stdout)
    return {row["name"]: ask(row["name"]) for row in ask()}


def test_pages_name_every_option(cli):
    found = tables(cli)
    assert {"explain", "run", "show"} <= set(found)
    main = (MANUAL / "man/onnxexplainer.1").read_text()
    for name, table in found.items():
        assert f"\\fB{name}\\fR" in main
        page = (MANUAL / f"man/onnxexplainer-{name}.1").read_text()
        for option in table["options"]:
            long = option["name"].replace("-", "\\-")
            assert re.search(rf"\\fB\\-\\-{re.escape(long)}=?\\fR", page), (name, long)


def test_environment():
    """Of every variable that the sources read."""
    read = set()
    for path in (*ROOT.glob("src/*/*.c"), *ROOT.glob("os/posix*.c"), *ROOT.glob("cli/*.c"), *ROOT.glob("ops/*.c")):
        read |= set(re.findall(r'(?:getenv|variable)\("(\w+)"\)', path.read_text()))
    main = (MANUAL / "man/onnxexplainer.1").read_text()
    assert len(read) > 5
    assert set(re.findall(r"^\\fB([A-Z_]{4,})\\fR$", main, re.M)) == read


def test_lint(cli, tmp_path):
    """mandoc has nothing to say of the pages, which have a date where one is given."""
    if not shutil.which("mandoc"):
        pytest.skip("no mandoc")
    subprocess.run([sys.executable, ROOT / "cmake/manual.py", cli, tmp_path], check=True,
                   env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"})
    pages = sorted((tmp_path / "man").glob("*.1"))
    assert len(pages) == len(tables(cli)) + 1
    for page in pages:
        done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page],
                              capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "")
        assert ' "2023-11-14" ' in page.read_text()


@pytest.mark.parametrize("shell, name", [("bash", "onnxexplainer"), ("zsh", "_onnxexplainer")])
def test_syntax(shell, name):
    if not shutil.which(shell):
        pytest.skip(f"no {shell}")
    subprocess.run([shell, "-n", MANUAL / shell / name], check=True)


class Shell:
    """An interactive shell on a terminal, in which keys are typed."""

    def __init__(self, shell, folder):
        command, lines = START[shell]
        pid, self.terminal = pty.fork()
        if pid == 0:
            os.chdir(folder)
            os.environ |= {"TERM": "dumb", "PATH": f"{BUILD}:{os.environ['PATH']}", "HISTFILE": "",
                           "HOME": str(folder)}  # nothing of it gets into anyone's history
            os.execvp(command[0], command)
        self.pid = pid
        for line in [*lines, "PS1=", "stty -echo", "echo rea''dy"]:
            os.write(self.terminal, f"{line}\r".encode())
        self.read("ready")

    def read(self, until):
        """What is printed up to a text."""
        found = ""
        while until not in found:
            assert select.select([self.terminal], [], [], 120)[0], found
            found += os.read(self.terminal, 65536).decode(errors="replace")
        return found

    def complete(self, line):
        """The words of the line after a TAB, as a program gets them, and all that was shown."""
        os.write(self.terminal, f"{line}\t\x01printf '<%s>' begin \x05 end\r".encode())
        shown = self.read("<end>")
        return re.findall(r"<([^>]*)>", shown[shown.index("<begin>"):])[1:-1], shown

    def close(self):
        os.write(self.terminal, b"\x03exit\r")
        os.close(self.terminal)
        os.waitpid(self.pid, 0)


@pytest.mark.parametrize("shell", list(START))
def test_completion(shell, tmp_path):
    if not shutil.which(shell):
        pytest.skip(f"no {shell}")
    (tmp_path / "a model.onnx").touch()
    (tmp_path / "zeros.npy").touch()
    (tmp_path / "folder").mkdir()
    files = sorted(tmp_path.iterdir())
    s = Shell(shell, tmp_path)
    try:
        for typed, words in {
                "exp": ["explain"],
                "explain --cache-d": ["explain", "--cache-dtype="],
                "explain --references=ze": ["explain", "--references=zeros.npy"],
                "explain --references=x=ze": ["explain", "--references=x=zeros.npy"],
                "explain -r ze": ["explain", "-r", "zeros.npy"],
                "explain --ext": ["explain", "--external-data"],
                "explain --chunk=ze": ["explain", "--chunk=ze"],
                "explain a": ["explain", "a model.onnx"],
                "explain fol": ["explain", "folder/"],
                "ops --mark": ["ops", "--markdown"],
                "nonsense ze": ["nonsense", "ze"]}.items():
            found, _ = s.complete(f"onnxexplainer {typed}")
            if shell == "zsh":  # which takes a sign at the end back when a blank follows
                words = [word.rstrip("=/") for word in words]
            assert found == ["onnxexplainer", *words], typed
        _, shown = s.complete("onnxexplainer run --no-")
        assert {"--no-tune", "--no-kernels", "--no-progress"} <= set(re.findall(r"--[\w-]+", shown))
        _, shown = s.complete("onnxexplainer ")
        assert {"explain", "show", "plot"} <= set(re.findall(r"\w+", shown))
    finally:
        s.close()
    assert sorted(tmp_path.iterdir()) == files
