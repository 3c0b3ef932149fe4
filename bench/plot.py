"""Pictures of time and memory against the number of references."""
import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402

SHOWN = {"onnxexplainer tuned": "tab:red", "onnxexplainer kernels, load": "tab:orange",
         "onnxexplainer portable, load": "gold", "onnxexplainer kernels, none, chunk 1": "tab:pink",
         "cached PyTorch, malloc tuned": "tab:blue", "cached TensorFlow": "tab:cyan",
         "SHAP PyTorch": "tab:green", "SHAP TensorFlow": "olive", "ideal": "black"}


def against_references(rows, value, label, path):
    """One panel for each network, both axes logarithmic."""
    rows = [row for row in rows if "seconds" in row and row["batch"] == 1 and not row["size"]]
    networks = list(dict.fromkeys(row["network"] for row in rows))
    columns = min(4, len(networks))
    lines = -(-len(networks) // columns)
    figure, axes = pyplot.subplots(lines, columns, figsize=(3.4 * columns, 3 * lines),
                                   squeeze=False, layout="constrained")
    for place, network in zip(axes.flat, networks):
        for name, colour in SHOWN.items():
            points = sorted((row["refs"], value(row)) for row in rows
                            if (row["network"], row["name"]) == (network, name))
            if points:
                place.loglog(*zip(*points), ".-", color=colour, label=name)
        place.set(title=network, xlabel="references", ylabel=label)
    for place in list(axes.flat)[len(networks):]:
        place.axis("off")
    handles = {text: handle for place in axes.flat
               for handle, text in zip(*place.get_legend_handles_labels())}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def draw(rows, folder):
    pyplot.rcParams["svg.hashsalt"] = "onnxexplainer"
    against_references(rows, lambda row: 1e3 * min(row["seconds"]), "ms", folder / "latency.svg")
    against_references(rows, lambda row: row["peak"], "peak MiB", folder / "memory.svg")
