"""Steps of a Scan that have no form for all of them at once: they are written out one by one, with the
same values."""

import numpy as np
import pytest
from rulecheck import Rule, check, node
from test_rules_control import ROWS, body

STEPWISE = { # of the state s [N, 3] and a row b [3]: nodes, and how y is made of z
    "vector": ([node("MatMul", "s b", "out")], [1, 0]),
    "nothing": ([node("Mul", "s b", "m"), node("ReduceSum", "m none", "out", noop_with_empty_axes=1)], [1, 0, 2]),
    "by rows": ([node("Cast", "b", "c", to=7), node("Gather", "s c", "out", axis=1)], [1, 0, 2]),
}


@pytest.mark.parametrize("name", STEPWISE)
def test_scan_of_steps_that_stay(name, explain, run):
    nodes, perm = STEPWISE[name]
    used = {i for n in nodes for i in n.input}
    constants = {"none": np.int64([])}
    inner = body([node("Identity", "s", "t_out"), *nodes], ["s", "b"], ["t_out", "out"],
                 {k: v for k, v in constants.items() if k in used})
    scan = node("Scan", "x rows", "same z", body=inner, num_scan_inputs=1)
    check(Rule([scan, node("Transpose", "z", "y", perm=perm)], {"x": [3]}, {"rows": ROWS}), explain, run)
