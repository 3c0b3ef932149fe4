"""ONNX Runtime: the plain model, which gives ideal, and explained models."""
import numpy as np
import onnxruntime

from contenders import data


def session(path, threads, kernels=None):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if kernels:
        options.register_custom_ops_library(kernels)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class Plain:
    """Ideal: one forward of the sample and one of the references, in two calls."""

    def __init__(self, job):
        self.session = session(job["model"], job["threads"])
        self.input = self.session.get_inputs()[0].name
        self.sample, self.references = data.sample(job), data.references(job)

    def run(self):
        self.at_sample = self.session.run(None, {self.input: self.sample})[0]
        self.at_references = self.session.run(None, {self.input: self.references})[0]

    def result(self):
        return {"prediction": self.at_sample, "at_references": self.at_references}


class Explained:
    """An explained model, with the kernels where the job names their library; `at_a_time` samples
    in a call."""

    def __init__(self, job):
        self.session = session(job["explained"], job["threads"], job.get("kernels"))
        self.input = self.session.get_inputs()[0].name
        self.names = [output.name for output in self.session.get_outputs()]
        self.sample = data.sample(job)
        self.step = job.get("at_a_time", len(self.sample))

    def run(self):
        self.values = [self.session.run(None, {self.input: self.sample[i:i + self.step]})
                       for i in range(0, len(self.sample), self.step)]

    def result(self):
        by_name = {name: np.concatenate(parts) for name, parts in
                   zip(self.names, zip(*self.values))}
        return {"phi": by_name[self.input + "_shap"], "target": by_name["shap_target"],
                "prediction": by_name[self.names[0]]}
