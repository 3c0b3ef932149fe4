#!/usr/bin/env python3
"""Trains a network and trees on the diabetes data, and records what SHAP says of them.

    python record.py [FOLDER]     made with torch 2.13.0, shap 0.51.0, scikit-learn and skl2onnx

Writes network.onnx and trees.onnx (`x [N, 10]` to one number each) and data.npz: `names` of the
columns, `samples` and `references` (rows that neither was trained on, and rows that both were),
`network_shap` of shap.DeepExplainer in float64, and `trees_shap` of shap.TreeExplainer with
the same references ("interventional")."""
import sys
from pathlib import Path

import numpy as np
import onnx
import shap
import sklearn
import skl2onnx
import torch
from sklearn.datasets import load_diabetes
from sklearn.ensemble import GradientBoostingRegressor
from torch import nn

SAMPLES, REFERENCES, EPOCHS = 20, 40, 600


def train(x, y):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 16), nn.Tanh(),
                          nn.Linear(16, 1))
    optimiser = torch.optim.Adam(model.parameters(), 3e-3, weight_decay=1e-3)
    x, y = torch.tensor(x), torch.tensor(y[:, None])
    for _ in range(EPOCHS):
        optimiser.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimiser.step()
    return model.eval()


def export_network(model, path):
    """Written as it is, layer by layer, so that no exporter comes between."""
    weights, nodes, value = [], [], "x"
    for i, layer in enumerate(model):
        out = "y" if i == len(model) - 1 else f"h{i}"
        inputs = [value]
        if isinstance(layer, nn.Linear):
            for name in ("weight", "bias"):
                array = getattr(layer, name).detach().numpy()
                weights.append(onnx.numpy_helper.from_array(array, f"{i}.{name}"))
                inputs.append(f"{i}.{name}")
        op = {"Linear": "Gemm", "ReLU": "Relu", "Tanh": "Tanh"}[type(layer).__name__]
        more = {"transB": 1} if op == "Gemm" else {}
        nodes.append(onnx.helper.make_node(op, inputs, [out], name=f"{i}.{op}", **more))
        value = out
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes, "diabetes", [onnx.helper.make_tensor_value_info("x", kind, ["N", 10])],
        [onnx.helper.make_tensor_value_info("y", kind, ["N", 1])], weights)
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)],
                                  ir_version=8)
    onnx.checker.check_model(made)
    onnx.save(made, path)


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
    data = load_diabetes()
    # thresholds lie in the middle of values: on this grid they are the same in float32 and float64
    x, y = (np.round(data.data * 1024) / 1024).astype(np.float32), (data.target / 100).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(x))
    known, unknown = order[:-SAMPLES * 4], order[-SAMPLES * 4:]
    samples, references = x[unknown[:SAMPLES]], x[known[:REFERENCES]]

    network = train(x[known], y[known])
    export_network(network, folder / "network.onnx")
    trees = GradientBoostingRegressor(n_estimators=60, max_depth=3, learning_rate=0.08,
                                      random_state=0).fit(x[known], y[known])
    made = skl2onnx.to_onnx(trees, x[:1], target_opset={"": 18, "ai.onnx.ml": 3})
    made.graph.doc_string = ""
    onnx.save(made, folder / "trees.onnx")

    network = network.double()
    deep = shap.DeepExplainer(network, torch.tensor(references).double())
    network_shap = deep.shap_values(torch.tensor(samples).double())[..., 0]
    exact = shap.TreeExplainer(trees, references.astype(float))
    np.savez_compressed(folder / "data.npz", names=np.array(data.feature_names), samples=samples,
                        references=references, truth=y[unknown[:SAMPLES]],
                        network_shap=network_shap, trees_shap=exact.shap_values(samples.astype(float)))
    said = {"network": network(torch.tensor(x[unknown]).double()).detach().numpy()[:, 0],
            "trees": trees.predict(x[unknown])}
    for name, values in said.items():
        print(f"{name}: correlation {np.corrcoef(values, y[unknown])[0, 1]:.3f} with the truth of "
              f"{len(unknown)} rows that it was not trained on")
    print(f"shap {shap.__version__}, torch {torch.__version__}, sklearn {sklearn.__version__}, "
          f"skl2onnx {skl2onnx.__version__}")


main()
