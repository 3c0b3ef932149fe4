"""The optimised row on TensorFlow: cached.py in one tf.function, images with channels last."""
import sys

import numpy as np
import tensorflow as tf

from contenders import data
from contenders.cached import Walk

TINY = 1e-30
sigmoid, tanh, relu, silu = tf.sigmoid, tf.tanh, tf.nn.relu, tf.nn.silu
abs, exp, expm1, maximum, matmul = (  # pylint: disable=redefined-builtin
    tf.abs, tf.exp, tf.math.expm1, tf.maximum, tf.matmul)
where, stack, zeros_like, transpose, reshape = (
    tf.where, tf.stack, tf.zeros_like, tf.transpose, tf.reshape)


def gelu(x):
    return tf.nn.gelu(x)


def sigmoid_slope(x):
    y = tf.sigmoid(x)
    return y * (1 - y)


def tanh_slope(x):
    return 1 - tf.tanh(x) ** 2


def silu_slope(x):
    y = tf.sigmoid(x)
    return y * (1 + x * (1 - y))


def gelu_slope(x):
    return 0.5 * (1 + tf.math.erf(x * 0.5 ** 0.5)) + x * tf.exp(-0.5 * x * x) * 0.3989422804


def relu_flow(m, x, r):
    high = tf.maximum(r, tf.nn.relu(x))
    return m * high / (high - tf.minimum(r, tf.minimum(x, -TINY)))


def prepare(node):
    """Constants as tensors, filters as [height, width, in, out]."""
    node.w = {i: tf.constant(array) for i, array in node.arrays.items() if array.dtype.kind == "f"}
    if node.op == "BatchNormalization":
        scale, shift, average, variance = (node.arrays[i] for i in range(1, 5))
        factor = scale / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
        node.scale, node.shift = tf.constant(factor), tf.constant(shift - average * factor)
    if node.op == "Conv":
        node.depthwise = node.attributes.get("group", 1) > 1
        order = (2, 3, 0, 1) if node.depthwise else (2, 3, 1, 0)
        node.w[1] = tf.constant(node.arrays[1].transpose(order).copy())


def strides_of(n):
    return [1, *n.attributes.get("strides", [1, 1]), 1]


def padding_of(n):
    """[[0, 0], [top, bottom], [left, right], [0, 0]]."""
    top, left, bottom, right = n.attributes.get("pads", [0, 0, 0, 0])
    return [[0, 0], [top, bottom], [left, right], [0, 0]]


def conv(x, n):
    if n.depthwise:  # which aborts at explicit paddings
        y = tf.nn.depthwise_conv2d(tf.pad(x, padding_of(n)), n.w[1], strides_of(n), "VALID")
    else:
        y = tf.nn.conv2d(x, n.w[1], strides_of(n), padding_of(n))
    return y + n.w[2] if 2 in n.w else y


def conv_adjoint(m, n, x):
    height, width, channels = x.shape[1:]
    _, (top, bottom), (left, right), _ = padding_of(n)
    if n.depthwise:
        padded = [m.shape[0], height + top + bottom, width + left + right, channels]
        y = tf.nn.depthwise_conv2d_backprop_input(padded, n.w[1], m, strides_of(n), "VALID")
        return y[:, top:top + height, left:left + width]
    return tf.raw_ops.Conv2DBackpropInput(
        input_sizes=[m.shape[0], height, width, channels], filter=n.w[1], out_backprop=m,
        strides=strides_of(n), padding="EXPLICIT",
        explicit_paddings=np.ravel(padding_of(n)).tolist())


def gemm(x, n):
    return tf.matmul(x, n.w[1], transpose_b=bool(n.attributes.get("transB"))) + n.w[2]


def pooling_of(n):
    return {"ksize": [1, *n.attributes["kernel_shape"], 1], "strides": strides_of(n),
            "padding": "VALID"}


def maxpool(x, n):
    padded = tf.pad(x, padding_of(n), constant_values=-np.inf)
    y = tf.nn.max_pool2d(padded, **pooling_of(n))
    return y, (padded, y)


def maxpool_flow(m, n, x, r, a, b):
    """The winner of the sample where its value is higher, else the reference's; windows add up."""
    (padded, y), (padded0, y0) = a, b
    padded = tf.broadcast_to(padded, padded0.shape)
    y = tf.broadcast_to(y, y0.shape)
    higher = m * tf.nn.relu(y - y0)
    sent = (tf.raw_ops.MaxPoolGrad(orig_input=padded, orig_output=y, grad=higher, **pooling_of(n)) +
            tf.raw_ops.MaxPoolGrad(orig_input=padded0, orig_output=y0, grad=m * (y - y0) - higher,
                                   **pooling_of(n)))
    _, (top, _), (left, _), _ = padding_of(n)
    sent = sent[:, top:top + x.shape[1], left:left + x.shape[2]]
    return tf.math.divide_no_nan(sent, x - r)


def avgpool(x, n):
    return tf.nn.avg_pool2d(x, **pooling_of(n))


def avgpool_adjoint(m, n, x):
    return tf.raw_ops.AvgPoolGrad(orig_input_shape=[m.shape[0], *x.shape[1:]], grad=m,
                                  **pooling_of(n))


def mean_spatial(x):
    return tf.reduce_mean(x, (1, 2), keepdims=True)


def spread(m, x):
    return tf.broadcast_to(m * (1 / (x.shape[1] * x.shape[2])), [m.shape[0], *x.shape[1:]])


def sum(m, axes):  # pylint: disable=redefined-builtin
    return tf.reduce_sum(m, axes, keepdims=True)


def mean(x, axis, keep):
    return tf.reduce_mean(x, axis, keepdims=bool(keep))


def log_softmax(x):
    return tf.nn.log_softmax(x)


def concat(parts, axis):
    return tf.concat(parts, 3 if len(parts[0].shape) == 4 else axis)


def channels(x):
    return x.shape[-1]


def split(m, sizes):
    return tf.split(m, sizes, -1)


def swap(x):
    return tf.linalg.matrix_transpose(x)


def flatten(x):
    """In the order of ONNX, channels first."""
    return tf.reshape(tf.transpose(x, (0, 3, 1, 2)), [x.shape[0], -1])


def unflatten(m, x):
    if len(m.shape) == 2 and len(x.shape) == 4:
        height, width, count = x.shape[1:]
        return tf.transpose(tf.reshape(m, [-1, count, height, width]), (0, 2, 3, 1))
    return tf.reshape(m, [-1, *x.shape[1:]])


def unsqueeze(m, axis):
    return tf.expand_dims(m, axis)


def take(x, axis, index):
    return tf.gather(x, index % x.shape[axis], axis=axis)


def put(m, axis, index, count):
    before = [[0, 0]] * axis + [[index, count - 1 - index]]
    return tf.pad(tf.expand_dims(m, axis), before + [[0, 0]] * (len(m.shape) - axis))


def argmax(outputs):
    return tf.argmax(outputs, 1)


def one_hot(target, outputs):
    return tf.one_hot(target, outputs.shape[1])


def average(m):
    return tf.reduce_mean(m, 0, keepdims=True)


def channels_last(x):
    return np.moveaxis(x, 1, 3) if x.ndim == 4 else x


class Cached:
    def __init__(self, job):
        tf.config.threading.set_intra_op_parallelism_threads(job["threads"])
        tf.config.threading.set_inter_op_parallelism_threads(1)
        walk = Walk(job["model"], sys.modules[__name__],
                    tf.constant(channels_last(data.references(job))))
        self.sample = tf.constant(channels_last(data.sample(job)))
        self.explain = tf.function(walk.explain, jit_compile=job.get("xla", False))
        kept = {id(value): value for value in walk.kept()}
        count = np.sum([value.shape.num_elements() for value in kept.values()])
        self.notes = {"cache": 4 * float(count) / 2**20}

    def run(self):
        phi, self.target, self.outputs = self.explain(self.sample)
        self.phi = phi.numpy()

    def result(self):
        phi = np.moveaxis(self.phi, 3, 1) if self.phi.ndim == 4 else self.phi
        return {"phi": phi, "target": self.target.numpy(), "prediction": self.outputs.numpy()}
