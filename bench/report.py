"""The table of one case, for a terminal and in Markdown."""
COLUMNS = [("x ideal", lambda r: f"{r['x_ideal']:.2f}"),
           ("median", lambda r: f"{r['x_ideal_median']:.2f}"),
           ("ms", lambda r: milliseconds(min(r["seconds"]))),
           ("rounds", lambda r: str(len(r["seconds"]))),
           ("peak MiB", lambda r: f"{r['peak']:,.0f}"),
           ("load s", lambda r: f"{r['load']:.2f}"),
           ("first s", lambda r: f"{r['first']:.2f}"),
           ("cache MiB", lambda r: optional(r, "cache", ",.1f")),
           ("file MiB", lambda r: optional(r, "file", ",.1f")),
           ("gap", lambda r: optional(r, "completeness", ".0e")),
           ("L2 from ours", lambda r: optional(r, "distance", ".0e"))]


def milliseconds(seconds):
    return f"{seconds * 1e3:,.0f}" if seconds >= 0.1 else f"{seconds * 1e3:.3g}"


def optional(row, key, form):
    return format(row[key], form) if key in row else ""


def cells(row):
    if "error" in row and "seconds" not in row:
        return None
    return [text(row) for _, text in COLUMNS]


def heading(row):
    parts = [row["network"], f"R = {row['refs']}"]
    if row["batch"] > 1:
        parts.append(f"batch {row['batch']}")
    if row["size"]:
        parts.append(f"{row['size']} x {row['size']}")
    return ", ".join(parts)


def by_case(rows):
    cases = {}
    for row in rows:
        cases.setdefault(heading(row), []).append(row)
    return cases


def table(rows):
    """Aligned columns, for a terminal."""
    width = max(len(row["name"]) for row in rows)
    heads = [head for head, _ in COLUMNS]
    widths = [max(len(head), 9) for head in heads]
    lines = [" " * width + "".join(f"{h:>{w + 2}}" for h, w in zip(heads, widths))]
    for row in rows:
        texts = cells(row)
        lines.append(f"{row['name']:{width}}" + (
            "  " + row["error"] if texts is None else
            "".join(f"{t:>{w + 2}}" for t, w in zip(texts, widths))))
        if texts and "error" in row:
            lines.append(f"{'':{width}}  {row['error']}")
    return "\n".join(lines)


def markdown(rows):
    lines = ["| | " + " | ".join(head for head, _ in COLUMNS) + " |",
             "| --- |" + " ---: |" * len(COLUMNS)]
    for row in rows:
        texts = cells(row) or [row["error"].replace("|", "\\|")] + [""] * (len(COLUMNS) - 1)
        lines.append(f"| {row['name']} | " + " | ".join(texts) + " |")
    return "\n".join(lines)

