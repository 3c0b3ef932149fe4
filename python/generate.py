#!/usr/bin/env python3
"""generate.py HEADER PROGRAM OUTPUT: writes the Python module that says what the library looks
like to ctypes, read from the public header, and which options `explain` has, as PROGRAM prints
them. The header is plain enough for regular expressions; what they do not know ends the build."""

import json
import pathlib
import re
import subprocess
import sys

PLAIN = {"bool": "c_bool", "int": "c_int", "int64_t": "c_int64", "uint64_t": "c_uint64",
         "size_t": "c_size_t", "double": "c_double", "void": "None"}
# Python's types of an option: those of its values by the table, and those that stand for a file's
# contents.
TYPES = {"flag": "bool", "text": "str", "count": "int", "bytes": "int | str",
         "list": "str | Sequence[str]"}
SPECIAL = {"fix": "Mapping[str, Any]", "groups": "Any", "target": "Any", "weights": "Any", "integrate": "int | str",
           "feature-names": "str | os.PathLike[str] | Sequence[str]"}

HEAD = '''"""Written by python/generate.py from include/onnxexplainer.h and the table of options of the
command line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from ctypes import (CFUNCTYPE, POINTER, Structure, c_bool, c_char, c_char_p, c_double, c_int,
                    c_int64, c_size_t, c_uint64, c_void_p)
from enum import IntEnum
from typing import Any, NamedTuple, TypedDict

'''


class Header:
    """What the header declares, without its comments and macros of the compiler."""

    def __init__(self, text):
        self.constants = re.findall(r'^#define (OX_\w+) ("[^"]*"|\d+)$', text, re.M)
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
        text = re.sub(r"^#.*?(?<!\\)$", "", text, flags=re.M | re.S)
        self.enums = re.findall(r"typedef enum (\w+) {(.*?)} \1;", text, re.S)
        self.structs = re.findall(r"typedef struct (\w+) {(.*?)} \1;", text, re.S)
        self.callbacks = re.findall(r"typedef (\w+) \(\*(\w+)\)\(([^;]*)\);", text)
        self.functions = re.findall(r"OX_API ([^;()]*?)(\w+)\(([^;]*)\);", text)
        self.known = {name for name, _ in self.structs}
        self.names = {name for name, _ in self.enums} | {name for _, name, _ in self.callbacks}

    def type(self, text, function=False):
        """The ctypes spelling of a C type. Callbacks take pointers as they are."""
        stars = text.count("*")
        base = re.sub(r"\bconst\b|\*", " ", text).strip()
        if base == "char" and stars:
            return "c_char_p" if stars == 1 else "POINTER(c_char_p)"
        if stars == 1 and base in self.known:
            return f"POINTER({base})"
        if stars == 1 and base in PLAIN and base != "void":
            return f"POINTER({PLAIN[base]})"
        if stars:
            return "c_void_p"
        if base in PLAIN:
            return PLAIN[base]
        if base in self.names:
            enum = base in dict(self.enums)
            return "c_int" if enum else base
        raise SystemExit(f"generate.py: unknown type \"{text}\"")

    def parameters(self, text):
        text = " ".join(text.split())
        parts = [] if text == "void" else text.split(",")
        return [self.type(re.match(r"(.*?[ *])\w+$", part.strip()).group(1)) for part in parts]

    def fields(self, body):
        for line in filter(None, (" ".join(part.split()) for part in body.split(";"))):
            kind, name, length = re.fullmatch(r"(.*?[ *])(\w+)(?:\[(\d+)\])?", line).groups()
            yield name, f"c_char * {length}" if length else self.type(kind)


def options(program):
    """Rows of the table, but for what is about pictures in files: Python has arrays."""
    done = subprocess.run([program, "explain", "--help=json"], capture_output=True, text=True,
                          check=True)
    rows = json.loads(done.stdout)["options"]
    return [row for row in rows if row["name"] != "pixels"]


def write(header, table):
    yield HEAD
    for name, value in header.constants:
        yield f"{name.removeprefix('OX_')} = {value}\n"
    for name, body in header.enums:
        yield f"\n\nclass {name}(IntEnum):\n"
        value = -1
        for entry in filter(None, (part.strip() for part in body.split(","))):
            key, _, number = entry.partition("=")
            value = int(number) if number else value + 1
            yield f"    {key.strip().removeprefix('OX_')} = {value}\n"
    yield "\n"
    # Callbacks are given structs of their own, which come later.
    for result, name, arguments in header.callbacks:
        kinds = ["c_void_p" if kind.startswith("POINTER") else kind
                 for kind in header.parameters(arguments)]
        yield f"\n{name} = CFUNCTYPE({', '.join([header.type(result), *kinds])})"
    yield "\n"
    for name, body in header.structs:
        fields = list(header.fields(body))
        yield f"\n\nclass {name}(Structure):\n"
        yield "".join(f"    {field}: Any\n" for field, _ in fields)
        yield "    _fields_ = [\n"
        yield "".join(f"        (\"{field}\", {kind}),\n" for field, kind in fields)
        yield "    ]\n"
    yield "\n\nFUNCTIONS: dict[str, tuple[Any, list[Any]]] = {\n"
    for result, name, arguments in header.functions:
        kinds = ", ".join(header.parameters(arguments))
        yield f"    \"{name}\": ({header.type(result)}, [{kinds}]),\n"
    yield "}\n\n\n"
    yield 'class Option(NamedTuple):\n    """An option of `onnxexplainer explain`."""\n\n'
    yield "    kind: str\n    argument: str\n    help: str\n\n\n"
    yield "OPTIONS = {\n"
    for row in table:
        yield f"    {row['name'].replace('-', '_')!r}: Option({row['kind']!r}, "
        yield f"{row['argument'] or ''!r},\n        {row['help']!r}),\n"
    yield '}\n\n\nclass ExplainOptions(TypedDict, total=False):\n'
    yield '    """The keywords of `explain`, besides its output."""\n\n'
    for row in table:
        name = row["name"]
        if name not in ("references", "output"):
            yield f"    {name.replace('-', '_')}: {SPECIAL.get(name, TYPES[row['kind']])}\n"


def main():
    header, program, output = sys.argv[1:]
    text = "".join(write(Header(pathlib.Path(header).read_text()), options(program)))
    pathlib.Path(output).write_text(text)


main()
