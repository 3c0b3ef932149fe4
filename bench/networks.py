#!/usr/bin/env python3
"""The benchmark networks: VGG19, ResNet50, DenseNet201 and EfficientNetB0 as ONNX files.

They have torchvision's layers, and its number of parameters, which is checked. Weights are
random (seeded) and calibrated on photographs in one forward pass: BatchNormalization gets
the statistics of its input, layers without one are shifted to mean 0 per channel and scaled
to deviation 1, and logits to deviation 3. So activations are of the size that they have in a
trained network, and differ from image to image.

The batch dimension is symbolic, input "input", output "logits" ("probabilities" with
--softmax). BatchNormalization is exported as torch.onnx.export does by default: folded into
the convolution before it where there is one; those of DenseNet that come before a
convolution stay nodes.
"""
import argparse
import inspect
from pathlib import Path

import numpy as np
import torch
from torch import nn

import images

CLASSES = 1000
LOGIT_DEVIATION = 3
PARAMETERS = {"vgg19": 143667240, "resnet50": 25557032,
              "densenet201": 20013928, "efficientnetb0": 5288548}


def norm_after(channels_in, channels, kernel, stride=1, groups=1, act=nn.ReLU):
    """Conv, BatchNormalization and, unless act is None, an activation of its own."""
    layers = [nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, groups=groups,
                        bias=False), nn.BatchNorm2d(channels)]
    return nn.Sequential(*layers, *([act()] if act else []))


def norm_before(channels_in, channels, kernel):
    """BatchNormalization, Relu, Conv."""
    return nn.Sequential(nn.BatchNorm2d(channels_in), nn.ReLU(),
                         nn.Conv2d(channels_in, channels, kernel, 1, kernel // 2, bias=False))


def head(channels):
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES)]


def vgg19():
    layers, before = [], 3
    for channels, depth in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(depth):
            layers += [nn.Conv2d(before, channels, 3, 1, 1), nn.ReLU()]
            before = channels
        layers += [nn.MaxPool2d(2, 2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(7), nn.Flatten(),
                         nn.Linear(512 * 49, 4096), nn.ReLU(), nn.Dropout(),
                         nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(),
                         nn.Linear(4096, CLASSES))


class Bottleneck(nn.Module):
    def __init__(self, before, width, stride):
        super().__init__()
        self.branch = nn.Sequential(norm_after(before, width, 1),
                                    norm_after(width, width, 3, stride),
                                    norm_after(width, width * 4, 1, act=None))
        same = stride == 1 and before == width * 4
        self.skip = nn.Identity() if same else norm_after(before, width * 4, 1, stride, act=None)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.branch(x) + self.skip(x))


def resnet50():
    layers, before = [norm_after(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)], 64
    for width, depth, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(depth):
            layers.append(Bottleneck(before, width, stride if i == 0 else 1))
            before = width * 4
    return nn.Sequential(*layers, *head(before))


class Dense(nn.Module):
    """Appends 32 channels to its input."""

    def __init__(self, before):
        super().__init__()
        self.layers = nn.Sequential(norm_before(before, 128, 1), norm_before(128, 32, 3))

    def forward(self, x):
        return torch.cat([x, self.layers(x)], 1)


def densenet201():
    layers, channels = [norm_after(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)], 64
    for depth in (6, 12, 48, 32):
        for _ in range(depth):
            layers.append(Dense(channels))
            channels += 32
        if depth != 32:
            layers += [norm_before(channels, channels // 2, 1), nn.AvgPool2d(2, 2)]
            channels //= 2
    return nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU(), *head(channels))


class Gate(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels, squeezed):
        super().__init__()
        self.layers = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, squeezed, 1),
                                    nn.SiLU(), nn.Conv2d(squeezed, channels, 1), nn.Sigmoid())

    def forward(self, x):
        return x * self.layers(x)


class MBConv(nn.Module):
    def __init__(self, before, channels, kernel, stride, expansion):
        super().__init__()
        wide = before * expansion
        expand = [norm_after(before, wide, 1, act=nn.SiLU)] if expansion > 1 else []
        self.layers = nn.Sequential(*expand,
                                    norm_after(wide, wide, kernel, stride, wide, nn.SiLU),
                                    Gate(wide, before // 4),
                                    norm_after(wide, channels, 1, act=None))
        self.residual = stride == 1 and before == channels

    def forward(self, x):
        y = self.layers(x)
        return x + y if self.residual else y


def efficientnetb0():
    layers, before = [norm_after(3, 32, 3, 2, act=nn.SiLU)], 32
    for expansion, kernel, stride, channels, depth in (
            (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3),
            (6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1)):
        for i in range(depth):
            layers.append(MBConv(before, channels, kernel, stride if i == 0 else 1, expansion))
            before = channels
    pool, flatten, linear = head(1280)
    return nn.Sequential(*layers, norm_after(before, 1280, 1, act=nn.SiLU),
                         pool, flatten, nn.Dropout(0.2), linear)


NETWORKS = {"vgg19": vgg19, "resnet50": resnet50,
            "densenet201": densenet201, "efficientnetb0": efficientnetb0}


def standardise(layer, _, y):
    """Forward hook: shifts the layer to mean 0 per channel, and scales it to deviation 1."""
    mean = y.mean([axis for axis in range(y.dim()) if axis != 1], keepdim=True)
    scale = 1 / (y - mean).std()
    layer.bias.copy_((layer.bias - mean.flatten()) * scale)
    layer.weight.mul_(scale)
    return (y - mean) * scale


@torch.no_grad()
def calibrate(net, photographs):
    """Sets weights and statistics from one forward pass, front to back."""
    hooks = []
    for layer in net.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
                hooks.append(layer.register_forward_hook(standardise))
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.7, 1.3)
            nn.init.normal_(layer.bias, 0, 0.2)
            layer.momentum = 1.0
            layer.train()
    net(photographs)
    for hook in hooks:
        hook.remove()
    last = [layer for layer in net.modules() if isinstance(layer, nn.Linear)][-1]
    last.weight.mul_(LOGIT_DEVIATION)
    last.bias.mul_(LOGIT_DEVIATION)
    return net.eval()


def build(name, photographs, seed=0):
    """The named network in evaluation mode, ready to use; photographs is [N,3,224,224]."""
    torch.manual_seed(seed)
    net = NETWORKS[name]().eval()
    count = sum(parameter.numel() for parameter in net.parameters())
    assert count == PARAMETERS[name], f"{name} has {count} parameters, not {PARAMETERS[name]}"
    return calibrate(net, torch.as_tensor(photographs))


def export(net, path, output, dynamo=False):
    """Writes net as one ONNX file. Without dynamo, torch's older exporter is used where this
    torch still has it: its files need no onnxscript."""
    example = torch.zeros(2, 3, images.SIZE, images.SIZE)
    names = {"input_names": ["input"], "output_names": [output]}
    if dynamo or "dynamo" not in inspect.signature(torch.onnx.export).parameters:
        batch = torch.export.Dim("batch")
        torch.onnx.export(net, (example,), path, **names, dynamo=True, verbose=False,
                          external_data=False, dynamic_shapes=({0: batch},))
    else:
        axes = {"input": {0: "batch"}, output: {0: "batch"}}
        torch.onnx.export(net, (example,), path, **names, dynamo=False, dynamic_axes=axes,
                          opset_version=17)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("build/bench"),
                        help="where NAME.onnx goes (default: %(default)s)")
    parser.add_argument("--only", choices=NETWORKS, action="append", help="may be repeated")
    parser.add_argument("--softmax", action="store_true",
                        help="end in a Softmax, and write NAME_softmax.onnx")
    parser.add_argument("--dynamo", action="store_true", help="use torch's newer exporter")
    parser.add_argument("--images", type=Path, default=images.PHOTOGRAPHS,
                        help="folder of PNG files to calibrate on")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    references, sample = images.load(20, options.images)
    photographs = np.concatenate([references, sample])
    for name in options.only or NETWORKS:
        net = build(name, photographs, options.seed)
        with torch.no_grad():
            logits = net(torch.as_tensor(sample))
        if options.softmax:
            net = nn.Sequential(net, nn.Softmax(1))
        path = options.folder / f"{name}{'_softmax' if options.softmax else ''}.onnx"
        export(net, path, "probabilities" if options.softmax else "logits", options.dynamo)
        print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB, logits of the sample "
              f"{logits.min():.2f} to {logits.max():.2f}", flush=True)


if __name__ == "__main__":
    main()
