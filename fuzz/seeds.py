"""Seeds for fuzzing: small models and what they are explained as, of the files that tests have
left, and arrays, tables, pictures and operands.

    pytest --basetemp=LEFT tests/test_rules_*.py; python fuzz/seeds.py SEEDS LEFT
"""

import hashlib
import io
import pathlib
import random
import sys

LARGEST = 6000  # bytes of a model
CHOICES = 48  # bytes behind it: fuzz/draw.h


def keep(folder, data):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def keep_model(folder, target, data):
    if len(data) <= LARGEST:
        choices = random.Random(data).randbytes(CHOICES)
        keep(folder / target, data + choices)
        keep(folder / target, data + bytes(CHOICES))


def models(folder, left):
    for path in left.rglob("*.onnx"):
        target = "tune" if path.name.endswith(".explained.onnx") else "explain"
        keep_model(folder, target, path.read_bytes())


def backend_models(folder):
    """ONNX's own cases of one node."""
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))
    import backend

    for case in backend.collect().values():
        keep_model(folder, "explain", case.model.SerializeToString())


def arrays(folder):
    import numpy as np

    for kind in ("f4", ">f4", "f8", "f2", "i8", "u1", "?", "<U3", "S4", ">i2"):
        for order in "CF":
            out = io.BytesIO()
            np.save(out, np.asarray(np.arange(6).reshape(2, 3).astype(kind), order=order))
            keep(folder, b"\0" + out.getvalue())
    for save in (np.savez, np.savez_compressed):
        out = io.BytesIO()
        save(out, x=np.ones((2, 3), np.float32), y=np.arange(4))
        keep(folder, b"\1" + out.getvalue())
    for text in (b"a,b\n1,2\n", b"a,b\r\n1e300,-nan\r\n", b'"a ""b""",x[3]\n"1\n2",inf\n',
                 b"\xef\xbb\xbfx;y\n1;2\n", b"x\n0x1p-3\n", "ä,ö\n1,\n".encode()):
        keep(folder, b"\2" + text)


def pictures(folder):
    from matplotlib import image
    import numpy as np

    for shape in ((5, 4, 3), (9, 12, 4), (8, 8)):
        pixels = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
        for kind in ("png", "jpeg"):
            if kind == "jpeg" and shape[-1] == 4:
                continue
            out = io.BytesIO()
            image.imsave(out, pixels, format=kind)
            keep(folder, b"\3" + out.getvalue())


def operands(folder, kernels=700):
    draw = random.Random(0)
    for kernel in range(kernels):
        for form in range(5):
            keep(folder, kernel.to_bytes(2, "big") + bytes([form]) + draw.randbytes(1) +
                 b"\0" + draw.randbytes(20))


if __name__ == "__main__":
    root = pathlib.Path(sys.argv[1])
    arrays(root / "arrays")
    pictures(root / "arrays")
    operands(root / "kernels")
    backend_models(root)
    for left in sys.argv[2:]:
        models(root, pathlib.Path(left))
