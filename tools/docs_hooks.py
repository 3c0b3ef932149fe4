"""Pages of the site that are made of their one source when it is built: the command line's of its
tables of options, C's of the header."""

import json
import pathlib
import re
import subprocess

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "build/onnxexplainer"


# ---- the command line ----------------------------------------------------------------------------

def ask(*arguments):
    return json.loads(subprocess.run([PROGRAM, *arguments], capture_output=True, text=True,
                                     check=True).stdout)


def cell(text):
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;")


def option_row(option):
    argument = f"={option['argument']}" if option["argument"] else ""
    letter = f"`-{option['letter']}` " if option["letter"] else ""
    several = "; may be repeated" if option["kind"] == "list" else ""
    return f"| {letter}`--{option['name']}{cell(argument)}` | {cell(option['help'])}{several} |"


def command(name):
    told = ask(name, "--help=json")
    yield f"## {name}\n\n    onnxexplainer {name} {told['usage']}\n\n{cell(told['summary'])}\n"
    yield "| option | |\n| --- | --- |"
    yield from map(option_row, told["options"])
    yield ""


def command_line():
    commands = ask("--help=json")
    yield "# The command line\n\n| command | |\n| --- | --- |"
    for one in commands:
        yield f"| [`{one['name']}`](#{one['name']}) | {cell(one['help'])} |"
    yield "\nManual pages say the same: `man onnxexplainer-explain`.\n"
    for one in commands:
        yield from command(one["name"])


# ---- C -------------------------------------------------------------------------------------------

SECTION = re.compile(r"^/\* -+ (.+?) -+ \*/$", re.M)
COMMENT = re.compile(r"\A/\*(.*?)\*/\n?", re.S)


def prose(comment):
    """Its text as Markdown, in which lines that are set in are code."""
    text = re.sub(r"^ \* ?", "", comment.strip("\n"), flags=re.M).strip()
    return re.sub(r"^(?! {4}).*$", lambda line: line[0].replace("<", "&lt;").replace("*", r"\*"),
                  text, flags=re.M)


def declarations(section):
    """Each with the comment above it."""
    for block in re.split(r"\n\n(?=/\*|OX_API|typedef|#define)", section.strip("\n")):
        comment = COMMENT.match(block)
        code = block[comment.end():] if comment else block
        if code.strip():
            yield f"```c\n{code.strip()}\n```\n"
        if comment:
            yield prose(comment.group(1)) + "\n"


def header():
    text = (ROOT / "include/onnxexplainer.h").read_text()
    intro, *sections = SECTION.split(text)
    yield "# The C API\n\n`#include <onnxexplainer.h>`; this is what the header says.\n"
    yield prose(COMMENT.match(intro).group(1)) + "\n"
    for name, body in zip(sections[::2], sections[1::2]):
        yield f"## {name[0].upper()}{name[1:]}\n"
        yield from declarations(body.partition("#ifdef __cplusplus")[0])


# ---- Python --------------------------------------------------------------------------------------

def python():
    yield "# The Python API\n\n[Models, data and differences from SHAP](../python.md) stand on a page of their own.\n"
    exported = re.search(r"__all__ = \[(.*?)\]", (ROOT / "python/onnxexplainer/__init__.py")
                         .read_text(), re.S).group(1)
    for name in re.findall(r'"(\w+)"', exported):
        if name not in ("__version__", "plots"):
            yield f"::: onnxexplainer.{name}\n"
        if name == "explain":
            yield from keywords()


def keywords():
    """Those of explain, which are the options of the command line."""
    taken = (ROOT / "build/python/_abi.py").read_text()
    taken = taken[taken.index("class ExplainOptions"):]
    yield "| keyword | |\n| --- | --- |"
    for option in ask("explain", "--help=json")["options"]:
        name = option["name"].replace("-", "_")
        if re.search(rf"^    {name}: ", taken, re.M):
            yield f"| `{name}` | {cell(option['help'])} |"
    yield ""


MADE = {"reference/command-line.md": command_line, "reference/c.md": header,
        "reference/python.md": python}


def on_files(files, config):
    for path, make in MADE.items():
        files.append(File.generated(config, path, content="\n".join(make())))
    return files
