"""References for one-hot sequences: the sample itself, shuffled so that pairs of neighbours are as
frequent as before."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import Array, as_array
from ._errors import ArgumentError


def _last_steps(tokens: Array, rng: np.random.Generator) -> dict[int, int]:
    """For each token but the last one the token that follows when it is left for good: a tree
    towards the last one, drawn with the probability of its edges (loop-erased random walks)."""
    end = int(tokens[-1])
    following = {int(t): tokens[1:][tokens[:-1] == t] for t in np.unique(tokens)}
    tree: dict[int, int] = {}
    for start in following:
        at, way = start, {}
        while at != end and at not in tree:
            way[at] = int(rng.choice(following[at]))
            at = way[at]
        at = start
        while at != end and at not in tree:
            tree[at] = way[at]
            at = way[at]
    return tree


def shuffle_pairs(tokens: Any, rng: np.random.Generator) -> Array:
    """The whole numbers in another order, with the same pairs of neighbours, each of these orders
    with the same probability; the first and the last stay."""
    tokens = np.asarray(tokens)
    if len(tokens) < 3:
        return np.asarray(tokens.copy())
    tree = _last_steps(tokens, rng)
    queues = {}
    for token in np.unique(tokens):
        queue = tokens[1:][tokens[:-1] == token]
        if int(token) in tree:
            last = int(np.flatnonzero(queue == tree[int(token)])[0])
            queue = np.append(rng.permutation(np.delete(queue, last)), queue[last])
        else:
            queue = rng.permutation(queue)
        queues[int(token)] = iter(queue)
    shuffled = tokens[:1].tolist()
    for _ in tokens[1:]:
        shuffled.append(int(next(queues[int(shuffled[-1])])))
    return np.array(shuffled, tokens.dtype)


def dinucleotide_shuffles(sample: Any, count: int = 20, *, axis: int | None = None,
                          seed: int = 0) -> Array:
    """References for one one-hot sequence, [count, ...] in its own shape.

    sample: one sequence without a batch axis, [letters, length] or [length, letters]
    axis:   of the letters (default: the one along which there is one 1 in each place)
    """
    given = np.asarray(as_array(sample))
    if given.ndim != 2:
        raise ArgumentError(f"dinucleotide_shuffles: {given.ndim} axes where one sequence has 2")
    fits = [d for d in (0, 1) if ((given == 0) | (given == 1)).all() and (given.sum(d) == 1).all()]
    if axis is None and len(fits) != 1:
        raise ArgumentError("dinucleotide_shuffles: the sample is not one-hot along one axis: give "
                            "axis, or a sequence without gaps")
    letters = fits[0] if axis is None else axis % 2
    if letters not in fits:
        raise ArgumentError(f"dinucleotide_shuffles: the sample is not one-hot along axis {axis}")
    tokens, rng = given.argmax(letters), np.random.default_rng(seed)
    shuffled = np.stack([shuffle_pairs(tokens, rng) for _ in range(count)])
    one_hot = np.eye(given.shape[letters], dtype=given.dtype)[shuffled]  # [count, length, letters]
    return np.asarray(one_hot.transpose(0, 2, 1) if letters == 0 else one_hot)
