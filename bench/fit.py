"""How time and memory grow: straight lines a + b n through what was measured, each point weighted
by its own size, so that small ones count as much as large ones."""
from dataclasses import dataclass

import numpy as np


@dataclass
class Line:
    start: float
    slope: float
    worst: float  # the largest relative distance of a point

    def __call__(self, n):
        return self.start + self.slope * n


def line(points):
    """Through at least two points (n, value)."""
    n, values = np.array(points, np.float64).T
    terms = np.stack([np.ones_like(n), n], 1)
    (start, slope), *_ = np.linalg.lstsq(terms / values[:, None], np.ones_like(n), rcond=None)
    return Line(start, slope, float(abs(terms @ (start, slope) / values - 1).max()))


# What may grow while the rest stays as it is: the value of a row, and what is held.
AXES = {"references": (lambda row: row["refs"], ("batch", "size")),
        "samples in a batch": (lambda row: row["batch"], ("refs", "size")),
        "pixels, in thousands": (lambda row: (row["size"] or 224) ** 2 / 1000, ("refs", "batch"))}
LEAST = {"references": 2, "samples in a batch": 3, "pixels, in thousands": 3}


def growth(rows):
    """Yields (axis, network, contender, line of milliseconds, line of MiB)."""
    for axis, (value, held) in AXES.items():
        groups = {}
        for row in rows:
            if "seconds" in row:
                key = (row["network"], row["name"], *(row[name] for name in held))
                groups.setdefault(key, {})[value(row)] = row
        for (network, name, *_), by_value in groups.items():
            if len(by_value) >= LEAST[axis]:
                yield (axis, network, name,
                       line([(n, 1e3 * min(row["seconds"])) for n, row in by_value.items()]),
                       line([(n, row["peak"]) for n, row in by_value.items()]))
