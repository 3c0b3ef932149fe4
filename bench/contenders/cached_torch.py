"""The optimised row on PyTorch: cached.py on channels-last tensors, without autograd; the same
under torch.compile."""
import math
import sys

import torch
from torch.nn import functional as F

from contenders import data
from contenders.cached import Walk

TINY = 1e-30
sigmoid, tanh, silu, gelu, relu = torch.sigmoid, torch.tanh, F.silu, F.gelu, torch.relu
abs, exp, expm1, matmul, stack, zeros_like = (  # pylint: disable=redefined-builtin
    torch.abs, torch.exp, torch.expm1, torch.matmul, torch.stack, torch.zeros_like)
concat = torch.cat


def where(condition, a, b):
    return torch.where(condition, a, b)


def maximum(a, b):
    return torch.maximum(a, b) if isinstance(b, torch.Tensor) else a.clamp(min=b)


def sigmoid_slope(x):
    y = torch.sigmoid(x)
    return y * (1 - y)


def tanh_slope(x):
    return 1 - torch.tanh(x) ** 2


def silu_slope(x):
    y = torch.sigmoid(x)
    return y * (1 + x * (1 - y))


def gelu_slope(x):
    return 0.5 * (1 + torch.erf(x * 0.5 ** 0.5)) + x * torch.exp(-0.5 * x * x) * 0.3989422804


def relu_flow(m, x, r):
    high = torch.maximum(r, x.clamp(min=0))
    low = torch.minimum(r, x.clamp(max=-TINY))
    return torch.sub(high, low, out=low).reciprocal_().mul_(high).mul_(m) \
        if m.shape == high.shape and not torch.compiler.is_compiling() else m * high / (high - low)


def prepare(node):
    """Constants as tensors, weights in the layout that convolutions run in."""
    node.w = {i: torch.from_numpy(array.copy()) for i, array in node.arrays.items()
              if array.dtype.kind == "f"}
    if node.op == "BatchNormalization":
        scale, shift, mean, variance = (node.w[i] for i in range(1, 5))
        node.scale = (scale / (variance + node.attributes.get("epsilon", 1e-5)) ** 0.5)
        node.shift = (shift - mean * node.scale)[:, None, None]
        node.scale = node.scale[:, None, None]
    if node.op == "Conv":
        node.w[1] = node.w[1].contiguous(memory_format=torch.channels_last)


def settings(n):
    attributes = n.attributes
    pads = attributes.get("pads", [0, 0, 0, 0])
    return attributes.get("strides", [1, 1]), pads[:2], attributes.get("group", 1)


def conv(x, n):
    strides, pads, groups = settings(n)
    return F.conv2d(x, n.w[1], n.w.get(2), strides, pads, 1, groups)


def conv_adjoint(m, n, x):
    strides, pads, groups = settings(n)
    kernel = n.w[1].shape[2:]
    rest = [x.shape[2 + i] - ((m.shape[2 + i] - 1) * strides[i] - 2 * pads[i] + kernel[i])
            for i in (0, 1)]
    return F.conv_transpose2d(m, n.w[1], None, strides, pads, rest, groups)


def gemm(x, n):
    w = n.w[1] if n.attributes.get("transB") else n.w[1].T
    return F.linear(x, w, n.w.get(2))


def maxpool(x, n):
    strides, pads, _ = settings(n)
    y, index = F.max_pool2d(x, n.attributes["kernel_shape"], strides, pads, return_indices=True)
    return y, (y, index)


def maxpool_flow(m, n, x, r, a, b):
    """One winner per window: that of the sample where its value is higher."""
    strides, pads, _ = settings(n)
    (y, index), (y0, index0) = a, b
    index = torch.where(y > y0, index, index0)
    d = (x - r).flatten(2).gather(2, index.flatten(2)).view_as(index)
    credit = m * torch.where(d == 0, 0, (y - y0) / d)
    return torch.ops.aten.max_pool2d_with_indices_backward(
        credit, r, n.attributes["kernel_shape"], strides, pads, [1, 1], False, index)


def avgpool(x, n):
    return F.avg_pool2d(x, n.attributes["kernel_shape"], *settings(n)[:2])


def avgpool_adjoint(m, n, x):
    like = x.expand(m.shape[0], *x.shape[1:])
    return torch.ops.aten.avg_pool2d_backward(m, like, n.attributes["kernel_shape"],
                                              *settings(n)[:2], False, True, None)


def mean_spatial(x):
    return x.mean((2, 3), keepdim=True)


def spread(m, x):
    return (m * (1 / (x.shape[2] * x.shape[3]))).expand(-1, -1, *x.shape[2:])


def sum(m, axes):  # pylint: disable=redefined-builtin
    return m.sum(axes, keepdim=True)


def mean(x, axis, keep):
    return x.mean(axis, keepdim=bool(keep))


def log_softmax(x):
    return F.log_softmax(x, -1)


def channels(x):
    return x.shape[1]


def split(m, sizes):
    return m.split(sizes, 1)


def swap(x):
    return x.transpose(-1, -2)


def transpose(x, permutation):
    return x.permute(permutation)


def flatten(x):
    return x.flatten(1)


def reshape(x, shape):
    return x.reshape(shape)


def unflatten(m, x):
    return m.reshape(-1, *x.shape[1:])


def unsqueeze(m, axis):
    return m.unsqueeze(axis)


def take(x, axis, index):
    return x.select(axis, index)


def put(m, axis, index, count):
    shape = [*m.shape[:axis], count, *m.shape[axis:]]
    return m.new_zeros(shape).select_scatter(m, axis, index)


def argmax(outputs):
    return outputs.argmax(1)


def one_hot(target, outputs):
    return F.one_hot(target, outputs.shape[1]).to(outputs.dtype)


def average(m):
    return m.mean(0, keepdim=True)


class Cached:
    def __init__(self, job):

        torch.set_num_threads(job["threads"])
        self.sample = layout(torch.as_tensor(data.sample(job)))
        with torch.inference_mode():
            self.walk = Walk(job["model"], sys.modules[__name__],
                             layout(torch.as_tensor(data.references(job))))
        self.notes = {"cache": size(self.walk.kept())}
        self.explain = self.walk.explain
        if job.get("compile"):
            self.explain = torch.compile(self.explain, dynamic=False)

    def run(self):
        with torch.inference_mode():
            self.phi, self.target, self.outputs = self.explain(self.sample)

    def result(self):
        return {"phi": self.phi.contiguous().numpy(), "target": self.target.numpy(),
                "prediction": self.outputs.numpy()}


def layout(x):
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def size(tensors):
    """MiB of tensors, each storage once."""
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return math.fsum(storages.values()) / 2**20
