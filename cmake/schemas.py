"""schemas.py BASE OUT: writes the table of operator schemas that src/model/schema.c includes.

The standard's come from the onnx package, every version of each; those of ONNX Runtime's own
operators (com.microsoft, and what it keeps in the standard domain) from the onnxruntime package;
those of our functions from BASE, the folder of the tables that list them."""

import pathlib
import re
import sys

from onnx import defs
from onnxruntime.capi import onnxruntime_pybind11_state as ort

RUNTIME = ("", "com.microsoft", "com.microsoft.nchwc")  # what is taken from ONNX Runtime
ANY = 0xFFFF  # as many as one likes
BITS = 64  # of the masks
# They take any attribute, which the packages do not tell.
OPEN = {("LayerNormalization", ""), ("BitmaskDropout", "com.microsoft")}


def schemas():
    """All of them, by (operator, domain, version)."""
    found = {(s.name, s.domain, s.since_version): s for s in ort.get_all_operator_schema()
             if s.domain in RUNTIME}
    found.update(((s.name, s.domain, s.since_version), s)
                 for s in defs.get_all_schemas_with_history())
    return found


def side(formals, least, most):
    """Of inputs or outputs: least and most, a bit for each that must be there, and how many there
    are before those that repeat."""
    variadic = bool(formals) and formals[-1].option.name == "Variadic"
    fixed = formals[:-1] if variadic else formals
    bits = sum(1 << i for i, formal in enumerate(fixed) if formal.option.name == "Single")
    assert len(fixed) < BITS and (variadic or most == len(fixed))
    return f"{{{least}, {min(most, ANY)}, {len(fixed)}, {bits:#x}}}"


def attributes(schema):
    """The rows of its attributes, sorted."""
    assert len(schema.attributes) <= BITS
    return tuple(f'{{"{name}", {a.type.value}, {str(a.required).lower()}}}'
                 for name, a in sorted(schema.attributes.items()))


def rows(text, macro):
    """The rows of an X-macro: their columns."""
    body = re.search(rf"define {macro}\(X\)(.*?[^\\])\n", text, re.DOTALL)[1]
    found = [row.split(", ") for row in re.findall(r"X\(([^()]*)\)", body)]
    assert found
    return [[column.strip('"') for column in row] for row in found]


def flows(base):
    """(name, y, count) of those that have a kernel."""
    own = re.findall(r'^KERNEL_FLOW\(\w+, "(\w+)", (\d), (\d)', (base / "flows.inc").read_text(), re.M)
    operators = re.findall(r'^KERNEL\("(\w+)", \w+, \w+, "[^"]*", [\w |]+, \w+, (\d), (\d)',
                           (base / "operators.inc").read_text(), re.M)
    assert own and operators
    return own + operators


def functions(base):
    """Rows of those of our functions that more than the function runs: {name: inputs}, every one of
    which must be there."""
    text, counts = (base / "ours.h").read_text(), {}
    for name, y, count in flows(base):
        counts[f"{name}Flow"] = 3 + 2 * int(y) + int(count)
        counts[f"{name}SumFlow"] = counts[f"{name}Flow"] + 1
    along = {"OX_AXIS_FLOWS": 3, "OX_NORM_FLOWS": 5}
    counts |= {f"{name}Flow": count for macro, count in along.items()
               for _, name in rows(text, macro)}
    counts |= {name: int(count) for name, count, _ in rows(text, "OX_OTHER_FUNCTIONS")
               if count != "0"}
    units = {f"{name}Unit": 7 + 2 * int(y) + int(count)
             for _, name, y, count in rows(text, "OX_UNITS")}
    units |= {name.replace("Unit", "SumUnit"): count + 2 for name, count in units.items()}
    return {(name, "onnxexplainer", 1):
            f'    {{"onnxexplainer", "{name}", 1, {{{count}, {count}, {count}, {2 ** count - 1:#x}}}, '
            f"{{{results}, {results}, {results}, {2 ** results - 1:#x}}}, NULL, 0, false}},"
            for some, results in ((counts, 1), (units, 2)) for name, count in some.items()}


def table(base):
    """The text of the table; lists of attributes that are equal stand once."""
    lists, rows = {}, functions(base)
    for (name, domain, since), schema in schemas().items():
        attrs = attributes(schema)
        at = lists.setdefault(attrs, f"attrs_{len(lists)}") if attrs else "NULL"
        rows[name, domain, since] = (
            f'    {{"{domain}", "{name}", {since}, '
            f"{side(schema.inputs, schema.min_input, schema.max_input)}, "
            f"{side(schema.outputs, schema.min_output, schema.max_output)}, "
            f"{at}, {len(attrs)}, {str((name, domain) in OPEN).lower()}}},")
    yield "/* Made by cmake/schemas.py. */"
    for attrs, name in lists.items():
        yield f"static const ox_schema_attr {name}[] = {{{', '.join(attrs)}}};"
    yield "static const ox_schema schemas[] = {"
    yield from (row for _, row in sorted(rows.items()))
    yield "};"
    yield f"enum {{ NEWEST_OPSET = {defs.onnx_opset_version()} }};"


pathlib.Path(sys.argv[2]).write_text("\n".join(table(pathlib.Path(sys.argv[1]))) + "\n")
