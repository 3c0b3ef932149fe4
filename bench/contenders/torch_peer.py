"""What explainers for PyTorch have in common: the network as its author wrote it, the data."""
import torch

import networks
from contenders import data


class Peer:
    def __init__(self, job):
        torch.set_num_threads(job["threads"])
        if job["network"].endswith(".onnx"):
            raise ValueError("the model is an ONNX file, not a PyTorch module")
        self.net = networks.load(job["network"], job["weights"])
        self.references = torch.as_tensor(data.references(job))
        self.sample = torch.as_tensor(data.sample(job))
        self.prepare()

    def result(self):
        with torch.no_grad():
            prediction = self.net(self.sample).numpy()
        return {"phi": self.phi, "target": self.target, "prediction": prediction}
