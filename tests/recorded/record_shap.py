#!/usr/bin/env python3
"""Records SHAP values of shap.DeepExplainer on small PyTorch networks, for test_recorded.py.

    python record_shap.py [FOLDER]      made with torch 2.13.0, shap 0.51.0, onnx 1.23.2

The networks hold only what SHAP explains rightly: linear layers, elementwise activations that
it knows, every module used once, pooling windows that do not overlap. That it is right is
checked: the values add up to f(x) - mean f(r) in float64. Weights are float32 values, and
SHAP runs on them in float64, so that what is recorded is exact to about 1e-12.

For each network, NAME.onnx and NAME.npz with, for each input I, the arrays I (samples, [N,
...]), I_references ([R, ...]) and I_shap ([N, K, ...], for all K outputs), and output ([N, K])
and base_value ([K]). Everything comes from numbered seeds.
"""
import argparse
import warnings
from pathlib import Path

import numpy as np
import shap
import torch
from torch import nn
from torch.nn import functional

SAMPLES, REFERENCES = 3, 5


class Residual(nn.Module):
    """y = act(branch(x) + skip(x))."""

    def __init__(self, branch, skip, act):
        super().__init__()
        self.branch, self.skip, self.act = branch, skip, act

    def forward(self, x):
        return self.act(self.branch(x) + self.skip(x))


class Dense(nn.Module):
    """Appends the channels of its layers to its input, as DenseNet does."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return torch.cat([x, self.layers(x)], 1)


class Decoder(nn.Module):
    """Transposed convolution, resizing, padding and slicing."""

    def __init__(self):
        super().__init__()
        self.encode = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.ELU())
        self.decode = nn.Sequential(nn.ConvTranspose2d(4, 3, 3, 2, 1, 1), nn.Softplus())
        self.last = nn.Sequential(nn.Conv2d(3, 2, 3, dilation=2), nn.Tanh())
        self.pool = nn.Sequential(nn.AvgPool2d(4), nn.Flatten())

    def forward(self, x):
        y = self.decode(self.encode(x))
        y = functional.pad(y, (1, 2, 0, 1))
        y = functional.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.pool(self.last(y[:, :, 1:-2, ::2]))


class TwoInputs(nn.Module):
    """A picture and a row of a table."""

    def __init__(self):
        super().__init__()
        self.picture = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                                     nn.Linear(36, 6))
        self.row = nn.Sequential(nn.Linear(5, 6), nn.Sigmoid())
        self.head = nn.Sequential(nn.Linear(18, 8), nn.GELU(), nn.Linear(8, 2))

    def forward(self, picture, row):
        a, b = self.picture(picture), self.row(row)
        return self.head(torch.cat([a, b, a - 2 * b], 1))


def networks():
    """(name, network, shapes of its inputs by name)."""
    yield "mlp", nn.Sequential(
        nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 10),
        nn.Sigmoid(), nn.Linear(10, 3)), {"x": (8,)}
    yield "mlp_smooth", nn.Sequential(
        nn.Linear(6, 16), nn.GELU(), nn.Linear(16, 16), nn.ELU(1.5), nn.BatchNorm1d(16),
        nn.Linear(16, 12), nn.Softplus(), nn.Linear(12, 12), nn.SELU(), nn.Linear(12, 8),
        nn.LeakyReLU(0.1), nn.Linear(8, 1)), {"x": (6,)}
    yield "cnn", nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, 2, groups=4), nn.LeakyReLU(0.2),
        nn.AvgPool2d(2, 1, padding=1), nn.Flatten(), nn.Linear(108, 8), nn.ReLU(),
        nn.Linear(8, 4)), {"x": (2, 12, 12)}
    yield "cnn_1d", nn.Sequential(
        nn.Conv1d(3, 8, 5, padding=4, dilation=2), nn.BatchNorm1d(8), nn.Tanh(),
        nn.MaxPool1d(3), nn.Conv1d(8, 8, 3, groups=8), nn.GELU(), nn.AvgPool1d(2),
        nn.Flatten(), nn.Linear(16, 3)), {"x": (3, 18)}
    yield "residual", nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(),
        Residual(nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
                               nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)),
                 nn.Identity(), nn.ReLU()),
        Residual(nn.Sequential(nn.Conv2d(6, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ELU(),
                               nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)),
                 nn.Sequential(nn.Conv2d(6, 8, 1, 2), nn.BatchNorm2d(8)), nn.Sigmoid()),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)), {"x": (1, 10, 10)}
    yield "dense", nn.Sequential(
        nn.Conv2d(1, 4, 3),
        Dense(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)),
        Dense(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1)),
        nn.AvgPool2d(3, 2, padding=1, ceil_mode=True, count_include_pad=False),
        nn.BatchNorm2d(12), nn.Tanh(), nn.Flatten(), nn.Linear(192, 2)), {"x": (1, 9, 9)}
    yield "decoder", Decoder(), {"x": (1, 8, 8)}
    yield "two_inputs", TwoInputs(), {"picture": (1, 8, 8), "row": (5,)}


def randomise(net):
    """Weights large enough for the activations to bend, statistics that are not 0 and 1."""
    for layer in net.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.3)
            nn.init.normal_(layer.running_mean, 0, 0.3)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
        elif hasattr(layer, "weight"):
            layer.weight.data.mul_(3)


def explain(net, samples, references):
    """SHAP values per input, [N, K, ...] float64."""
    explainer = shap.DeepExplainer(net, references if len(references) > 1 else references[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names modules of ours that only hold others
        values = explainer.shap_values(samples if len(samples) > 1 else samples[0])
    values = values if isinstance(values, list) else [values]
    return [np.moveaxis(value, -1, 1) for value in values]


def record(folder, seed, name, net, shapes):
    torch.manual_seed(seed)
    randomise(net)
    net.eval()
    samples = [torch.randn(SAMPLES, *shape) for shape in shapes.values()]
    references = [torch.randn(REFERENCES, *shape) for shape in shapes.values()]
    # Equal in places, as black borders are.
    references[0][:, ..., 0] = samples[0][0, ..., 0]

    axes = {key: {0: "batch"} for key in (*shapes, "output")}
    torch.onnx.export(
        net, tuple(samples), folder / f"{name}.onnx", dynamo=False, opset_version=20,
        input_names=list(shapes), output_names=["output"], dynamic_axes=axes,
        training=torch.onnx.TrainingMode.PRESERVE)  # keeps BatchNormalization

    net.double()
    samples = [x.double() for x in samples]
    references = [r.double() for r in references]
    with torch.no_grad():
        output, base = net(*samples).numpy(), net(*references).numpy().mean(0)
    values = explain(net, samples, references)
    total = sum(value.reshape(*output.shape, -1).sum(-1) for value in values)
    gap = abs(total - (output - base)).max() / abs(output - base).max()
    assert gap < 1e-10, f"{name}: SHAP does not add up, {gap}"

    arrays = {"output": output, "base_value": base}
    for key, x, r, phi in zip(shapes, samples, references, values):
        arrays |= {key: x.numpy().astype(np.float32),
                   f"{key}_references": r.numpy().astype(np.float32), f"{key}_shap": phi}
    np.savez_compressed(folder / f"{name}.npz", **arrays)
    print(f"{name}: {output.shape[1]} outputs, f(x) - base {abs(output - base).max():.2f}, "
          f"gap {gap:.0e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    folder = parser.parse_args().folder
    torch.manual_seed(0)
    for seed, (name, net, shapes) in enumerate(networks(), 1):
        record(folder, seed, name, net, shapes)


if __name__ == "__main__":
    main()
