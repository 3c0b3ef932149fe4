"""The layers of the library, by the symbols of its objects and by its includes: each folder of src/
uses those above it in docs/design.md, and files that call each other in a circle say why."""

import re
import subprocess
from collections import defaultdict

import pytest

from conftest import BUILD, ROOT

SOURCES = [str(path.relative_to(ROOT / "src").with_suffix("")) for path in ROOT.glob("src/*/*.c")]
ORDER = re.findall(r"^\| `src/(\w+)` \|", (ROOT / "docs" / "design.md").read_text(), re.MULTILINE)

# Files that may call each other, and the reason.
CIRCLES = {
    ("base/arena", "base/budget"):
        "an arena counts what it gives out, and what is too much leaves through the arena",
    ("explain/branch", "explain/copies", "explain/predicted"):
        "what goes into a copy for all pairs of reference and sample is repeated of either side, "
        "and what goes into a body from outside is there, which is a copy itself",
    ("lift/batch", "lift/batch_nodes", "lift/batched", "lift/control", "lift/sequence"):
        "SequenceMap writes out a body, in which sequences are written out; and control flow is "
        "written out for all steps at once, within the budget that it shares",
    ("tune/conv", "tune/elementwise", "tune/flow", "tune/layout"):
        "a form that is put off is written where it is asked for, by a flow over forms",
}


def level(file):
    return ORDER.index(file.split("/")[0])


@pytest.fixture(scope="module")
def calls():
    """{(file, other file): symbols of the other that it uses}"""
    objects = {str(BUILD / "CMakeFiles" / "objects.dir" / "src" / f"{file}.c.o"): file
               for file in SOURCES}
    lines = subprocess.run(["nm", "-A", "-g", *objects], capture_output=True, text=True,
                           check=True).stdout.splitlines()
    home, wanted, found = {}, [], defaultdict(set)
    for line in lines:
        path, symbol = line.rsplit(":", 1)
        kind, name = symbol.split()[-2:]
        if kind == "U":
            wanted.append((objects[path], name))
        else:
            home[name] = objects[path]
    for file, name in wanted:
        if name in home:
            found[file, home[name]].add(name)
    assert any(a.startswith("explain/") and "ox_lift" in names for (a, _), names in found.items())
    return found


def circles(edges):
    """Sets of files each of which reaches all others."""
    after = defaultdict(set)
    for a, b in edges:
        after[a].add(b)

    def reached(start):
        seen, todo = set(), [start]
        while todo:
            for b in after.get(todo.pop(), set()) - seen:
                seen.add(b)
                todo.append(b)
        return seen

    reach = {a: reached(a) for a in list(after)}
    return {tuple(sorted(b for b in reach[a] if a in reach.get(b, set())))
            for a in reach if a in reach[a]}


def test_circles_are_found():
    assert circles([("a", "b"), ("b", "c"), ("c", "b"), ("c", "d"), ("e", "a")]) == {("b", "c")}


def test_folders_are_described():
    assert len(set(ORDER)) == len(ORDER)
    assert set(ORDER) == {path.name for path in (ROOT / "src").iterdir()}


def test_calls_go_down(calls):
    up = [f"{a} -> {b}: {', '.join(sorted(names))}" for (a, b), names in calls.items()
          if level(a) < level(b)]
    assert not up


def test_includes_go_down():
    up, seen = [], 0
    for path in sorted(ROOT.glob("src/*/*.[ch]")):
        for header in re.findall(r'^#include "(\w+/\w+\.h)"', path.read_text(), re.MULTILINE):
            seen += 1
            if level(f"{path.parent.name}/") < level(header):
                up.append(f"{path.parent.name}/{path.name} includes {header}")
    assert seen > len(SOURCES) and not up


def test_circles_have_reasons(calls):
    assert circles(calls) == set(CIRCLES)


def test_only_os_calls_a_system():
    """What differs between systems stands in os/: other files include what C11 has, and headers of the
    libraries that they use. strings.h is on all systems."""
    system = re.compile(r"^\s*#\s*include <(sys/\w+|arpa/\w+|unistd|fcntl|dirent|dlfcn|pthread|sched|poll|"
                        r"termios|pwd|io|direct|windows|psapi)\.h>", re.MULTILINE)
    files = [path for folder in ("include", "src", "cli", "ops") for path in (ROOT / folder).rglob("*.[ch]")]
    assert len(files) > 300
    assert {str(path): found for path in files
            if (found := system.findall(path.read_text()))} == {}
    assert system.findall((ROOT / "os/posix_files.c").read_text())


def test_analysis_knows_what_does_not_return():
    """cppcheck overlooks _Noreturn, and then sees NULLs that were refused."""
    declared = {name for path in ROOT.glob("src/*/*.h")
                for name in re.findall(r"^_Noreturn void (\w+)\(", path.read_text(), re.M)}
    told = set(re.findall(r'function name="(\w+)"', (ROOT / "tools/cppcheck.cfg").read_text()))
    assert declared == told and "ox_fail" in declared
