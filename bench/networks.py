#!/usr/bin/env python3
"""The benchmark networks, for every contender: NAME.onnx, NAME.pt (a state dict), and what they are
explained on, NAME.references.npy and NAME.sample.npy.

VGG19, ResNet50, DenseNet201 and EfficientNetB0 have torchvision's layers, and its number of
parameters, which is checked. Their weights are random (seeded) and calibrated on photographs in one
forward pass: BatchNormalization gets the statistics of its input, layers without one are shifted
to mean 0 per channel and scaled to deviation 1, and logits to deviation 3. So activations are of
the size that they have in a trained network, and differ from image to image. The others have
PyTorch's own random weights, and samples and references are normal random numbers.

The batch dimension is symbolic, input "input", output "logits" ("probabilities" with
--softmax). BatchNormalization is exported as torch.onnx.export does by default: folded into
the convolution before it where there is one; those of DenseNet that come before a
convolution stay nodes.
"""
import argparse
import inspect
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

import images
import networks_image
import networks_other

LOGIT_DEVIATION = 3
PARAMETERS = {"vgg19": 143667240, "resnet50": 25557032,
              "densenet201": 20013928, "efficientnetb0": 5288548}

IMAGE = {"vgg19": networks_image.vgg19, "resnet50": networks_image.resnet50,
         "densenet201": networks_image.densenet201,
         "efficientnetb0": networks_image.efficientnetb0}
NETWORKS = IMAGE | networks_other.NETWORKS
MASKED = ("transformer_masked",)  # takes a mask beside


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
    if name not in IMAGE:
        return net
    count = sum(parameter.numel() for parameter in net.parameters())
    assert count == PARAMETERS[name], f"{name} has {count} parameters, not {PARAMETERS[name]}"
    return calibrate(net, torch.as_tensor(photographs))


def load(name, path):
    """The named network with the weights of a file, which is mapped: it costs no memory twice."""
    with torch.device("meta"):
        net = NETWORKS[name]().eval()
    net.load_state_dict(torch.load(path, mmap=True), assign=True)
    return net


def data(name, count, folder, size=images.SIZE):
    """(references [count, ...], sample [1, ...]) for the named network."""
    if name in IMAGE:
        return images.load(count, folder, size=size)
    values = np.random.default_rng(0).standard_normal(
        (count + 1, *networks_other.SHAPES[name]), np.float32)
    return values[1:], values[:1]


def export(net, path, examples, output, dynamo=False):
    """Writes net as one ONNX file. Without dynamo, torch's older exporter is used where this
    torch still has it: its files need no onnxscript."""
    inputs = ["input", "mask"][:len(examples)]
    names = {"input_names": inputs, "output_names": [output]}
    if dynamo or "dynamo" not in inspect.signature(torch.onnx.export).parameters:
        batch = torch.export.Dim("batch")
        torch.onnx.export(net, examples, path, **names, dynamo=True, verbose=False,
                          external_data=False, dynamic_shapes=tuple({0: batch} for _ in inputs))
    else:
        axes = {name: {0: "batch"} for name in [*inputs, output]}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the older exporter about itself
            torch.onnx.export(net, examples, path, **names, dynamo=False, dynamic_axes=axes,
                              opset_version=20)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("build/bench"),
                        help="where the files go (default: %(default)s)")
    parser.add_argument("--only", choices=NETWORKS, action="append", help="may be repeated")
    parser.add_argument("--count", type=int, default=10, help="references (default: 10)")
    parser.add_argument("--size", type=int, default=images.SIZE,
                        help="edge of the pictures; another than 224 goes into the name")
    parser.add_argument("--softmax", action="store_true",
                        help="end in a Softmax, and write NAME_softmax.onnx")
    parser.add_argument("--dynamo", action="store_true", help="use torch's newer exporter")
    parser.add_argument("--images", type=Path, default=images.PHOTOGRAPHS,
                        help="folder of PNG files to calibrate on")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.only or NETWORKS:
        photographs = np.concatenate(images.load(20, options.images)) if name in IMAGE else None
        net = build(name, photographs, options.seed)
        references, sample = data(name, options.count, options.images, options.size)
        stem = name + (f"_{options.size}" if options.size != images.SIZE else "")
        stem += "_softmax" if options.softmax else ""
        if options.softmax:
            net = nn.Sequential(net, nn.Softmax(1))
        for part, values in (("references", references), ("sample", sample)):
            np.save(options.folder / f"{stem}.{part}.npy", values)
        torch.save(net.state_dict(), options.folder / f"{stem}.pt")
        path = options.folder / f"{stem}.onnx"
        examples = (torch.as_tensor(references[:1]).repeat(2, *[1] * (sample.ndim - 1)),)
        if name in MASKED:
            examples += (torch.ones(2, sample.shape[1]),)
        export(net, path, examples, "probabilities" if options.softmax else "logits", options.dynamo)
        print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB", flush=True)


if __name__ == "__main__":
    main()
