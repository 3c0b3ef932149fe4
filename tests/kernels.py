"""The library of kernels, in sessions of ONNX Runtime's own package."""

from conftest import BUILD

LIBRARY = str(BUILD / "libonnxexplainer_ops.so")
ENTRY, LONGEST = "onnxexplainer.kernels", 1024  # what ONNX Runtime takes


def register(options, model):
    """Registers the kernels that the model has, as its metadata or else its nodes say: ONNX Runtime
    takes 13 ms for all of them."""
    said = [p.value for p in model.metadata_props if p.key == ENTRY]
    names = said[0] if said else ",".join({n.op_type for n in model.graph.node
                                           if n.domain == "onnxexplainer"})
    if names and len(names) <= LONGEST:
        options.add_session_config_entry(ENTRY, names)
    options.register_custom_ops_library(LIBRARY)
