"""Records SHAP values of shap.TreeExplainer on ensembles of trees, for test_recorded.py.

    python record_trees.py [NAME...]

Made with shap 0.51.0, lightgbm 4.7.0, xgboost 3.2.0, catboost 1.2.10, scikit-learn 1.9.1, skl2onnx
1.20.0, onnxmltools 1.16.0: ensembles as the converters write them, on scikit-learn's own data sets.

The SHAP values are those of shap.TreeExplainer(feature_perturbation="interventional",
model_output="raw"): of margins, so that the exports have no post_transform. Needs shap, skl2onnx,
onnxmltools and the libraries themselves; the arrays are named as by record_shap.py."""

import itertools
import math
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
import pandas
import shap
from onnx import helper
from sklearn import compose, datasets, ensemble, impute, pipeline, preprocessing

SAMPLES, REFERENCES, FEATURES = 6, 8, 10
FOLDER = pathlib.Path(__file__).parent


def whole(value):
    """Converters give attributes as NumPy's integers and booleans, which onnx does not take."""
    plain = not isinstance(value, (list, tuple)) or not value
    return value if plain or not isinstance(value[0], (bool, np.bool_, np.integer)) else [
        int(v) for v in value]


def of_onnxmltools(convert):
    from onnxmltools.convert.common.data_types import FloatTensorType
    return lambda model: convert(model, initial_types=[("x", FloatTensorType([None, FEATURES]))],
                                 target_opset=15)


def of_sklearn(model):
    from skl2onnx import to_onnx
    options = {"zipmap": False} if hasattr(model, "predict_proba") else None
    return to_onnx(model, np.zeros((1, FEATURES), np.float32), options=options)


def of_catboost(model):
    path = FOLDER / "catboost.tmp"
    model.save_model(str(path), format="onnx")
    try:
        return onnx.load(path)
    finally:
        path.unlink()


def lightgbm(kind, **options):
    import lightgbm as library
    import onnxmltools
    model = getattr(library, kind)(n_estimators=8, num_leaves=7, n_jobs=1, random_state=0,
                                   verbose=-1, **options)
    return model, of_onnxmltools(onnxmltools.convert_lightgbm)


def xgboost(kind):
    import onnxmltools
    import xgboost as library
    model = getattr(library, kind)(n_estimators=8, max_depth=3, n_jobs=1, random_state=0)
    return model, of_onnxmltools(onnxmltools.convert_xgboost)


def catboost(kind):
    import catboost as library
    model = getattr(library, kind)(iterations=8, depth=3, random_seed=0, verbose=False,
                                   allow_writing_files=False, thread_count=1)
    return model, of_catboost


def sklearn(kind, **options):
    return getattr(ensemble, kind)(random_state=0, **options), of_sklearn


CASES = {  # data set, model; whether values are missing
    "trees_lightgbm_regressor": ("diabetes", lambda: lightgbm("LGBMRegressor"), True),
    "trees_lightgbm_classifier": ("breast_cancer", lambda: lightgbm("LGBMClassifier"), False),
    "trees_xgboost_regressor": ("diabetes", lambda: xgboost("XGBRegressor"), True),
    "trees_xgboost_classifier": ("breast_cancer", lambda: xgboost("XGBClassifier"), False),
    "trees_catboost_regressor": ("diabetes", lambda: catboost("CatBoostRegressor"), False),
    "trees_random_forest": ("diabetes", lambda: sklearn("RandomForestRegressor", n_estimators=6,
                                                        max_depth=4), False),
    "trees_random_forest_classifier": ("wine", lambda: sklearn("RandomForestClassifier",
                                                               n_estimators=5, max_depth=3), False),
    "trees_extra_trees_classifier": ("wine", lambda: sklearn("ExtraTreesClassifier",
                                                             n_estimators=5, max_depth=3), False),
    "trees_hist_gradient_boosting": ("diabetes", lambda: sklearn("HistGradientBoostingRegressor",
                                                                 max_iter=6, max_leaf_nodes=8),
                                     True),
    "trees_lightgbm_of_three": ("wine", lambda: lightgbm("LGBMClassifier", max_depth=3), False),
    "trees_xgboost_of_three": ("wine", lambda: xgboost("XGBClassifier"), False),
    "trees_gradient_boosting": ("diabetes", lambda: sklearn("GradientBoostingRegressor",
                                                            n_estimators=8), False),
}


def data(name, missing):
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order, :FEATURES].astype(np.float32), y[order]
    if missing:
        x[np.random.default_rng(1).random(x.shape) < 0.05] = np.nan
    return x, y


def margins(model):
    """The export with its input called x, the scores alone, called output, as margins."""
    graph = model.graph
    names = {"output": "inner", graph.input[0].name: "x"}
    trees = [n for n in graph.node if n.op_type.startswith("TreeEnsemble")]
    for node in trees:
        kept = [a for a in node.attribute if a.name != "post_transform"]
        del node.attribute[:]
        node.attribute.extend(kept)
    last = trees[-1] if trees[-1].op_type.endswith("Classifier") else None
    scores = last.output[1] if last is not None else graph.output[0].name
    names[scores] = "output"
    for node in graph.node:
        for side in (node.input, node.output):
            side[:] = [names.get(v, v) for v in side]
    graph.input[0].name = "x"
    nodes = [n for n in graph.node if "output" in n.output or last is None]
    keep = set(sum((list(n.input) for n in nodes), []))
    for n in reversed(list(graph.node)):
        if n not in nodes and keep & set(n.output):
            nodes.insert(0, n)
            keep |= set(n.input)
    del graph.node[:], graph.output[:]
    graph.node.extend(nodes)
    graph.output.append(helper.make_tensor_value_info("output", 1, None))
    graph.name, model.producer_version, model.doc_string = "trees", "", ""
    return model


def by_shap(model, x, r):
    """[samples, targets, features], of all scores that the export gives."""
    explainer = shap.TreeExplainer(model, r, feature_perturbation="interventional",
                                   model_output="raw")
    phi = np.asarray(explainer.shap_values(x, check_additivity=False), np.float64)
    return phi[:, None] if phi.ndim == 2 else phi.transpose(0, 2, 1)


def run(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(["output"], {"x": x})[0]


def record(name):
    source, make, missing = CASES[name]
    x, y = data(source, missing)
    model, convert = make()
    model.fit(x, y)
    exported = margins(convert(model))
    samples, references = x[-SAMPLES:], x[-SAMPLES - REFERENCES:-SAMPLES]
    output, base = run(exported, samples), run(exported, references).mean(axis=0)
    phi = by_shap(model, samples, references)
    if output.ndim == 2 and output.shape[1] == 2 and phi.shape[1] == 1:  # [-s, s]
        phi = np.concatenate([-phi, phi], axis=1)
    gap = np.abs(output.reshape(SAMPLES, -1) - base.reshape(1, -1) - phi.sum(axis=2)).max()
    assert gap < 1e-4 * (1 + np.abs(output).max()), (name, gap)
    onnx.save(exported, FOLDER / f"{name}.onnx")
    np.savez_compressed(FOLDER / f"{name}.npz", x=samples, x_references=references, output=output,
                        base_value=base, x_shap=phi)
    print(name, exported.ByteSize(), "bytes, gap", gap)


# ---- a pipeline from columns with names ---------------------------------------------------------


COLUMNS = ["age", "bmi", "bp", "s5", "sex"]


def by_enumeration(predict, samples, references):
    """[samples, columns]: a column is a player."""
    phi, count = np.zeros((len(samples), len(COLUMNS))), len(COLUMNS)
    for (s, row), (_, other) in itertools.product(samples.iterrows(), references.iterrows()):
        hybrids = pandas.DataFrame([[(row if mask >> i & 1 else other)[c]
                                     for i, c in enumerate(COLUMNS)]
                                    for mask in range(1 << count)], columns=COLUMNS)
        worth = predict(hybrids.astype(samples.dtypes))
        for i, mask in itertools.product(range(count), range(1 << count)):
            if not mask >> i & 1:
                share = 1 / (count * math.comb(count - 1, bin(mask).count("1")))
                phi[s, i] += share * (worth[mask | 1 << i] - worth[mask]) / len(references)
    return phi


def record_pipeline(name):
    """Imputer, scaler, one-hot encoder of two categories, forest: values by enumeration."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType
    table = datasets.load_diabetes(as_frame=True, scaled=False)
    x = table.data[COLUMNS].astype({c: np.float32 for c in COLUMNS[:4]} | {"sex": np.int64})
    x.loc[np.random.default_rng(0).random(len(x)) < 0.2, "bp"] = np.nan
    columns = compose.ColumnTransformer([
        ("numbers", pipeline.make_pipeline(impute.SimpleImputer(), preprocessing.StandardScaler()),
         COLUMNS[:4]), ("categories", preprocessing.OneHotEncoder(drop="if_binary"), ["sex"])])
    model = pipeline.make_pipeline(columns, ensemble.RandomForestRegressor(
        5, max_depth=4, random_state=0)).fit(x, table.target)
    kinds = [(c, FloatTensorType([None, 1])) for c in COLUMNS[:4]] + [
        ("sex", Int64TensorType([None, 1]))]
    exported = to_onnx(model, initial_types=kinds)
    exported.graph.output[0].name = exported.graph.node[-1].output[0] = "output"
    samples, references = x[:6].reset_index(drop=True), x[6:12].reset_index(drop=True)
    phi = by_enumeration(model.predict, samples, references)
    arrays = {}
    for i, c in enumerate(COLUMNS):
        arrays |= {c: samples[[c]].to_numpy(), f"{c}_references": references[[c]].to_numpy(),
                   f"{c}_shap": phi[:, None, i:i + 1]}
    output, base = model.predict(samples)[:, None], model.predict(references).mean(keepdims=True)
    onnx.save(exported, FOLDER / f"{name}.onnx")
    np.savez_compressed(FOLDER / f"{name}.npz", output=output, base_value=base, **arrays)
    print(name, exported.ByteSize(), "bytes, gap", np.abs(output[:, 0] - base - phi.sum(1)).max())


def record_isolation(name):
    """An isolation forest, whose scores are what much arithmetic makes of its trees: the model."""
    from skl2onnx import to_onnx
    x, _ = data("diabetes", False)
    model = ensemble.IsolationForest(n_estimators=4, max_samples=16, random_state=0).fit(x)
    exported = to_onnx(model, x[:1], target_opset={"": 18, "ai.onnx.ml": 3})
    onnx.save(exported, FOLDER / f"{name}.onnx")
    print(name, exported.ByteSize(), "bytes")


OTHERS = {"trees_pipeline": record_pipeline, "isolation_forest": record_isolation}


def main():
    made = helper.make_attribute
    helper.make_attribute = lambda key, value, *a, **k: made(key, whole(value), *a, **k)
    for name in sys.argv[1:] or [*CASES, *OTHERS]:
        OTHERS.get(name, record)(name)


if __name__ == "__main__":
    main()
