#!/usr/bin/env python3
"""Exports small PyTorch networks whose batch is folded into other axes on the way, as timm and
torch.nn write them, for test_batch_folded.py.

    python record.py [FOLDER]      made with torch 2.13.0, onnx 1.23.2

NAME_dynamo.onnx comes from torch.export, NAME_script.onnx from TorchScript; the batch is free.
Weights come from numbered seeds."""
import sys
import warnings
from pathlib import Path

import onnx
import torch
from torch import nn
from torch.nn import functional


class Attention(nn.Module):
    """q, k and v in one layer, taken apart by a Reshape and a Transpose that puts them in front."""

    def __init__(self, width, heads, fused=True):
        super().__init__()
        self.heads, self.scale, self.fused = heads, (width // heads) ** -0.5, fused
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x, bias=None, mask=None):
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        if self.fused:
            x = functional.scaled_dot_product_attention(q, k, v)
        else:
            logits = (q * self.scale) @ k.transpose(-2, -1)
            logits = logits if bias is None else logits + bias
            if mask is not None:
                logits = logits.view(-1, len(mask), self.heads, tokens, tokens)
                logits = (logits + mask[None, :, None]).view(-1, self.heads, tokens, tokens)
            x = logits.softmax(-1) @ v
        return self.proj(x.transpose(1, 2).reshape(batch, tokens, width))


class Block(nn.Module):
    def __init__(self, width, attention):
        super().__init__()
        self.before, self.attention = nn.LayerNorm(width), attention
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(),
                                 nn.Linear(2 * width, width))


class TokenBlock(Block):
    def forward(self, x):
        x = x + self.attention(self.before(x))
        return x + self.mlp(x)


class ViT(nn.Module):
    """Patches and a class token, expanded to the batch."""

    def __init__(self, width=8):
        super().__init__()
        self.patches = nn.Conv2d(1, width, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.5)
        self.position = nn.Parameter(torch.randn(1, 5, width) * 0.5)
        self.block, self.norm = TokenBlock(width, Attention(width, 2)), nn.LayerNorm(width)
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.head(self.norm(self.block(x))[:, 0])


def windows(x, size):
    batch, height, width, channels = x.shape
    x = x.view(batch, height // size, size, width // size, size, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, size * size, channels)


def put_back(x, size, height, width):
    x = x.view(-1, height // size, width // size, size, size, x.shape[-1])
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, height, width, x.shape[-1])


class WindowBlock(Block):
    """Attention in windows, which are rolled by `shift` and masked at the seam."""

    def __init__(self, width, size, grid, shift):
        super().__init__(width, Attention(width, 2, fused=False))
        self.size, self.shift = size, shift
        self.bias = nn.Parameter(torch.randn(1, 2, size * size, size * size))
        part = torch.zeros(1, grid, grid, 1)
        part[:, -shift:] += 1
        part[:, :, -shift:] += 2
        part = windows(part, size).squeeze(-1)
        mask = (part[:, None] != part[:, :, None]).float() * -100
        self.register_buffer("mask", mask if shift > 0 else None)

    def forward(self, x):
        _, height, width, _ = x.shape
        y = self.before(x)
        y = torch.roll(y, (-self.shift, -self.shift), (1, 2)) if self.shift > 0 else y
        y = self.attention(windows(y, self.size), self.bias, self.mask)
        y = put_back(y, self.size, height, width)
        y = torch.roll(y, (self.shift, self.shift), (1, 2)) if self.shift > 0 else y
        x = x + y
        return x + self.mlp(x)


class Swin(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.patches = nn.Conv2d(1, width, 2, 2)
        self.blocks = nn.Sequential(WindowBlock(width, 2, 4, 0), WindowBlock(width, 2, 4, 1))
        self.merge = nn.Linear(4 * width, width, bias=False)
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        x = self.blocks(self.patches(x).permute(0, 2, 3, 1))
        batch, height, width, channels = x.shape
        x = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
        x = self.merge(x.permute(0, 1, 3, 4, 2, 5).flatten(3))
        return self.head(x.mean((1, 2)))


class Encoder(nn.Module):
    def __init__(self, batch_first, width=8):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(width, 2, 12, batch_first=batch_first)
        self.tokens, self.head = 1 if batch_first else 0, nn.Linear(width, 3)

    def forward(self, x):
        return self.head(self.layer(x).mean(self.tokens))


class MultiHead(nn.Module):
    """nn.MultiheadAttention, tokens first."""

    def __init__(self, width=8):
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(width, 2), nn.Linear(width, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.attention(x, x, x)[0]).sum(0))


class Pooled(nn.Module):
    """The token at which the largest id stands, of each sample."""

    def __init__(self, width=8):
        super().__init__()
        self.table, self.mix = nn.Embedding(20, width), nn.Linear(width, width)
        self.head = nn.Linear(width, 3)

    def forward(self, ids):
        x = torch.tanh(self.mix(self.table(ids))).cumsum(1)
        return self.head(x[torch.arange(ids.shape[0]), ids.argmax(-1)])


NETS = {
    "vit": (ViT, torch.zeros(2, 1, 8, 8), 0),
    "swin": (Swin, torch.zeros(2, 1, 8, 8), 0),
    "encoder": (lambda: Encoder(True), torch.zeros(2, 4, 8), 0),
    "encoder_tokens_first": (lambda: Encoder(False), torch.zeros(4, 2, 8), 1),
    "attention": (MultiHead, torch.zeros(4, 2, 8), 1),
    "pooled": (Pooled, torch.zeros(2, 5, dtype=torch.int64), 0),
}


def strip(path):
    """Leaves out where each node comes from."""
    model = onnx.load(path)
    for item in (*model.graph.node, *model.graph.value_info, *model.graph.initializer,
                 *model.graph.input, *model.graph.output, model.graph, model):
        del item.metadata_props[:]
        item.ClearField("doc_string")
    del model.graph.value_info[:]
    onnx.save(model, path)


def main(folder):
    for seed, (name, (make, example, axis)) in enumerate(NETS.items()):
        torch.manual_seed(seed)
        net = make().eval()
        names = {"input_names": ["x"], "output_names": ["y"]}
        batch = torch.export.Dim("N", min=1, max=1024)
        torch.onnx.export(net, (example,), folder / f"{name}_dynamo.onnx", dynamo=True,
                          dynamic_shapes=({axis: batch},), external_data=False, verbose=False,
                          **names)
        torch.onnx.export(net, (example,), folder / f"{name}_script.onnx", dynamo=False,
                          dynamic_axes={"x": {axis: "N"}, "y": {0: "N"}}, opset_version=17, **names)
        strip(folder / f"{name}_dynamo.onnx")
        strip(folder / f"{name}_script.onnx")


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
