"""Captum's DeepLiftShap, at the highest logit of the sample."""
import torch
from captum.attr import DeepLiftShap

from contenders.torch_peer import Peer


class Captum(Peer):
    def prepare(self):
        self.explainer = DeepLiftShap(self.net)

    def run(self):
        with torch.no_grad():
            self.target = self.net(self.sample).argmax(1)
        self.phi = self.explainer.attribute(self.sample, baselines=self.references,
                                            target=self.target).detach().numpy()
