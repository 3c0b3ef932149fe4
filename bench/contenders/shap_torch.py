"""shap.DeepExplainer on PyTorch, as its users run it: the highest logit of the sample."""
import numpy as np
import shap

from contenders.torch_peer import Peer


class Shap(Peer):
    def prepare(self):
        self.explainer = shap.DeepExplainer(self.net, self.references)

    def run(self):
        # The check of additivity does not work together with ranked outputs in shap 0.51.
        phi, target = self.explainer.shap_values(self.sample, ranked_outputs=1,
                                                 check_additivity=False)
        self.phi, self.target = np.asarray(phi)[..., 0], np.asarray(target)[:, 0]
