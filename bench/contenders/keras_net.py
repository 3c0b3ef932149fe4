"""The network in Keras, layer for layer from the plain ONNX file, with its weights. Images have
channels last, as Keras users have them."""
import keras
import numpy as np
from keras import layers, ops

from contenders.graph import Graph


def channels_last(x):
    return np.moveaxis(x, 1, 3) if x.ndim == 4 else x


def channels_first(x):
    return np.moveaxis(x, 3, 1) if x.ndim == 4 else x


def weighted(layer, x, *weights):
    y = layer(x)
    layer.set_weights([w for w in weights if w is not None])
    return y


def padded(x, n):
    """Zeros around; before a MaxPool, too, whose inputs come from a Relu."""
    top, left, bottom, right = n.attributes.get("pads", [0, 0, 0, 0])
    if not (top or left or bottom or right):
        return x
    return layers.ZeroPadding2D(((top, bottom), (left, right)))(x)


def conv(n, x, w):
    filters, bias = w[1], w.get(2)
    settings = {"strides": n.attributes.get("strides", [1, 1]), "use_bias": bias is not None}
    if n.attributes.get("group", 1) > 1:
        return weighted(layers.DepthwiseConv2D(filters.shape[2:], **settings), padded(x[0], n),
                        filters.transpose(2, 3, 0, 1), bias)
    return weighted(layers.Conv2D(len(filters), filters.shape[2:], **settings), padded(x[0], n),
                    filters.transpose(2, 3, 1, 0), bias)


def dense(n, x, w):
    matrix = w[1].T if n.attributes.get("transB") else w[1]
    return weighted(layers.Dense(matrix.shape[1], use_bias=2 in w), x[0], matrix, w.get(2))


def matmul(n, x, w):
    return dense(n, x, w) if 1 in w else ops.matmul(*x)


def batch_norm(n, x, w):
    layer = layers.BatchNormalization(epsilon=n.attributes.get("epsilon", 1e-5))
    return weighted(layer, x[0], w[1], w[2], w[3], w[4])


def layer_norm(n, x, w):
    layer = layers.LayerNormalization(epsilon=n.attributes.get("epsilon", 1e-5))
    return weighted(layer, x[0], w[1], w[2])


def lstm(n, x, w):
    """All states, in the order of ONNX; gates come as i, o, f, c and go as i, f, c, o."""
    def gates(array):
        i, o, f, c = np.split(array, 4)
        return np.concatenate([i, f, c, o])
    one, two = np.split(w[3][0], 2)
    layer = layers.LSTM(w[2].shape[-1], return_sequences=True)
    y = weighted(layer, ops.transpose(x[0], (1, 0, 2)), gates(w[1][0]).T, gates(w[2][0]).T,
                 gates(one + two))
    return ops.expand_dims(ops.transpose(y, (1, 0, 2)), 1)


def flatten(n, x, w):
    """In the order of ONNX, channels first."""
    y = layers.Permute((3, 1, 2))(x[0]) if x[0].shape[1] != 1 else x[0]
    return layers.Flatten()(y)


def pool(kind):
    return lambda n, x, w: kind(n.attributes["kernel_shape"], n.attributes["strides"])(
        padded(x[0], n))


def add(n, x, w):
    return layers.Add()(x) if not w else x[1 - next(iter(w))] + next(iter(w.values()))


def mul(n, x, w):
    return layers.Multiply()(x) if not w else x[1 - next(iter(w))] * next(iter(w.values()))


TABLE = {
    "Add": add, "AveragePool": pool(layers.AveragePooling2D), "BatchNormalization": batch_norm,
    "Concat": lambda n, x, w: layers.Concatenate()(x), "Conv": conv, "Flatten": flatten,
    "Gather": lambda n, x, w: x[0][:, n.ints[1]], "Gemm": dense,
    "Gelu": lambda n, x, w: layers.Activation("gelu")(x[0]),
    "GlobalAveragePool": lambda n, x, w: layers.GlobalAveragePooling2D(keepdims=True)(x[0]),
    "LSTM": lstm, "LayerNormalization": layer_norm, "MatMul": matmul,
    "MaxPool": pool(layers.MaxPooling2D), "Mul": mul,
    "ReduceMean": lambda n, x, w: ops.mean(x[0], n.ints[1][0]),
    "Relu": lambda n, x, w: layers.ReLU()(x[0]),
    "Reshape": lambda n, x, w: layers.Reshape(n.ints[1][1:])(x[0]),
    "Sigmoid": lambda n, x, w: layers.Activation("sigmoid")(x[0]),
    "Silu": lambda n, x, w: layers.Activation("silu")(x[0]),
    "Softmax": lambda n, x, w: layers.Softmax()(x[0]),
    "Squeeze": lambda n, x, w: x[0][:, 0],
    "Transpose": lambda n, x, w: ops.transpose(x[0], n.attributes["perm"]),
}


def build(path):
    graph = Graph(path)
    x = keras.Input(graph.shape[2:] + graph.shape[1:2] if len(graph.shape) == 4
                    else graph.shape[1:])
    values = {graph.input: x}
    for n in graph.nodes:
        weights = {i: array for i, array in n.arrays.items() if array.dtype.kind == "f"}
        values[n.output] = TABLE[n.op](n, [values.get(name) for name in n.inputs], weights)
    return keras.Model(x, values[graph.output])
