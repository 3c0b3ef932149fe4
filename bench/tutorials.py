#!/usr/bin/env python3
"""SHAP's tutorials of DeepExplainer with the import changed: tutorials.py [PICTURE.png]. A CNN of
digits, a model with two inputs, one with two heads: the same calls on both classes, which must give
the same shapes, and values within a relative L2 distance of 1e-5. Writes a picture of both. Needs
onnxexplainer, torch, scikit-learn, matplotlib and shap installed."""

import sys
import warnings

import numpy as np

warnings.filterwarnings("ignore")

import shap  # noqa: E402
import torch  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402

import onnxexplainer  # noqa: E402

LIBRARIES = (shap, onnxexplainer)


class TwoInputs(torch.nn.Module):
    """An image by convolutions and by a dense layer."""

    def __init__(self):
        super().__init__()
        self.conv, self.pool = torch.nn.Conv2d(1, 8, 3), torch.nn.MaxPool2d(2)
        self.first, self.second = torch.nn.Linear(72, 16), torch.nn.Linear(64, 16)
        self.last, self.relu, self.flat = torch.nn.Linear(32, 10), torch.nn.ReLU(), \
            torch.nn.Flatten()
        self.relus = torch.nn.ModuleList(torch.nn.ReLU() for _ in range(2))

    def forward(self, image, other):
        a = self.relus[0](self.first(self.flat(self.pool(self.relu(self.conv(image))))))
        b = self.relus[1](self.second(self.flat(other)))
        return self.last(torch.cat([a, b], dim=1))


def cnn(outputs=10):
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 16, 3), torch.nn.ReLU(),
        torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.ReLU(),
        torch.nn.Linear(32, outputs))


def train(model, inputs, loss, steps=300):
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(steps):
        rows = torch.randint(0, len(inputs[0]), (64,))
        optimiser.zero_grad()
        loss(model(*(x[rows] for x in inputs)), rows).backward()
        optimiser.step()
    return model.eval()


def compare(name, model, data, samples, **options):
    """The same calls on both; prints shapes and distances, and returns all values."""
    found = []
    for library in LIBRARIES:
        explainer = library.DeepExplainer(model, data)
        found.append((explainer.shap_values(samples, **options), explainer.expected_value))
    distance = 0.0
    for mine, other in zip(parts(found[1][0]), parts(found[0][0])):
        assert np.shape(mine) == np.shape(other), (name, np.shape(mine), np.shape(other))
        distance = max(distance, float(np.linalg.norm(mine - other) / np.linalg.norm(other)))
    base = np.abs(found[1][1] - found[0][1]).max()
    shapes = ", ".join(str(np.shape(part)) for part in parts(found[1][0]))
    print(f"{name:34} {shapes:50} values {distance:.1e}, expected value {base:.1e}", flush=True)
    assert distance < 1e-5 and base < 1e-4
    return [values for values, _ in found]


def parts(values):
    return [np.asarray(v) for v in (values if isinstance(values, (list, tuple)) else [values])]


def main():
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32)
    labels = torch.tensor(digits.target)
    entropy = torch.nn.CrossEntropyLoss()

    def classes(result, rows):
        return entropy(result, labels[rows])

    model = train(cnn(), [images], classes)
    background, samples = images[:100], images[1000:1004]
    theirs, ours = compare("digits", model, background, samples)
    # SHAP takes its check of ranked outputs in another order than theirs.
    compare("digits, 2 best outputs", model, background, samples, ranked_outputs=2,
            check_additivity=False)
    compare("digits, inside the network", (model, model[5]), background, samples)

    two = train(TwoInputs(), [images, images], classes)
    compare("two inputs", two, [background, background], [samples, samples])

    targets = torch.stack([labels.float() / 9, images.mean(dim=(1, 2, 3))], dim=1)
    heads = train(cnn(2), [images], lambda y, rows: torch.nn.functional.mse_loss(y, targets[rows]))
    compare("two outputs", heads, background, samples)
    compare("one output", train(cnn(1), [images], lambda y, rows: torch.nn.functional.mse_loss(
        y, targets[rows, :1])), background, samples)
    if len(sys.argv) > 1:
        picture(model, samples, theirs, ours, sys.argv[1])


def picture(model, samples, theirs, ours, path):
    """Two digits, by shap's class and by ours."""
    values, data = np.concatenate([theirs[:2], ours[:2]]), np.concatenate([samples[:2]] * 2)
    base = model(samples[:2]).detach().numpy() - ours[:2].sum(axis=(1, 2, 3))
    titles = [f"{name}, {i}" for name in ("shap", "onnxexplainer") for i in ("a", "b")]
    order = [0, 2, 1, 3]
    onnxexplainer.plots.image(values[order], data=data[order],
                              base_values=np.concatenate([base, base])[order], outputs=4,
                              labels=[f"digit {i}" for i in range(10)],
                              titles=[titles[i] for i in order]).save(path)


main()
