#!/usr/bin/env python3
"""How close values come to Shapley values on trained models (../shared/models): all coalitions are
enumerated up to 13 players; beyond, orders and their opposites are drawn, and the estimate's own
error is printed. A pair of a sample and one reference counts where the output moves by more than a
twentieth of its size. Prints medians over the pairs of the rank correlation and of the relative L2
distance, and the largest ratio of the sums of absolute values.

Needs numpy, onnx, onnxruntime and the onnxexplainer command."""
import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import exact_nets  # noqa: E402

MODELS = ROOT.parent / "shared" / "models"
MOST_EXACT = 13

# name: model, input, groups of explain (None: each value), pairs, pairs of orders for the truth
KINDS = {
    "vit_digits blocks": ("vit_digits", "x", "patch:2x3", 24, 0),
    "vit_digits patches": ("vit_digits", "x", "patch:2x2", 12, 400),
    "dynamo_vit_mnist blocks": ("dynamo_vit_mnist", "x", "patch:7x10", 12, 0),
    "minilm tokens": ("minilm_l3_topics", "input_ids", None, 24, 0),
    "resnet_mnist blocks": ("resnet_mnist", "x", "patch:7x10", 12, 0),
    "cnn_bn_maxpool_digits": ("cnn_bn_maxpool_digits", "x", None, 10, 300),
    "norms_digits": ("norms_digits", "x", None, 8, 300),
    "rnn_tanh_digits": ("rnn_tanh_digits", "x", None, 10, 300),
    "lstm_digits": ("lstm_digits", "x", None, 8, 300),
    "gru_digits": ("gru_digits", "x", None, 8, 300),
    "mlp_regress_diabetes": ("mlp_regress_diabetes", "x", None, 16, 0),
    "mlp_tanh_softmax_wine": ("mlp_tanh_softmax_wine", "x", None, 16, 0),
    "mlp_relu_breast": ("mlp_relu_breast", "x", None, 10, 300),
    "sklearn_mlp_breast": ("sklearn_mlp_breast", "X", None, 10, 300),
    "resnet_mnist": ("resnet_mnist", "x", None, 4, 60),
    "mobile_se_silu_mnist": ("mobile_se_silu_mnist", "x", None, 4, 60),
}
TOKENS = 8


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model), options)


class Case:
    """A trained model seen as a function of one input; `rest` are the others, the same on both
    sides."""

    def __init__(self, model, name, groups):
        folder = MODELS / model
        self.path, self.name, self.groups = folder / "model.onnx", name, groups
        self.session = session(self.path)
        single = len(self.session.get_inputs()) == 1
        ending = ".npy" if single else f"_{name}.npy"
        self.x, self.r = np.load(folder / f"input{ending}"), np.load(folder / f"background{ending}")
        self.rest = {}
        if not single:  # tokens: the first ones, all of them seen
            self.x, self.r = self.x[:, :TOKENS], self.r[:, :TOKENS]
            self.rest = {i.name: np.ones_like(self.x[:1]) for i in self.session.get_inputs()
                         if i.name != name}
        kinds = [o for o in self.session.get_outputs() if o.type == "tensor(float)"]
        self.output = kinds[0].name

    def labels(self):
        """The player of each value."""
        shape = self.x.shape[1:]
        if self.groups is None:
            return np.arange(int(np.prod(shape))).reshape(shape)
        high, wide = map(int, self.groups.split(":")[1].split("x"))
        height, width = shape[-2:]
        rows, columns = np.arange(height) // high, np.arange(width) // wide
        return np.broadcast_to(rows[:, None] * (columns[-1] + 1) + columns, shape)

    def values(self, rows):
        many = [np.repeat(v, len(rows), axis=0) for v in self.rest.values()]
        feeds = dict(zip(self.rest, many)) | {self.name: rows}
        return self.session.run([self.output], feeds)[0].reshape(len(rows), -1).astype(np.float64)

    def pairs(self, count):
        """(x, r, target) where the output moves."""
        rng = np.random.default_rng(0)
        for i in range(len(self.x)):
            for j in rng.permutation(len(self.r))[:max(1, count // 6)]:
                x, r = self.x[i:i + 1], self.r[j:j + 1]
                y, base = self.values(x)[0], self.values(r)[0]
                target = int(y.argmax())
                if abs(y[target] - base[target]) > abs(y[target]) / 20 and count > 0:
                    count -= 1
                    yield x, r, target


class Game:
    """What the output is where some players take their values from the sample, the others from the
    reference. Players are groups of which a value differs; all others have the value 0."""

    def __init__(self, case, x, r, target):
        self.case, self.x, self.r, self.target = case, x, r, target
        groups = case.labels()
        self.players = np.unique(groups[np.broadcast_to(x[0] != r[0], groups.shape)])
        self.count = len(self.players)
        number = np.full(groups.max() + 1, self.count)  # of those that do not differ: one behind
        number[self.players] = np.arange(self.count)
        self.labels = number[groups]

    def values(self, masks):
        out = []
        for first in range(0, len(masks), 512):
            rows = masks[first:first + 512]
            rows = np.concatenate([rows, np.zeros((len(rows), 1), bool)], axis=1)[:, self.labels]
            mixed = np.where(rows, self.x, self.r).astype(self.x.dtype)
            out.append(self.case.values(mixed)[:, self.target])
        return np.concatenate(out)

    def enumerated(self):
        n = self.count
        masks = (np.arange(2 ** n)[:, None] >> np.arange(n)) & 1 == 1
        v, sizes, phi = self.values(masks), masks.sum(axis=1), np.empty(n)
        factorial = np.cumprod([1, *range(1, n + 1)], dtype=np.float64)
        for i in range(n):
            without = np.flatnonzero(~masks[:, i])
            weight = factorial[sizes[without]] * factorial[n - 1 - sizes[without]] / factorial[n]
            phi[i] = weight @ (v[without + 2 ** i] - v[without])
        return phi

    def draws(self, pairs, seed=0):
        """What each player adds, in the mean of an order and its opposite: [pairs, players]."""
        rng, n = np.random.default_rng(seed), self.count
        draws = np.zeros((pairs, n))
        for k in range(pairs):
            order = rng.permutation(n)
            for each in (order, order[::-1]):
                place = np.argsort(each)
                masks = np.arange(n + 1)[:, None] > place
                draws[k, each] += np.diff(self.values(masks)) / 2
        return draws

    def shapley(self, pairs):
        """Values and their relative standard error."""
        if self.count <= MOST_EXACT:
            return self.enumerated(), 0.0
        draws = self.draws(pairs)
        mean = draws.mean(axis=0)
        spread = np.linalg.norm(draws.std(axis=0, ddof=1)) / np.sqrt(pairs)
        return mean, spread / np.linalg.norm(mean)


# ---- ours and others ------------------------------------------------------------------------------

def ours(command, game, options):
    """SHAP values of the game's players."""
    case = game.case
    with tempfile.TemporaryDirectory() as folder:
        references, out = f"{folder}/r.npy", f"{folder}/e.onnx"
        np.save(references, game.r)
        held = [f"--hold={name}" for name in case.rest]
        groups = [f"--groups={case.groups}"] if case.groups else []
        subprocess.run([command, "explain", case.path, "-r", f"{case.name}={references}", "-o", out,
                        f"--target={game.target}", "--quiet", *held, *groups, *options], check=True)
        feeds = {**case.rest, case.name: game.x}
        phi = session(out).run([f"{case.name}_shap"], feeds)[0]
    return phi.reshape(-1)[game.players].astype(np.float64)


def truth_of(name, games, orders, cache):
    """The truth takes long, and is kept in a folder where one is given."""
    path = Path(cache) / f"{name.replace(' ', '_')}.npz" if cache else None
    if path and path.exists():
        kept = np.load(path)
        return [(kept[f"phi{i}"], float(kept[f"error{i}"])) for i in range(len(games))]
    found = [game.shapley(orders) for game in games]
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **{f"phi{i}": phi for i, (phi, _) in enumerate(found)},
                 **{f"error{i}": error for i, (_, error) in enumerate(found)})
    return found


def picture(path, command, name, columns, cache):
    """Draws the pairs with the largest distance first: the sample, the truth, and what the columns say."""
    from matplotlib import colors, figure
    model, given, groups, pairs, orders = KINDS[name]
    case = Case(model, given, groups)
    games = [Game(case, *pair) for pair in case.pairs(pairs)]
    exact = truth_of(name, games, orders, cache)
    found = [[ours(command, g, column.split()) for column in columns] for g in games]
    far = [np.linalg.norm(each[0] - phi) / np.linalg.norm(phi) for each, (phi, _) in zip(found, exact)]
    shown = np.argsort(far)[::-1][:4]
    titles = ["sample", "reference", "Shapley values", *(c or "order 1" for c in columns)]
    drawn = figure.Figure(figsize=(1.5 * len(titles), 1.75 * len(shown)))
    map_ = colors.LinearSegmentedColormap.from_list("", ["#1f66ad", "#ffffff", "#c8401c"])
    for row, at in enumerate(shown):
        game, (phi, _) = games[at], exact[at]
        full = [np.zeros(case.labels().size) for _ in range(1 + len(columns))]
        for values, to in zip([phi, *found[at]], full):
            to[game.players] = values
        most = np.abs(np.concatenate(full)).max()
        side = case.labels().shape[-2:]
        images = [(game.x[0, 0], "gray_r", None), (game.r[0, 0], "gray_r", None),
                  *((v.reshape(side), map_, most) for v in full)]
        for column, (values, colours, limit) in enumerate(images):
            axes = drawn.add_subplot(len(shown), len(titles), row * len(titles) + column + 1)
            axes.imshow(values, cmap=colours, vmin=None if limit is None else -limit, vmax=limit)
            axes.set(xticks=[], yticks=[])
            if row == 0:
                axes.set_title(titles[column].replace("--", ""), fontsize=9)
            if column > 2:
                away = np.linalg.norm(full[column - 2] - full[0]) / np.linalg.norm(full[0])
                axes.set_xlabel(f"{away:.2f} away", fontsize=8)
    drawn.tight_layout(pad=0.4, h_pad=0.9)
    drawn.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("kinds", nargs="*", default=[*KINDS],
                        help=f"of {', '.join(KINDS)} (default: all)")
    parser.add_argument("--command", default=ROOT / "build" / "onnxexplainer")
    parser.add_argument("--option", metavar="OPTIONS", action="append", default=[],
                        help='a column with options of explain, such as --option="--splits=1"; '
                             "repeat for more")
    parser.add_argument("--permutations", type=int, nargs="*", default=[], metavar="P",
                        help="columns of so many pairs of orders")
    parser.add_argument("--cache", metavar="FOLDER", help="where Shapley values are kept")
    parser.add_argument("--picture", metavar="FILE",
                        help="draw values of the first kind, of single pixels, beside Shapley values")
    arguments = parser.parse_args()
    if arguments.picture:
        picture(arguments.picture, arguments.command, arguments.kinds[0], ["", *arguments.option],
                arguments.cache)
        return

    columns = ["", *arguments.option]
    names = ["rules", *arguments.option, *(f"{p} pairs of orders" for p in arguments.permutations)]
    print("| model | pairs, players | error of the truth |", *(f" {n} |" for n in names), sep="")
    print("| --- |", *(" --- |" for _ in range(2 + len(names))), sep="")
    for name in arguments.kinds:
        model, given, groups, pairs, orders = KINDS[name]
        case = Case(model, given, groups)
        games = [Game(case, *pair) for pair in case.pairs(pairs)]
        exact = truth_of(name, games, orders, arguments.cache)
        rows = []
        for column in columns:
            rows.append([exact_nets.agreement(ours(arguments.command, g, column.split()), phi)
                         for g, (phi, _) in zip(games, exact)])
        for p in arguments.permutations:
            rows.append([exact_nets.agreement(g.draws(p, seed=1).mean(axis=0), phi)
                         for g, (phi, _) in zip(games, exact)])
        middle = [np.median(r, axis=0) for r in rows]
        cells = [f" {m[0]:.3f} / {m[1]:.3f} / {max(v[2] for v in r):.1f} |"
                 for m, r in zip(middle, rows)]
        players = int(np.median([g.count for g in games]))
        error = np.median([e for _, e in exact])
        print(f"| {name} | {len(games)}, {players} | {error:.3f} |", *cells, sep="", flush=True)


if __name__ == "__main__":
    main()
