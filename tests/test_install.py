"""What `make install` leaves stands alone, and programs find it by pkg-config and by CMake."""

import os
import shutil
import subprocess

import pytest

from conftest import BUILD, ROOT

PROJECT = """cmake_minimum_required(VERSION 3.25)
project(user LANGUAGES C)
find_package(onnxexplainer REQUIRED)
add_executable(user explain.c)
target_link_libraries(user PRIVATE onnxexplainer::onnxexplainer)
"""


def call(*command, **options):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    folder = tmp_path_factory.mktemp("installed")
    call("cmake", "--install", BUILD, "--prefix", folder)
    return folder


def test_nothing_of_the_build_is_left(prefix):
    files = [path for path in prefix.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"onnxexplainer.1", "onnxexplainer-explain.1", "_onnxexplainer",
            "onnxexplainer", "libonnxexplainer_ops.so", "onnxexplainer.h", "LICENSE",
            "onnxexplainer.pc", "onnxexplainerConfig.cmake"} <= names
    for path in files:
        assert str(BUILD).encode() not in path.read_bytes(), path
        assert str(ROOT).encode() not in path.read_bytes(), path


def test_the_build_looks_for_its_library_beside_itself():
    """A path of the folder would leave its length in what is installed."""
    for name in "onnxexplainer", "example_explain":
        assert str(BUILD).encode() not in (BUILD / name).read_bytes(), name


def test_the_command_runs(prefix):
    """Its library is found, and the kernels beside that."""
    env = {k: v for k, v in os.environ.items() if k != "LD_LIBRARY_PATH"}
    assert call(prefix / "bin/onnxexplainer", "--version", env=env).startswith("onnxexplainer ")


def check(program, prefix):
    out = call(program, ROOT / "examples/digits/digits.onnx",
               env=os.environ | {"LD_LIBRARY_PATH": str(next(prefix.glob("lib*/**/*.so")).parent)})
    assert "sum of SHAP values" in out


def test_pkg_config(prefix, tmp_path):
    config = next(prefix.rglob("onnxexplainer.pc"))
    moved = f"--define-variable=prefix={prefix}"
    flags = call("pkg-config", moved, "--cflags", "--libs", "onnxexplainer",
                 env=os.environ | {"PKG_CONFIG_PATH": str(config.parent)}).split()
    call("cc", ROOT / "examples/explain.c", "-o", tmp_path / "user", *flags)
    check(tmp_path / "user", prefix)


def test_cmake(prefix, tmp_path):
    (tmp_path / "CMakeLists.txt").write_text(PROJECT)
    shutil.copy(ROOT / "examples/explain.c", tmp_path)
    call("cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    call("cmake", "--build", tmp_path / "build")
    check(tmp_path / "build/user", prefix)
