"""The official ONNX node cases: every one with a floating-point input and output is explained, and
the prediction stays, the values are complete for each pair of sample and reference, and many
references give the mean of single ones. Or it is refused, for a reason that is listed here."""

import collections
import re

import numpy as np
import onnx
import pytest

import backend
import library
from backend import wide

CASES = backend.collect()
OUTCOMES = {}
USED = set()  # entries of the lists below that were needed

# What is refused beside the operators that the table of rules refuses: pattern of the case's name,
# part of the message, whether there is anything to explain in such a case.
REFUSED = [
    (r"reduce_prod_empty_set", "its shape is not known", False),
    (r"_empty_set|_zero_size_splits|_allowzero_reordered|_start_out_of_bounds", "empty", False),
    (r"batchnorm_.*training_mode", "is in training mode, by training_mode=1", True),
    (r"scan_sum", "Scan of opset 8 has no later spelling", True),
    (r"training_dropout", "is in training mode", True),
    (r"scatter_?(elements|nd)_", "no rule for reduction", True),
]

# Outputs beside the first that cannot be explained: operator, part of the message.
SECONDARY = {"LayerNormalization": "no rule for its output"}


def refusal(name, message):
    """What kind of refusal this is; an expected one, by the table of rules or by the list above."""
    state, reason = library.rules().get(backend.operator(CASES[name].model), ("", ""))
    message = message.removesuffix("; --method=kernel explains any model by its outputs")
    if state == "refused" and message.endswith(f": {reason}"):
        return "not explainable"
    for pattern, part, anything in REFUSED:
        if re.search(pattern, name) and part in message:
            USED.add(pattern)
            return "refused" if anything else "not explainable"
    raise AssertionError(f"refused: {message}")


# ---- one model -----------------------------------------------------------------------------------


def difference(a, b):
    """a - b, NaN where neither is finite."""
    with np.errstate(invalid="ignore"):
        return wide(a) - wide(b)


def largest(*values):
    """The largest finite magnitude."""
    values = np.concatenate([wide(v).reshape(-1) for v in values])
    return np.abs(values[np.isfinite(values)]).max(initial=1e-3)


def tolerance(case, *values):
    """Rounding: epsilon of the coarsest type times the terms of the sums times their size."""
    terms = 16 + sum(x.size for x in case.x.values())
    return 4 * case.epsilon(*values) * terms * largest(*case.x.values(), *values)


def targets(case, y):
    """All values of a small output, a few of a large one."""
    if y.size <= backend.MOST_TARGETS:
        return "all"
    few = case.rng.choice(y.size, backend.FEW_TARGETS, replace=False)
    return ",".join(map(str, sorted(few)))


def check_pair(case, values, flat, y, y0, same):
    """Completeness, where both predictions are finite, and nothing where they are the same."""
    phis = [wide(v).reshape(flat.size, -1) for v in values]
    want = difference(y, y0).reshape(-1)[flat]
    known = np.isfinite(want)
    assert known.any(), "no finite prediction"
    assert all(np.isfinite(phi[known]).all() for phi in phis), "values are not finite"
    gap = np.abs(want - sum(phi.sum(axis=1) for phi in phis))[known].max()
    allowed = tolerance(case, y, y0, *phis)
    assert gap <= allowed, f"gap {gap:.3g}, allowed {allowed:.3g}"
    if same:
        assert not any(phi.any() for phi in phis), "values where the sample is the reference"


def check_output(case, run, y, bases, output):
    """One output of the case, explained by references that come in one by one, and by constant
    ones together."""
    options = {"output_name": output, "target": targets(case, y[output]), "no_batch": True}
    one = backend.Runner(library.explain(case.model, None, **options), run.by_reference)
    all_ = backend.Runner(library.explain(case.model, case.r, **options), run.by_reference)
    together = all_(case.x)
    apart = np.nan_to_num(np.abs(difference(together[output], y[output])), nan=0, posinf=np.inf)
    assert apart.max() <= 4 * case.epsilon(y[output]) * largest(y[output]), "the prediction changed"
    flat = np.asarray(together["shap_target"]).reshape(-1)
    names = [f"{name}_shap" for name in case.x if f"{name}_shap" in together]
    singles = []
    for i, base in enumerate(bases):
        row = {f"{name}_references": r[i:i + 1] for name, r in case.r.items()
               if f"{name}_references" in one.inputs}
        single = one({**case.x, **row})
        check_pair(case, [single[name] for name in names], flat, y[output], base[output],
                   i == backend.REFERENCES - 1)
        singles.append(single)
    for name in names:
        rows = np.stack([wide(s[name]) for s in singles])
        apart = np.abs(difference(rows.mean(axis=0), together[name]))
        apart = apart[np.isfinite(rows).all(axis=0)].max()
        assert apart <= tolerance(case, y[output], rows), f"the mean is {apart:.3g} away"


def check_case(case, run, y):
    bases = [run(case.reference(i)) for i in range(backend.REFERENCES)]
    full = [output for output in case.outputs if y[output].size > 0]
    for output in full or case.outputs:
        try:
            check_output(case, run, y, bases, output)
        except library.Refused as error:
            part = SECONDARY.get(backend.operator(case.model)[1])
            if output == case.outputs[0] or part is None or part not in str(error):
                raise
            USED.add(backend.operator(case.model)[1])


def explained(case, run, y):
    """Checks all outputs, and again in float64 where there are kernels for it; returns where."""
    check_case(case, run, y)
    if run.by_reference:
        return "by the reference evaluator"
    twin = case.in_double()
    try:
        run = backend.Runner(twin.model)
        y = run(twin.x)
    except backend.NoRuntime:
        return "by ONNX Runtime"
    check_case(twin, run, y)
    return "by ONNX Runtime, in float64 as well"


def outcome(name):
    case = backend.Case(CASES[name])
    if not case.x:
        return "carries nothing", "no data in floating point"
    try:
        run, y = backend.runner(case.model, case.x)
    except backend.NoRuntime as error:
        return "no runtime", str(error)
    try:
        return "explained", explained(case, run, y)
    except backend.NoRuntime as error:
        assert run.by_reference, error
        return "no runtime", str(error)
    except library.Refused as error:
        message = str(error)
    if "no multiplier passes" in message or "no input to explain reaches" in message:
        return "carries nothing", message
    return refusal(name, message), message


def check_order(case, run, y, order):
    """Completeness at a higher order, and nothing for the sample itself."""
    options = {"target": targets(case, y["bent"]), "no_batch": True, "order": order}
    explained = backend.Runner(library.explain(case.model, None, **options))
    for i in (0, backend.REFERENCES - 1):
        row = {f"{name}_references": r[i:i + 1] for name, r in case.r.items()
               if f"{name}_references" in explained.inputs}
        found, base = explained({**case.x, **row}), run(case.reference(i))
        flat = np.asarray(found["shap_target"]).reshape(-1)
        phis = [found[f"{name}_shap"] for name in case.x if f"{name}_shap" in found]
        check_pair(case, phis, flat, y["bent"], base["bent"], i > 0)


@pytest.mark.parametrize("name", CASES)
def test_higher_orders(name):
    """sum(m_x dx + Q_x V_x) == m_y dy + Q_y V_y for each pair, where V is not the square of what
    differs and a Q arrives: what is around the operator keeps it."""
    case = backend.Case(CASES[name])
    if not any(x.size for x in case.x.values()) or not case.outputs:
        return
    if backend.tensor_type(case.model.graph.output[0]) != onnx.TensorProto.FLOAT:
        return
    try:
        y = backend.Runner(case.model)(case.x)[case.model.graph.output[0].name]
        case = case.bent(largest(y))
        run = backend.Runner(case.model)
        y = run(case.x)
        for order in (2, 3):
            check_order(case, run, y, order)
    except backend.NoRuntime:
        return  # test_case has these by another
    except library.Refused as error:
        refused = OUTCOMES.get(name, ("refused",))[0] != "explained"
        assert refused or "bent" in str(error), error


@pytest.mark.parametrize("name", CASES)
def test_case(name):
    OUTCOMES[name] = "FAILED", ""
    OUTCOMES[name] = outcome(name)


def test_counts(capsys):
    """What came of all cases. Of those that a runtime runs and through which a contribution could
    flow, 95 % are explained."""
    if set(OUTCOMES) != set(CASES):
        pytest.skip("not all cases ran")
    kinds = collections.Counter(kind for kind, _ in OUTCOMES.values())
    details = collections.Counter((kind, detail) for kind, detail in OUTCOMES.values()
                                  if kind == "explained")
    others = collections.defaultdict(list)
    for name, (kind, detail) in OUTCOMES.items():
        if kind not in ("explained", "FAILED"):
            domain, op = backend.operator(CASES[name].model)
            reason = detail.rsplit("): ", 1)[-1].rsplit("\n", 1)[-1]
            others[kind, f"{domain}{'.' if domain else ''}{op}", reason].append(name)
    with capsys.disabled():
        print(f"\n{len(CASES)} cases: "
              + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()))
        for (_, detail), count in details.most_common():
            print(f"    {count} explained {detail}")
        for (kind, op, reason), names in sorted(others.items()):
            print(f"    {len(names)} {kind}: {op}: {reason[:90]}")
    lists = {pattern for pattern, _, _ in REFUSED} | SECONDARY.keys()
    assert lists == USED, "entries are out of date"
    assert kinds["explained"] >= 0.95 * (kinds["explained"] + kinds["refused"] + kinds["FAILED"])
