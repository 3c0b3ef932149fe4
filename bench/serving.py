#!/usr/bin/env python3
"""An explained model behind MLServer, under load from a client of the v2 protocol over loopback:
serving.py FOLDER. Requests arrive at rising rates, whether or not the ones before were answered, for
the prediction alone and with its SHAP values, of the same file; then faster than can be served; then
1,000 while a worker is killed. Says how long answers took, and what was not answered. Needs
onnxexplainer, mlserver (with uvloop below 0.22) and tritonclient[grpc] installed."""

import argparse
import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import tritonclient.grpc as client

import onnxexplainer
import onnxexplainer.mlserver

ROOT = pathlib.Path(__file__).resolve().parent.parent
DIGITS = ROOT / "examples/digits"
WORKERS, REFERENCES, SECONDS, LATEST = 2, 10, 8, 60
HTTP, GRPC, METRICS = 18080, 18081, 18082


def start(folder):
    """The server; its process."""
    references = np.load(DIGITS / "references.npy")[:REFERENCES]
    explained = onnxexplainer.explain(DIGITS / "digits.onnx", references)
    ports = {"http_port": HTTP, "grpc_port": GRPC, "metrics_port": METRICS}
    for name, outputs in (("explain", ()), ("predict", ("logits",))):
        onnxexplainer.mlserver.write_settings(folder, explained, name=name, workers=WORKERS,
                                              max_queue=32, outputs=outputs, **ports)
    log = open(folder / "log", "w")
    process = subprocess.Popen([pathlib.Path(sys.executable).parent / "mlserver", "start", "."],
                               cwd=folder, stdout=log, stderr=log)
    for _ in range(600):
        if all(ok(f"http://127.0.0.1:{HTTP}/v2/models/{name}/ready") for name in
               ("explain", "predict")):
            return process, onnxexplainer.Session(explained, threads=1)
        time.sleep(0.2)
    raise SystemExit("the server did not start: see " + str(folder / "log"))


def ok(address):
    try:
        return urllib.request.urlopen(address, timeout=5).status == 200
    except OSError:
        return False


class Load:
    """Requests of one image each, and what became of them."""

    def __init__(self, model, images):
        self.model, self.images = model, images
        self.client = client.InferenceServerClient(f"127.0.0.1:{GRPC}")
        self.took, self.errors, self.answers = [], [], {}

    def one(self, number, due):
        image = self.images[number % len(self.images)][None]
        tensor = client.InferInput("image", image.shape, "FP32")
        tensor.set_data_from_numpy(image)
        try:
            found = self.client.infer(self.model, [tensor], client_timeout=LATEST)
            self.answers[number] = found
            self.took.append(time.perf_counter() - due)
        except Exception as error: # what the client makes of an answer that is none
            self.errors.append(str(error))

    def at_rate(self, rate, count):
        start = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(256) as pool:
            for number in range(count):
                due = start + number / rate
                time.sleep(max(due - time.perf_counter(), 0))
                pool.submit(self.one, number, due)
        return time.perf_counter() - start

    def line(self, rate, seconds):
        took = 1e3 * np.array(self.took or [np.nan])
        p50, p95, p99 = np.percentile(took, [50, 95, 99])
        busy = sum("overloaded" in error for error in self.errors)
        print(f"| {self.model} | {rate} | {len(self.took) / seconds:.0f} | {p50:.0f} | {p95:.0f} | "
              f"{p99:.0f} | {busy} | {len(self.errors) - busy} |", flush=True)


def rising(images, rates):
    print("| model | requests/s | answered/s | p50 ms | p95 ms | p99 ms | 503 | other errors |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for rate in rates:
        for model in ("predict", "explain"):
            load = Load(model, images)
            load.line(rate, load.at_rate(rate, int(rate * SECONDS)))


def refused_by_http(images):
    """What a request over REST is told while the server is overloaded."""
    body = json.dumps({"inputs": [{"name": "image", "shape": [1, *images.shape[1:]],
                                   "datatype": "FP32", "data": images[0].ravel().tolist()}]})

    def ask(_):
        request = urllib.request.Request(f"http://127.0.0.1:{HTTP}/v2/models/explain/infer",
                                         body.encode(), {"Content-Type": "application/json"})
        try:
            return urllib.request.urlopen(request, timeout=LATEST).status, ""
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    with concurrent.futures.ThreadPoolExecutor(1024) as pool:
        answers = list(pool.map(ask, range(3000)))
    codes = {code: sum(c == code for c, _ in answers) for code, _ in answers}
    said = {text for code, text in answers if code == 503}
    print(f"3000 at once over REST: {codes}; 503 says {sorted(said)[:1]}", flush=True)
    assert set(codes) <= {200, 503}


def children(pid):
    """Worker processes, which the server spawned."""
    lines = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True,
                           text=True).stdout.splitlines()
    return [int(line.split()[0]) for line in lines if "spawn_main" in line]


def killed(server, session, images, rate):
    """1,000 requests, of which every one has an answer, right or an error's."""
    load = Load("explain", images)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        going = pool.submit(load.at_rate, rate, 1000)
        while len(load.took) < 400 and not going.done():
            time.sleep(0.01)
        victim = children(server.pid)[0]
        os.kill(victim, signal.SIGKILL)
        seconds = going.result()
    lost = [error for error in load.errors if "Deadline" in error]
    print(f"worker {victim} killed after 400 of 1000 in {seconds:.0f} s: {len(load.took)} answered, "
          f"{len(load.errors)} errors {sorted(set(load.errors))[:3]}, {len(lost)} without answer")
    for number, found in load.answers.items():
        image = images[number % len(images)][None]
        right = session.run(image)["image_shap"]
        assert np.allclose(found.as_numpy("image_shap"), right, atol=1e-5), number
    assert len(load.took) + len(load.errors) == 1000 and not lost
    again = Load("explain", images)
    again.at_rate(rate, 50)
    print(f"afterwards {len(again.took)} of 50 answered; workers {children(server.pid)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--rates", type=int, nargs="+", default=[10, 20, 40, 80, 160])
    parser.add_argument("--kill-rate", type=int, default=20)
    a = parser.parse_args()
    a.folder.mkdir(exist_ok=True)
    images = np.random.default_rng(0).permutation(np.load(DIGITS / "references.npy"))[:64]
    server, session = start(a.folder)
    try:
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        rising(images, a.rates)
        killed(server, session, images, a.kill_rate)
        refused_by_http(images)
        text = urllib.request.urlopen(f"http://127.0.0.1:{METRICS}/metrics").read().decode()
        print([line for line in text.splitlines() if "model_infer_request_success_total" in line])
    finally:
        server.terminate()
        server.wait(30)


if __name__ == "__main__":
    main()
