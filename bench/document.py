"""docs/benchmarks.md from what main.py measured."""
from report import by_case, markdown

INTRODUCTION = """# Benchmarks

Written by `make bench`. All figures are of one run on one machine:

{machine}

Contenders take turns, round by round, and minima over the rounds are compared. *x ideal* is the
time as a multiple of *ideal*: one ONNX Runtime forward of the sample and one of the R references
on the plain model, in two calls, which any exact method must at least do; *median* is the same
with medians. *peak* is the highest resident size of a process that does nothing else, from its
start on. *load* is the time to make the session or the explainer, *first* the first run. *gap* is
the completeness error |sum(phi) - (f(x) - mean f(r))| / max(|f(x) - mean f(r)|, 1e-3 sum|phi|),
*L2 from ours* the relative distance of the SHAP values from those of the portable graph.
Contenders that do not fit into memory together run in heats, each with ideal in it.

- *cached PyTorch*, *cached TensorFlow*: the same method written in these frameworks
  (`bench/contenders/cached.py`): the references' activations kept, one forward pass of the
  sample, one batched backward walk without autograd. What onnxexplainer adds for the factors of
  attention ([rules.md](rules.md)) they lack, and save the time.
- *malloc tuned*: glibc keeps large blocks in place of giving them back (`GLIBC_TUNABLES` in
  `bench/contenders/__init__.py`).
- SHAP and Captum run as their users run them, on networks in which every nonlinearity is a module
  of its own.
- *kernels*: with `libonnxexplainer_ops`; *tuned*: after `onnxexplainer tune`; *load*, *file*,
  *none*: the cache of the references ([design.md](design.md))."""

# What rows.py measured, which runs on its own.
ROWS = """`shap_values` of the Python package (`bench/rows.py`: a table of 30 columns, 100 references, an MLP of
64 and 32 units with two outputs, two threads, taking turns with shap.DeepExplainer on PyTorch, all
rows at once): 1,000 rows 0.04 to 0.06 s against 12 to 19 s, 308 times as fast by the minima of three
rounds; 10,000 rows 0.36 s against 1802 s, one round. Other programs ran on the machine."""

# Rows of the overview: what is the best of those whose name starts like this.
KINDS = ["onnxexplainer tuned", "onnxexplainer kernels", "onnxexplainer portable",
         "cached PyTorch", "cached TensorFlow", "SHAP TensorFlow", "SHAP PyTorch",
         "SHAP PyTorch, malloc tuned", "Captum"]


def overview(rows, refs=10):
    """x ideal of the best of each kind, by network."""
    rows = [row for row in rows if row["refs"] == refs and row["batch"] == 1 and not row["size"]]
    networks = list(dict.fromkeys(row["network"] for row in rows))
    lines = ["| | " + " | ".join(networks) + " |", "| --- |" + " ---: |" * len(networks)]
    for kind in KINDS:
        best = {}
        for row in rows:
            like = row["name"] == kind if kind.startswith("SHAP") else row["name"].startswith(kind)
            if like and "error" not in row:
                best[row["network"]] = min(row["x_ideal"], best.get(row["network"], row["x_ideal"]))
        if best:
            other = "no plan" if kind == "onnxexplainer tuned" else "fails"
            figures = [f"{best[n]:.2f}" if n in best else other for n in networks]
            lines.append(f"| {kind} | " + " | ".join(figures) + " |")
    return "\n".join(lines)


def growth_text(growth):
    text = ["## Growth", "", "Straight lines through the measured points, and the largest relative "
            "distance of one from its line."]
    for axis in dict.fromkeys(entry["axis"] for entry in growth):
        text += ["", f"n: {axis}", "", "| network | | ms | off | peak MiB | off |",
                 "| --- | --- | --- | ---: | --- | ---: |"]
        text += [growth_row(entry) for entry in growth if entry["axis"] == axis]
    return "\n".join(text)


def growth_row(entry):
    time, memory = entry["time"], entry["memory"]
    return (f"| {entry['network']} | {entry['name']} | {formula(time)} | {time['worst']:.0%} "
            f"| {formula(memory)} | {memory['worst']:.0%} |")


def formula(line):
    return f"{line['start']:.3g} {'+' if line['slope'] >= 0 else '-'} {abs(line['slope']):.3g} n"


def many_text(many):
    lines = ["## Many samples", "", "| network | rows | R | | s | times as fast as SHAP | |",
             "| --- | ---: | ---: | --- | ---: | ---: | --- |"]
    lines += [f"| {m['network']} | {m['rows']:,} | {m['refs']} | {m['name']} "
              f"| {m['seconds']:.2f} | {m['times']:.0f} | {m['note']} |" for m in many]
    return "\n".join([*lines, "", ROWS])


def threads_text(t):
    return f"""## Threads

{t['network']}, R = {t['refs']}, kernels where there are some.

- All threads are {t['explained']:.2f} times as fast as one for the explained model,
  {t['plain']:.2f} times for the plain model.
- Right after a run of another session of the program, whose threads may still be spinning, an
  explanation takes {t['after']:.2f} times as long as on its own.
- With another session running at the same time, both together get {t['beside']:.2f} of the work
  done that they would get done one after the other."""


def document(results):
    machine = "\n".join(f"- {line}" for line in results["machine"])
    parts = [INTRODUCTION.format(machine=machine), "## In short",
             "x ideal at R = 10, the best of each kind", overview(results["rows"]),
             "![time against references](latency.svg)", "![memory against references](memory.svg)"]
    for heading, rows in by_case(results["rows"]).items():
        parts += [f"## {heading}", markdown(rows)]
    parts += [growth_text(results["growth"]), many_text(results["many"]),
              threads_text(results["threads"])]
    return "\n\n".join(parts) + "\n"


def sections(text):
    """{heading: text of the section with it}, "" for what stands before the first."""
    parts = text.rstrip("\n").split("\n\n## ")
    return {"": parts[0]} | {part.split("\n")[0]: "## " + part for part in parts[1:]}


def merged(old, new, before="Growth"):
    """The old text with the new sections in their place, or where there was none in front of `before`;
    sections that other programs measure stay."""
    found = sections(old)
    later = {}
    for heading, text in sections(new).items():
        if not text:
            continue
        if heading in found or before not in found:
            found[heading] = text
        else:
            later[heading] = text
    ordered = {}
    for heading, text in found.items():
        if heading == before:
            ordered |= later
        ordered[heading] = text
    return "\n\n".join(ordered.values()) + "\n"


def tables(rows):
    """The sections of cases alone."""
    return "\n\n".join(f"## {heading}\n\n{markdown(own)}" for heading, own in by_case(rows).items())
