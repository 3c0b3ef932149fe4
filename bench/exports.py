#!/usr/bin/env python3
"""What explained exports of PyTorch take as a multiple of ideal, in the portable graph and with the
kernels: attention as libraries write it, with a free batch.

    PYTHON bench/exports.py [NAME..] [--refs R] [--rounds K] [--threads T] [--exporter dynamo|trace]

PYTHON has torch, onnxscript and onnxruntime (bench/setup makes one). Ideal is one forward of a sample
and one of the R references; contenders take turns, round by round, minima are compared (of processor
time where there is one thread, so that other work disturbs little). Weights are
random; layers and sizes are those of timm's ViT (S: d384) and Swin (T), in fewer blocks, as the multiple
does not grow with them."""

import argparse
import contextlib
import io
import pathlib
import subprocess
import tempfile
import time

import numpy as np
import onnxruntime
import torch
from torch import nn
from torch.nn import functional as F

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Attention(nn.Module):
    """qkv in one layer, permuted, and scaled_dot_product_attention; a bias for windows."""

    def __init__(self, width, heads, window=None):
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.bias = None if window is None else nn.Parameter(torch.randn(1, heads, window, window) / 50)

    def forward(self, x, mask=None):
        rows, length, width = x.shape
        qkv = self.qkv(x).reshape(rows, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.bias
        if mask is not None:
            bias = bias + mask.unsqueeze(1).unsqueeze(0)
            windows = mask.shape[0]
            scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
            scores = scores.view(-1, windows, self.heads, length, length) + bias
            y = scores.view(-1, self.heads, length, length).softmax(-1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.out(y.transpose(1, 2).reshape(rows, length, width))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.a, self.b, self.attention = nn.LayerNorm(width), nn.LayerNorm(width), Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attention(self.a(x))
        return x + self.mlp(self.b(x))


class ViT(nn.Module):
    def __init__(self, width, heads, blocks):
        super().__init__()
        self.patch = nn.Conv2d(3, width, 16, 16)
        self.token = nn.Parameter(torch.randn(1, 1, width) / 50)
        self.place = nn.Parameter(torch.randn(1, 197, width) / 50)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(blocks)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 1000)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.place
        return self.head(self.norm(self.blocks(x))[:, 0])


class WindowBlock(nn.Module):
    def __init__(self, width, heads, size, shift):
        super().__init__()
        self.a, self.b = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.size, self.shift = Attention(width, heads, 49), size, shift
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        mask = None
        if shift:
            zone = torch.zeros(1, size, size, 1)
            parts = [slice(0, -7), slice(-7, -shift), slice(-shift, None)]
            for i, (a, b) in enumerate((a, b) for a in parts for b in parts):
                zone[:, a, b] = i
            zone = self.apart(zone).reshape(-1, 49)
            mask = (zone[:, None] != zone[:, :, None]).float() * -100
        self.register_buffer("mask", mask)

    def apart(self, x):
        rows, high, wide, width = x.shape
        x = x.view(rows, high // 7, 7, wide // 7, 7, width)
        return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, 49, width)

    def forward(self, x):
        size, width = self.size, x.shape[-1]
        y = self.a(x)
        if self.shift:
            y = torch.roll(y, (-self.shift, -self.shift), (1, 2))
        y = self.attention(self.apart(y), self.mask)
        y = y.view(-1, size // 7, size // 7, 7, 7, width).permute(0, 1, 3, 2, 4, 5)
        y = y.reshape(-1, size, size, width)
        if self.shift:
            y = torch.roll(y, (self.shift, self.shift), (1, 2))
        x = x + y
        return x + self.mlp(self.b(x))


class Merge(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.less = nn.LayerNorm(4 * width), nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x):
        rows, high, wide, width = x.shape
        x = x.reshape(rows, high // 2, 2, wide // 2, 2, width).permute(0, 1, 3, 4, 2, 5).flatten(3)
        return self.less(self.norm(x))


class Swin(nn.Module):
    def __init__(self, width=96, stages=(2, 2)):
        super().__init__()
        self.patch, self.first = nn.Conv2d(3, width, 4, 4), nn.LayerNorm(width)
        layers, size, heads = [], 56, width // 32
        for i, blocks in enumerate(stages):
            if i:
                layers.append(Merge(width))
                width, size, heads = 2 * width, size // 2, 2 * heads
            layers += [WindowBlock(width, heads, size, 3 * (k % 2)) for k in range(blocks)]
        self.layers, self.norm, self.head = nn.Sequential(*layers), nn.LayerNorm(width), nn.Linear(width, 1000)

    def forward(self, x):
        x = self.first(self.patch(x).permute(0, 2, 3, 1))
        return self.head(self.norm(self.layers(x)).mean((1, 2)))


class Encoder(nn.Module):
    """nn.TransformerEncoderLayer."""

    def __init__(self, width, heads, blocks):
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, blocks, enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.encoder(x).mean(1))


IMAGE = (3, 224, 224)
MODELS = {"vit_d192": (lambda: ViT(192, 3, 4), IMAGE), "vit_s": (lambda: ViT(384, 6, 4), IMAGE),
          "swin_t": (Swin, IMAGE), "encoder_d128": (lambda: Encoder(128, 4, 4), (64, 128)),
          "encoder_d512": (lambda: Encoder(512, 8, 2), (64, 512))}


def export(model, shape, path, exporter):
    torch.backends.mha.set_fastpath_enabled(False)
    x = torch.randn(2, *shape)
    how = ({"dynamo": True, "dynamic_shapes": ({0: torch.export.Dim("N")},), "external_data": False}
           if exporter == "dynamo" else
           {"dynamo": False, "dynamic_axes": {"x": {0: "N"}, "y": {0: "N"}}, "opset_version": 18})
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        torch.onnx.export(model.eval(), (x,), path, input_names=["x"], output_names=["y"], **how)


def open_session(path, threads, kernels=False):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    if kernels:
        options.register_custom_ops_library(str(ROOT / "build/libonnxexplainer_ops.so"))
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def measure(name, asked, folder):
    made, shape = MODELS[name]
    torch.manual_seed(0)
    model, explained = f"{folder}/{name}.onnx", f"{folder}/{name}_explained.onnx"
    export(made(), shape, model, asked.exporter)
    rng = np.random.default_rng(0)
    x, r = (rng.normal(size=(n, *shape)).astype(np.float32) for n in (1, asked.refs))
    np.save(f"{folder}/r.npy", r)
    done = subprocess.run([ROOT / "build/onnxexplainer", "explain", model, "-r", f"{folder}/r.npy",
                           "--target=0", "-o", explained], capture_output=True, text=True, check=True)
    for line in done.stderr.splitlines():
        print(f"  {line}")
    plain = open_session(model, asked.threads)
    turns = {"ideal": [(plain, x), (plain, r)]}
    for kind in ("portable", "kernels"):
        turns[kind] = [(open_session(explained, asked.threads, kind == "kernels"), x)]
    clock = time.process_time if asked.threads == 1 else time.perf_counter
    best = dict.fromkeys(turns, float("inf"))
    for _ in range(asked.rounds + 1):
        for kind, calls in turns.items():
            start = clock()
            for session, feed in calls:
                session.run(None, {"x": feed})
            best[kind] = min(best[kind], clock() - start)
    print(f"{name:14} ideal {best['ideal'] * 1e3:7.1f} ms, x ideal: portable "
          f"{best['portable'] / best['ideal']:.2f}, kernels {best['kernels'] / best['ideal']:.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(MODELS), metavar="NAME", help=", ".join(MODELS))
    parser.add_argument("--refs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--exporter", choices=["dynamo", "trace"], default="dynamo")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.names:
            measure(name, asked, folder)


if __name__ == "__main__":
    main()
