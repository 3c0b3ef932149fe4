"""shap.DeepExplainer on TensorFlow, on the network in Keras (keras_net.py)."""
import numpy as np
import shap
import tensorflow as tf

from contenders import data
from contenders.keras_net import build, channels_first, channels_last


class Shap:
    def __init__(self, job):
        tf.config.threading.set_intra_op_parallelism_threads(job["threads"])
        tf.config.threading.set_inter_op_parallelism_threads(1)
        self.net = build(job["model"])
        self.sample = channels_last(data.sample(job))
        self.explainer = shap.DeepExplainer(self.net, channels_last(data.references(job)))

    def run(self):
        phi, target = self.explainer.shap_values(self.sample, ranked_outputs=1,
                                                 check_additivity=False)
        self.phi, self.target = np.asarray(phi)[..., 0], np.asarray(target)[:, 0]

    def result(self):
        return {"phi": channels_first(self.phi), "target": self.target,
                "prediction": np.asarray(self.net(self.sample))}
