"""dinucleotide_shuffles: pairs of neighbours stay, and all orders that keep them come equally
often."""

from wheel import installed, run  # noqa: F401, fixtures

COUNTS = """
from collections import Counter
from itertools import permutations
from onnxexplainer._sequences import shuffle_pairs

def pairs(tokens):
    return Counter(zip(tokens[:-1].tolist(), tokens[1:].tolist()))
"""


def test_pairs_stay(run):
    run(COUNTS + """
for length in (1, 2, 3, 10, 200):
    rng = np.random.default_rng(length)
    tokens = rng.integers(0, 4, length)
    for _ in range(20):
        other = shuffle_pairs(tokens, rng)
        assert pairs(other) == pairs(tokens)
        assert (other[0], other[-1]) == (tokens[0], tokens[-1])
""")


def test_orders_are_equally_likely(run):
    """Chi-square over n orders has mean n - 1 and deviation sqrt(2 (n - 1))."""
    run(COUNTS + """
tokens = np.array([0, 1, 0, 2, 0, 1, 1, 2])
orders = {p for p in permutations(tokens.tolist()) if pairs(np.array(p)) == pairs(tokens)
          and p[0] == tokens[0]}
assert len(orders) > 5
rng, draws = np.random.default_rng(0), 4000
found = Counter(tuple(shuffle_pairs(tokens, rng).tolist()) for _ in range(draws))
assert set(found) == orders
n, each = len(orders), draws / len(orders)
chi = sum((count - each) ** 2 / each for count in found.values())
assert chi < n - 1 + 5 * np.sqrt(2 * (n - 1)), chi
""")


def test_one_hot(run):
    run(COUNTS + """
for letters in (0, 1):
    tokens = np.random.default_rng(1).integers(0, 4, 30)
    sample = np.eye(4, dtype=np.float32)[tokens]
    sample = sample.T if letters == 0 else sample
    made = ox.dinucleotide_shuffles(sample, 5, seed=3)
    assert made.shape == (5, *sample.shape) and made.dtype == sample.dtype
    for row in made:
        assert pairs(row.argmax(letters)) == pairs(tokens)
    assert (made == ox.dinucleotide_shuffles(sample, 5, seed=3)).all()
    assert len({row.tobytes() for row in made}) > 1
for sample, text in ((np.zeros((4, 5)), "not one-hot along one axis"),
                     (np.eye(4), "not one-hot along one axis"),
                     (np.zeros((1, 4, 5)), "3 axes where one sequence has 2")):
    refused(ox.ArgumentError, text, ox.dinucleotide_shuffles, sample)
""")
