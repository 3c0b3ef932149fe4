#!/usr/bin/env python3
"""Explainers of the Python package beside those of SHAP, on models of other packages: shapes, and
values where both are exact. Needs onnxexplainer, torch, shap, scikit-learn, skl2onnx, pandas,
lightgbm, xgboost, catboost and onnxmltools installed."""

import warnings

import numpy as np

warnings.filterwarnings("ignore")

import catboost  # noqa: E402
import lightgbm  # noqa: E402
import pandas  # noqa: E402
import shap  # noqa: E402
import torch  # noqa: E402
import xgboost  # noqa: E402
from sklearn.compose import ColumnTransformer  # noqa: E402
from sklearn.datasets import load_breast_cancer  # noqa: E402
from sklearn.ensemble import (GradientBoostingClassifier, RandomForestClassifier,  # noqa: E402
                              RandomForestRegressor)
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: E402

import onnxexplainer as ox  # noqa: E402

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 5)).astype(np.float32)


def row(name, mine, theirs, exact=True):
    """A line of the table; exact methods agree to 1e-3 of the largest value."""
    assert np.shape(mine) == np.shape(theirs), (name, np.shape(mine), np.shape(theirs))
    distance = np.linalg.norm(mine - theirs) / np.linalg.norm(theirs)
    assert distance < (1e-3 if exact else 0.1), (name, distance)
    print(f"| {name} | {np.shape(mine)} | {distance:.0e} |", flush=True)


def networks():
    for outputs in (1, 3):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.ReLU(),
                                  torch.nn.Linear(8, outputs)).eval()

        def call(x):
            y = net(torch.tensor(np.asarray(x, np.float32))).detach().numpy()
            return y[:, 0] if y.shape[1] == 1 else y

        data, rows, masker = X[:20], X[20:24], shap.maskers.Independent(X[:20])
        mine = ox.GradientExplainer(net, data).shap_values(rows, nsamples=1000)
        other = shap.GradientExplainer(net, torch.tensor(data))
        row("GradientExplainer", mine, other.shap_values(torch.tensor(rows), nsamples=2000), False)
        row("KernelExplainer", ox.KernelExplainer(net, data).shap_values(rows),
            shap.KernelExplainer(call, data).shap_values(rows, silent=True))
        for kind in ("ExactExplainer", "PermutationExplainer"):
            mine = getattr(ox, kind)(net, data)(rows)
            other = getattr(shap, kind)(call, masker)(rows)
            assert mine.base_values.shape == other.base_values.shape
            row(kind, mine.values, other.values, kind == "ExactExplainer")


def trees():
    table = load_breast_cancer()
    data, two = table.data.astype(np.float32)[:, :8], table.target
    three = (data[:, 0] > 13).astype(int) + (data[:, 1] > 20)
    quiet = {"n_estimators": 5, "verbose": -1}
    models = [(RandomForestClassifier(5, max_depth=4, random_state=0), two),
              (RandomForestRegressor(5, max_depth=4, random_state=0), two),
              (GradientBoostingClassifier(n_estimators=5), two),
              (lightgbm.LGBMClassifier(**quiet), two), (lightgbm.LGBMClassifier(**quiet), three),
              (lightgbm.LGBMRegressor(**quiet), two), (xgboost.XGBClassifier(n_estimators=5), two),
              (xgboost.XGBClassifier(n_estimators=5), three),
              (xgboost.XGBRegressor(n_estimators=5), two),
              (catboost.CatBoostClassifier(iterations=5, verbose=0, depth=3), two),
              (catboost.CatBoostRegressor(iterations=5, verbose=0, depth=3), two)]
    for model, target in models:
        model.fit(data, target)
        mine = ox.TreeExplainer(model, data[:30]).shap_values(data[50:60])
        other = shap.TreeExplainer(model, data[:30], feature_perturbation="interventional")
        row(f"TreeExplainer, {type(model).__name__}", mine, other.shap_values(data[50:60]))


def categories():
    rows = 300
    table = pandas.DataFrame({"age": RNG.normal(40, 9, rows),
                              "town": RNG.choice(["Bonn", "Ulm", "Jena"], rows),
                              "sex": pandas.Categorical(RNG.choice(["f", "m"], rows)),
                              "size": RNG.integers(1, 9, rows)})
    target = ((table.age > 40) & (table.town != "Ulm") | (table["size"] > 6)).astype(int)
    encode = ColumnTransformer([("c", OneHotEncoder(handle_unknown="ignore"), ["town", "sex"]),
                                ("n", StandardScaler(), ["age", "size"])])
    model = make_pipeline(encode, LogisticRegression()).fit(table, target)

    def call(values):
        return model.predict_proba(pandas.DataFrame(values, columns=table.columns))[:, 1]

    mine = ox.ExactExplainer(model, table[:50]).shap_values(table[50:60])[..., 1]
    row("a table with texts and categories", mine,
        shap.KernelExplainer(call, table[:50]).shap_values(table[50:60], silent=True))


print("| | shape | relative L2 distance |\n| --- | --- | ---: |")
networks()
trees()
categories()
