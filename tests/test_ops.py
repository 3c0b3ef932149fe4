"""The table of operators is complete: every operator of the ONNX standard that is installed here
has a row, which says how it is treated, and docs/ops.md is that table. A new ONNX release with new
operators fails here."""

import json
import subprocess

import pytest
from onnx import defs
from onnxruntime.capi import onnxruntime_pybind11_state as ort

from conftest import ROOT

STATES = {"differentiated", "decomposed", "carries nothing", "refused"}
MICROSOFT = "com.microsoft"
DEPRECATED = {"Scatter", "Upsample"}  # lift rewrites them


def standard():
    """{(domain, operator): schema}, the newest of each."""
    return {(schema.domain or "ai.onnx", schema.name): schema
            for schema in defs.get_all_schemas()}


@pytest.fixture(scope="module")
def rows(cli):
    done = subprocess.run([cli, "ops", "--json"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_complete(rows):
    have = {(row["domain"], row["op"]) for row in rows}
    current = {key for key, schema in standard().items() if not schema.deprecated}
    assert sorted(current - have) == []


def test_contributed(rows):
    """Every operator of com.microsoft that ONNX Runtime has here, and nothing is said to lack a
    kernel for the CPU that has one."""
    have = {row["op"]: row for row in rows if row["domain"] == MICROSOFT}
    schemas = {schema.name for schema in ort.get_all_operator_schema()
               if schema.domain == MICROSOFT}
    kernels = {kernel.op_name for kernel in ort.get_all_opkernel_def()
               if kernel.domain == MICROSOFT and kernel.provider == "CPUExecutionProvider"}
    assert len(schemas) > 100 and sorted(schemas - have.keys()) == []
    lacking = {op for op, row in have.items() if "no kernel for the CPU" in row["formula"]}
    assert lacking & kernels == set()


def test_known(rows):
    """No row is of an operator that does not exist, such as a misspelt one."""
    contributed = {(s.domain or "ai.onnx", s.name) for s in ort.get_all_operator_schema()}
    unknown = {(row["domain"], row["op"]) for row in rows} - standard().keys() - contributed
    assert {key for key in unknown if key[0] != "onnxexplainer"} == set()
    assert not DEPRECATED & {row["op"] for row in rows}


def test_sorted(rows):
    keys = [(row["op"], row["domain"]) for row in rows]
    assert keys == sorted(set(keys))


def test_states(rows):
    """Each row is in one of the states and says why."""
    for row in rows:
        assert row["state"] in STATES, row
        assert row["formula"] and row["formula"].isascii(), row
        assert not row["formula"].endswith("."), row
        assert not row["formula"].startswith("not yet"), row


def test_docs(cli):
    """docs/ops.md is what the command prints; `onnxexplainer ops --markdown` makes it."""
    done = subprocess.run([cli, "ops", "--markdown"], capture_output=True, text=True, check=True)
    assert (ROOT / "docs" / "ops.md").read_text() == done.stdout
