"""A runtime of MLServer, which serves explained models over the KServe v2 protocol (REST and gRPC),
with batching, health and Prometheus metrics.

    onnxexplainer.mlserver.write_settings("serve/", "explained.onnx", name="scorer", workers=2)

and then `mlserver start serve/`. MLServer 1.7 wants uvloop below 0.22.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._abi import ox_type
from ._errors import ArgumentError, Error, OnnxRuntimeError
from ._model import Source
from ._rows import needs
from ._serving import DATATYPES, check_name, copy_model, served, sizes
from ._session import Session

__all__ = ["Runtime", "write_settings"]


def write_settings(folder: str | os.PathLike[str], model: Source, *, name: str = "explained",
                   workers: int = 1, threads: int = 1, max_batch_size: int = 32,
                   max_batch_time: float = 0.002, max_queue: int = 64,
                   outputs: Sequence[str] = (), host: str = "127.0.0.1", http_port: int = 8080,
                   grpc_port: int = 8081, metrics_port: int = 8082) -> pathlib.Path:
    """Writes FOLDER/settings.json and FOLDER/NAME/ with the model and its settings; returns the
    latter. Further calls add models.

    workers:        processes, each with one session of `threads` threads
    max_batch_size: requests that run together, where samples are independent and the batch is free
    max_batch_time: seconds that a request may wait for others
    max_queue:      samples that may wait in a worker; what comes then is answered by 503
    outputs:        of the model, those that are served; (): all. Only what they need is computed: the
                    predictions alone are a model of their own
    """
    check_name(name)
    found = served(model)
    together = found.batched and not found.one
    known = {info.name: info for info in found.outputs}
    for output in outputs:
        if output not in known:
            raise ArgumentError(f"outputs: the model has no output \"{output}\"")

    def tensors(infos: Any) -> list[dict[str, Any]]:
        return [{"name": info.name, "datatype": DATATYPES[ox_type(info.type)], "shape": sizes(info)}
                for info in infos]

    home = pathlib.Path(folder) / name
    home.mkdir(parents=True, exist_ok=True)
    copy_model(model, home / "model.onnx")
    (home / "model-settings.json").write_text(json.dumps({
        "name": name, "implementation": "onnxexplainer.mlserver.Runtime",
        "max_batch_size": max_batch_size if together else 0,
        "max_batch_time": max_batch_time if together else 0,
        "inputs": tensors(found.inputs),
        "outputs": tensors([known[output] for output in outputs or known]),
        "parameters": {"uri": "./model.onnx", "version": "1", "extra": {
            "threads": threads, "max_queue": max_queue, "outputs": list(outputs)}},
    }, indent=1))
    (pathlib.Path(folder) / "settings.json").write_text(json.dumps({
        "parallel_workers": workers, "host": host, "http_port": http_port, "grpc_port": grpc_port,
        "metrics_port": metrics_port, "debug": False}, indent=1))
    return home


def _runtime() -> Any:
    """The class, which is made where MLServer is there: it derives from one of its."""
    server = needs("mlserver", "serve")
    codecs = needs("mlserver.codecs", "serve")
    types = needs("mlserver.types", "serve")
    errors = needs("mlserver.errors", "serve")
    utils = needs("mlserver.utils", "serve")

    class Runtime(server.MLModel): # type: ignore[misc, name-defined]
        """An explained, or plain, model. The session is opened once in each worker."""

        async def load(self) -> bool:
            """Opens the session."""
            extra = (self.settings.parameters.extra or {}) if self.settings.parameters else {}
            path = await utils.get_model_uri(self.settings)
            self._session = Session(path, threads=int(extra.get("threads", 1)))
            self._known = {info.name: info for info in self._session.inputs}
            self._names = list(extra.get("outputs") or
                               [info.name for info in self._session.outputs])
            self._most, self._waiting = int(extra.get("max_queue", 64)), 0
            self._turn = concurrent.futures.ThreadPoolExecutor(1)
            return True

        async def predict(self, payload: Any) -> Any:
            """Answers a request, or several that were put together."""
            rows = max((item.shape[0] for item in payload.inputs if item.shape), default=1)
            if self._waiting and self._waiting + rows > self._most:
                raise errors.MLServerError(f"overloaded: {self._waiting} samples wait, at most "
                                           f"{self._most} may: try again later", 503)
            self._waiting += rows
            try:
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._turn, self._answer, payload)
            finally:
                self._waiting -= rows

        def _answer(self, payload: Any) -> Any:
            wanted = [output.name for output in payload.outputs or ()] or self._names
            for name in wanted:
                if name not in self._names:
                    raise errors.MLServerError(f"output \"{name}\": the model has none of this "
                                               "name", 400)
            try:
                arrays = {item.name: self._array(item) for item in payload.inputs}
                found = self._session.run(arrays, wanted, check=False)
            except (ArgumentError, OnnxRuntimeError) as error: # what does not fit the model
                raise errors.MLServerError(str(error), 400) from error
            except Error as error:
                raise errors.MLServerError(str(error), 500) from error
            return types.InferenceResponse(
                id=payload.id, model_name=self.name, model_version=self.version,
                outputs=[self._output(name, found[name]) for name in wanted])

        def _array(self, item: Any) -> Any:
            if item.name in self._known and DATATYPES[ox_type(self._known[item.name].type)] == "BYTES":
                return np.array(codecs.StringCodec.decode_input(item)).reshape(item.shape)
            return codecs.NumpyCodec.decode_input(item)

        def _output(self, name: str, array: Any) -> Any:
            codec = codecs.StringCodec if array.dtype.kind == "U" else codecs.NumpyCodec
            output = codec.encode_output(name, array)
            output.shape = list(array.shape) # MLServer makes a column of what has one axis
            return output

    Runtime.__module__, Runtime.__qualname__ = __name__, "Runtime"
    return Runtime


def __getattr__(name: str) -> Any:
    if name == "Runtime":
        globals()[name] = _runtime()
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
