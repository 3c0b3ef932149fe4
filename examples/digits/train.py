"""Trains the demo's network on the real digits of scikit-learn, and writes digits.onnx with its
input.npy, labels.npy and references.npy beside this file.

    pip install torch==2.13.0 onnx==1.23.2 onnxscript scikit-learn
    python train.py

Seeded: the same versions on the same kind of machine give the same weights."""

import pathlib

import numpy as np
import onnx
import torch
from sklearn.datasets import load_digits
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
EPOCHS = 30

torch.manual_seed(0)
torch.use_deterministic_algorithms(True)
torch.set_num_threads(1)

# 1797 images of 8x8 in 0..16; with a border, and enlarged to the 28x28 usual for digits, in 0..1.
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
images = nn.functional.pad(images, (1, 1, 1, 1))
images = nn.functional.interpolate(images, (28, 28), mode="bilinear")
labels = torch.tensor(digits.target)
order = torch.randperm(len(images))
train, test = order[:1437], order[1437:]

# The pooling windows overlap on purpose: there, adding up the flows matters.
network = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
    nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(),
    nn.MaxPool2d(3, stride=2, padding=1),
    nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
    nn.Flatten(),
    nn.Linear(32 * 7 * 7, 10),
)

optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
for epoch in range(EPOCHS):
    for batch in train[torch.randperm(len(train))].split(64):
        # Shifted by up to two pixels.
        shift = torch.randint(-2, 3, (2,)).tolist()
        moved = torch.roll(images[batch], shift, (2, 3))
        loss = nn.functional.cross_entropy(network(moved), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    schedule.step()

network.eval()
with torch.no_grad():
    right = network(images[test]).argmax(1) == labels[test]
    fit = network(images[train]).argmax(1) == labels[train]
print(f"accuracy: train {fit.float().mean():.4f}, test {right.float().mean():.4f} "
      f"({int(right.sum())} of {len(test)})")

program = torch.onnx.export(
    network, (images[:2],), dynamo=True, opset_version=18, input_names=["image"],
    output_names=["logits"], dynamic_shapes=({0: torch.export.Dim("N")},))
model = program.model_proto
for node in model.graph.node:  # traces of the exporter
    del node.metadata_props[:]
for value in model.graph.value_info:
    del value.metadata_props[:]
onnx.checker.check_model(model, full_check=True)
onnx.save(model, HERE / "digits.onnx")

# To explain: one test image of each class. References: two training images of each class.
chosen = [test[labels[test] == k][0].item() for k in range(10)]
references = [i for k in range(10) for i in train[labels[train] == k][:2].tolist()]
np.save(HERE / "input.npy", images[chosen].numpy())
np.save(HERE / "labels.npy", labels[chosen].numpy())
np.save(HERE / "references.npy", images[references].numpy())
