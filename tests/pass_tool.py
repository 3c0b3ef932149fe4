"""Passes models through a tool: python pass_tool.py TOOL FOLDER NAME.., with the packages of
build/runtimes in PYTHONPATH. FOLDER/NAME.onnx becomes FOLDER/NAME_passed.onnx, or what the tool
says NAME.txt. A process of its own, as tools change what they find in one."""

import sys
import tempfile
import warnings

import onnx


def onnxsim(model):
    import onnxsim

    return onnxsim.simplify(model)[0]


def onnxoptimizer(model):
    import onnxoptimizer

    return onnxoptimizer.optimize(model)


def onnxslim(model):
    import onnxslim

    return onnxslim.slim(model)


def onnxslim_without_elimination(model):
    import onnxslim

    return onnxslim.slim(model, skip_optimizations=["subexpression_elimination"])


def extract_model(model):
    """What is left where prediction and target are cut off."""
    folder = sys.argv[2]
    onnx.save(model, f"{folder}/whole.onnx")
    onnx.utils.extract_model(f"{folder}/whole.onnx", f"{folder}/part.onnx", ["x"],
                             ["x_shap", "base_value"])
    return onnx.load(f"{folder}/part.onnx")


def external_data(model):
    """Out to a file beside it, and back in."""
    folder = tempfile.mkdtemp(dir=sys.argv[2])
    onnx.save_model(model, f"{folder}/apart.onnx", save_as_external_data=True, location="apart.data",
                    size_threshold=0)
    return onnx.load(f"{folder}/apart.onnx")


def version_converter(model):
    import onnx.version_converter

    return onnx.version_converter.convert_version(model, 23)


def text(model):
    return onnx.parser.parse_model(onnx.printer.to_text(model))


def infer_shapes(model):
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def float16(model):
    """ONNX Runtime has no ScatterElements of float16 on CPUs."""
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    return convert_float_to_float16(model, keep_io_types=True,
                                    op_block_list=[*DEFAULT_OP_BLOCK_LIST, "ScatterElements"])


def ort_optimized(model):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = f"{sys.argv[2]}/optimized.onnx"
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(model.SerializeToString(), options)
    return onnx.load(options.optimized_model_filepath)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    tool, folder, *names = sys.argv[1:]
    for name in names:
        try:
            onnx.save(globals()[tool](onnx.load(f"{folder}/{name}.onnx")), f"{folder}/{name}_passed.onnx")
        except Exception as failure:  # of any class: tools have their own
            with open(f"{folder}/{name}.txt", "w") as said:
                said.write(str(failure))
