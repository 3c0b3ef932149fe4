"""The Python package of the build under test, in this process: its modules beside the libraries."""

import pathlib
import sys
import tempfile

import pytest

from conftest import BUILD, ROOT

PARTS = {"_abi.py": "python/_abi.py", "lib/libonnxexplainer.so": "libonnxexplainer.so",
         "lib/libonnxexplainer_ops.so": "libonnxexplainer_ops.so",
         "bin/onnxexplainer": "onnxexplainer"}


folders = []


def folder_of_package():
    """A folder to import it from, made once."""
    if folders:
        return folders[0].name
    folders.append(tempfile.TemporaryDirectory(prefix="onnxexplainer-"))
    folder = pathlib.Path(folders[0].name)
    package = folder / "onnxexplainer"
    for name in ("lib", "bin"):
        (package / name).mkdir(parents=True)
    for module in (ROOT / "python/onnxexplainer").iterdir():
        (package / module.name).symlink_to(module)
    for name, built in PARTS.items():
        (package / name).symlink_to((BUILD / built).resolve())
    return folders[0].name


@pytest.fixture(scope="session")
def ox():
    """The package."""
    folder = folder_of_package()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    import onnxexplainer
    assert onnxexplainer.__file__.startswith(folder)
    return onnxexplainer
