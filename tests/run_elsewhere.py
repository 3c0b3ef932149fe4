"""Runs models with another runtime: python run_elsewhere.py RUNTIME MODEL IN.npz OUT.npz.., three files for
each model, with the packages of build/runtimes in PYTHONPATH. A process of its own, as runtimes share
a thread pool or a C++ library with nobody."""

import sys

import numpy as np


def openvino(path, feed):
    import openvino

    core = openvino.Core()
    model = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return {name: value for port, value in model(feed).items() for name in port.get_names()}


def onnxruntime(path, feed):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feed)))


def tract(path, feed, free=False):
    """free: the symbol of the batch stays in the shapes of inputs."""
    import onnx
    import tract

    graph = onnx.load(path).graph
    model = tract.onnx().load(path)
    names = [i.name for i in graph.input]
    for i, name in enumerate([] if free else names):
        kind = {"float32": "f32", "int64": "i64"}[feed[name].dtype.name]
        model.set_input_fact(i, ",".join(map(str, feed[name].shape)) + "," + kind)
    results = model.into_model().into_runnable().run([feed[name] for name in names])
    return {o.name: r.to_numpy() for o, r in zip(graph.output, results)}


def tract_free(path, feed):
    return tract(path, feed, free=True)


if __name__ == "__main__":
    runtime, *files = sys.argv[1:]
    for path, given, out in zip(files[::3], files[1::3], files[2::3]):
        np.savez(out, **globals()[runtime](path, dict(np.load(given))))
