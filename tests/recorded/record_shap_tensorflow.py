#!/usr/bin/env python3
"""Records SHAP values of shap.DeepExplainer on small TensorFlow networks: see record_shap.py.

    python record_shap_tensorflow.py [FOLDER]   made with tensorflow-cpu 2.21.0, keras 3.15.1,
                                                shap 0.51.0, tf2onnx 1.17.0

SHAP on TensorFlow is right where pooling windows overlap, which it is not on PyTorch. The
networks are NHWC, and come out of the converter with Transpose nodes. They run in float32, so
the recorded values are good to about 1e-6.
"""
import argparse
import os
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np  # noqa: E402
import shap  # noqa: E402
import tensorflow as tf  # noqa: E402
import tf2onnx  # noqa: E402
from tensorflow.keras import Input, Model, layers  # noqa: E402

SAMPLES, REFERENCES = 3, 5


def conv(x, channels, kernel=3, stride=1, act="relu"):
    y = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False)(x)
    y = layers.BatchNormalization()(y)
    return layers.Activation(act)(y) if act else y


def overlapping():
    """Pooling windows of 3 and 2 by steps of 2 and 1, with and without padding."""
    x = Input((14, 14, 2))
    y = layers.Activation("relu")(layers.Conv2D(6, 3)(x))
    y = layers.MaxPooling2D(3, 2, padding="same")(y)
    y = layers.Activation("elu")(layers.Conv2D(8, 3)(y))
    y = layers.MaxPooling2D(2, 1)(y)
    y = layers.Activation("tanh")(layers.Dense(8)(layers.Flatten()(y)))
    return Model(x, layers.Dense(3)(y))


def residual():
    """A small ResNet with its stem: 3x3 pooling by steps of 2."""
    x = Input((16, 16, 1))
    y = layers.MaxPooling2D(3, 2, padding="same")(conv(x, 6, 5))
    y = layers.Activation("relu")(layers.Add()([conv(conv(y, 6), 6, act=None), y]))
    skip = conv(y, 8, 1, 2, None)
    y = layers.Activation("relu")(layers.Add()([conv(conv(y, 8, 3, 2), 8, act=None), skip]))
    return Model(x, layers.Dense(3)(layers.GlobalAveragePooling2D()(y)))


def randomise(net, random):
    for variable in net.weights:
        shape = variable.shape
        if variable.name in ("kernel",):
            value = random.normal(0, 2 / np.sqrt(np.prod(shape[:-1])), shape)
        elif variable.name in ("gamma", "moving_variance"):
            value = random.uniform(0.5, 1.5, shape)
        else:
            value = random.normal(0, 0.3, shape)
        variable.assign(value.astype(np.float32))


def record(folder, name, net, seed):
    random = np.random.default_rng(seed)
    randomise(net, random)
    shape = net.input_shape[1:]
    samples = random.normal(0, 1, (SAMPLES, *shape)).astype(np.float32)
    references = random.normal(0, 1, (REFERENCES, *shape)).astype(np.float32)
    references[:, :, 0] = samples[0, :, 0]  # equal in places, as black borders are

    call = tf.function(lambda x: {"output": net(x, training=False)},
                       input_signature=[tf.TensorSpec([None, *shape], tf.float32, name="x")])
    tf2onnx.convert.from_function(call, call.input_signature, opset=18,
                                  output_path=str(folder / f"{name}.onnx"))
    output, base = net(samples).numpy(), net(references).numpy().mean(0)
    values = shap.DeepExplainer(net, references).shap_values(samples, check_additivity=False)
    values = np.moveaxis(values, -1, 1)
    gap = abs(values.reshape(*output.shape, -1).sum(-1) - (output - base)).max()
    gap /= abs(output - base).max()
    assert gap < 1e-5, f"{name}: SHAP does not add up, {gap}"
    np.savez_compressed(folder / f"{name}.npz", x=samples, x_references=references,
                        x_shap=values, output=output, base_value=base)
    print(f"{name}: f(x) - base {abs(output - base).max():.2f}, gap {gap:.0e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    folder = parser.parse_args().folder
    record(folder, "tensorflow_overlapping", overlapping(), 1)
    record(folder, "tensorflow_residual", residual(), 2)


if __name__ == "__main__":
    main()
