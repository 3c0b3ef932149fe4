"""manual.py PROGRAM FOLDER: writes the manual pages, man/*.1, and the completions of bash and zsh,
bash/onnxexplainer and zsh/_onnxexplainer, from the tables of options that PROGRAM prints for
programs. SOURCE_DATE_EPOCH, where it is set, is the date of the pages; else they have none."""

import json
import os
import pathlib
import re
import subprocess
import sys
import textwrap
import time

NAME = "onnxexplainer"
# What values are names of files, by what the help calls them.
FILES = re.compile(r"FILE|LIB|MODEL|TENSORS|EXPLAINED|\.(npy|npz|png|svg|html)")
HELP = {"name": "help", "letter": "h", "kind": "flag", "argument": None,
        "help": "print this and exit"}
VERSION = {"name": "version", "letter": None, "kind": "flag", "argument": None,
           "help": "print the version and exit"}

ENVIRONMENT = {
    "ONNXRUNTIME_LIBRARY": "The file of ONNX Runtime's library that is used.",
    "ONNXRUNTIME_ROOT": "A folder in which it is looked for, where no file is named.",
    "ONNXEXPLAINER_OPS": "The library of kernels, where it is not beside libonnxexplainer.so.",
    "ONNXEXPLAINER_ISA": "What the kernels may use: plain, avx2 or avx512. "
                         "Default: what the processor has.",
    "ONNXEXPLAINER_CACHE": "The folder in which plans are kept; empty: none are. Default: "
                           "onnxexplainer in XDG_CACHE_HOME.",
    "XDG_CACHE_HOME": "Where programs keep what they can make again. Default: .cache in HOME.",
    "HOME": "The home folder.",
    "TMPDIR": "Where files go that are removed again.",
}
EXIT = {"0": "Success.", "1": "A failure, which one line on standard error names.",
        "2": "Wrong usage."}


def ask(program, *arguments):
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def repeated(option):
    return option["kind"] == "list"


def takes_file(option):
    return bool(FILES.search(option["argument"] or ""))


# ---- manual pages ------------------------------------------------------------------------------

def plain(text):
    """Text as troff prints it; hyphens may be part of what is typed."""
    lines = textwrap.wrap(text, 72, break_long_words=False, break_on_hyphens=False)
    text = "\n".join(lines).replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.M)


def bold(text):
    return f"\\fB{plain(text)}\\fR"


def title(page, version):
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    date = time.strftime("%Y-%m-%d", time.gmtime(int(epoch))) if epoch else ""
    yield f'.TH {page.upper()} 1 "{date}" "{NAME} {version}" "User commands"'


def entry(tag, text):
    yield ".TP"
    yield tag
    yield plain(text)


def option_entry(option):
    argument = f"\\fI{plain(option['argument'])}\\fR" if option["argument"] else ""
    long = bold(f"--{option['name']}{'=' if argument else ''}") + argument
    short = bold(f"-{option['letter']}") + (f" {argument}" if argument else "") + ", "
    text = option["help"] + ("; may be repeated." if repeated(option) else ".")
    yield from entry((short if option["letter"] else "") + long, text)


def see_also(pages):
    yield ".SH SEE ALSO"
    for page in pages[:-1]:
        yield f".BR {plain(page)} (1),"
    yield f".BR {plain(pages[-1])} (1)"


def section(heading, entries):
    yield f".SH {heading}"
    for tag, text in entries.items():
        yield from entry(bold(tag), text)


def main_page(commands, version):
    yield from title(NAME, version)
    yield from (".SH NAME", f"{NAME} \\- predictions and Shapley values of ONNX models")
    yield from (".SH SYNOPSIS", f"{bold(NAME)} \\fICOMMAND\\fR [\\fIOPTION\\fR]... \\fIFILE\\fR")
    yield from (".SH DESCRIPTION",
                "Makes ONNX models that give a prediction and its Shapley values in one call.",
                "Each command has a page of its own, and tells its options with",
                f"{bold('--help')}.")
    yield ".SH COMMANDS"
    for command in commands:
        yield from entry(bold(command["name"]), command["help"] + ".")
    yield ".SH OPTIONS"
    yield from option_entry(HELP)
    yield from option_entry(VERSION)
    yield from section("EXIT STATUS", EXIT)
    yield from section("ENVIRONMENT", ENVIRONMENT)
    yield from see_also([f"{NAME}-{command['name']}" for command in commands])


def command_page(command, version):
    page = f"{NAME}-{command['name']}"
    yield from title(page, version)
    yield from (".SH NAME", f"{plain(page)} \\- {plain(command['help'])}")
    yield from (".SH SYNOPSIS", f"{bold(NAME)} {bold(command['name'])} {plain(command['usage'])}")
    yield from (".SH DESCRIPTION", plain(command["summary"]))
    yield ".SH OPTIONS"
    for option in command["options"]:
        yield from option_entry(option)
    yield from section("EXIT STATUS", EXIT)
    yield from see_also([NAME])


# ---- bash --------------------------------------------------------------------------------------

def bash_words(options):
    """The long options; those that take a value end with the sign before it."""
    return " ".join(f"--{o['name']}{'=' if o['argument'] else ''}" for o in options)


def bash_values(options, wanted):
    """A pattern of the options whose value is wanted, "" where there are none."""
    names = [f"--{o['name']}" for o in options if wanted(o)]
    return "|".join(names + [f"-{o['letter']}" for o in options if wanted(o) and o["letter"]])


BASH = """# Completions of onnxexplainer for bash, made by cmake/manual.py.

_onnxexplainer_files()
{
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -f -- "$1")
}

_onnxexplainer()
{
    local current=${COMP_WORDS[COMP_CWORD]} option= words= files= others= operand=
    local at=$((COMP_CWORD - 1))
    # bash takes the sign between an option and its value as a word of its own
    if [[ $current == "=" ]]; then
        current=
    elif [[ ${COMP_WORDS[at]} == "=" ]]; then
        at=$((at - 1))
    fi
    option=${COMP_WORDS[at]}
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W "%(commands)s --help --version" -- "$current")
        return
    fi
    case ${COMP_WORDS[1]} in
%(cases)s
    *) return ;;
    esac
    if [[ -n $others && $option =~ ^($others)$ ]]; then
        return
    elif [[ -n $files && $option =~ ^($files)$ || ${COMP_WORDS[COMP_CWORD - 1]} == "=" ]]; then
        _onnxexplainer_files "$current"
    elif [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
        [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace
    elif [[ -n $operand ]]; then
        _onnxexplainer_files "$current"
    fi
}

complete -F _onnxexplainer onnxexplainer
"""


def bash_case(command):
    options = command["options"] + [HELP]
    files = bash_values(options, takes_file)
    others = bash_values(options, lambda o: o["argument"] and not takes_file(o))
    return (f"    {command['name']})\n"
            f"        words=\"{bash_words(options)}\"\n"
            f"        files=\"{files}\"\n        others=\"{others}\"\n"
            f"        operand=\"{command['operand'] or ''}\"\n        ;;")


def bash(commands):
    return BASH % {"commands": " ".join(c["name"] for c in commands),
                   "cases": "\n".join(bash_case(c) for c in commands)}


# ---- zsh ---------------------------------------------------------------------------------------

ZSH = """#compdef onnxexplainer
# Completions of onnxexplainer for zsh, made by cmake/manual.py.

_onnxexplainer_named()
{
    compset -P '*='
    _files
}

_onnxexplainer()
{
    local -a commands=(
%(commands)s
    )
    if ((CURRENT == 2)); then
        _describe command commands
        _arguments '(- *)--version[print the version and exit]' '(- *)--help[print this and exit]'
        return
    fi
    shift words
    ((CURRENT--))
    case $words[1] in
%(cases)s
    esac
}

_onnxexplainer "$@"
"""


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def zsh_text(text):
    """What stands in brackets, or between colons."""
    return re.sub(r"([\\:\[\]])", r"\\\1", text)


def zsh_option(option):
    """Its names exclude each other, where it is not one to repeat."""
    long, short = f"--{option['name']}", f"-{option['letter']}"
    names = [long + "="] if option["argument"] else [long]
    if option["letter"]:
        names.append(short + "+" if option["argument"] else short)
    once = f"({long}{' ' + short if option['letter'] else ''})"
    about = f"[{zsh_text(option['help'])}]"
    if option["argument"]:
        named = option["argument"].startswith("[NAME=]")
        values = ("_onnxexplainer_named" if named else "_files") if takes_file(option) else ""
        about += f":{zsh_text(option['argument'])}:{values}"
    return [quoted(("*" if repeated(option) else once) + name + about) for name in names]


def zsh_case(command):
    words = [word for option in command["options"] for word in zsh_option(option)]
    words += [quoted(f"(- *){name}[{HELP['help']}]") for name in ("-h", "--help")]
    if command["operand"]:
        words.append(quoted(f":{zsh_text(command['operand'])}:_files"))
    lines = " \\\n            ".join(words)
    return f"    {command['name']})\n        _arguments -s -S \\\n            {lines}\n        ;;"


def zsh(commands):
    rows = [f"        {quoted(c['name'] + ':' + zsh_text(c['help']))}" for c in commands]
    return ZSH % {"commands": "\n".join(rows), "cases": "\n".join(zsh_case(c) for c in commands)}


# ---- all of it ---------------------------------------------------------------------------------

def read(program):
    """The commands, each with the line of the list and its own table."""
    return [json.loads(ask(program, row["name"], "--help=json")) | {"help": row["help"]}
            for row in json.loads(ask(program, "--help=json"))]


def main():
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    commands, version = read(program), ask(program, "--version").split()[1]
    files = {f"man/{NAME}.1": "\n".join(main_page(commands, version)) + "\n",
             f"bash/{NAME}": bash(commands), f"zsh/_{NAME}": zsh(commands)}
    files |= {f"man/{NAME}-{command['name']}.1": "\n".join(command_page(command, version)) + "\n"
              for command in commands}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


main()
