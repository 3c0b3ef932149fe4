"""Real photographs as references and sample for the benchmark networks, float32, normalised with
the mean and standard deviation of ImageNet. The sample is one photograph; the references are the
other photographs, then their mirror images, then crops of them, so that any R can be had from a
small folder and references.npy of a small R is the beginning of that of a larger one."""
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

PHOTOGRAPHS = Path(__file__).resolve().parents[2] / "shared" / "images"
SIZE = 224
MEAN = np.float32([0.485, 0.456, 0.406])
DEVIATION = np.float32([0.229, 0.224, 0.225])


def tensor(picture, size):
    """[3, size, size] of a picture, its middle filling the square."""
    square = ImageOps.fit(picture.convert("RGB"), (size, size), Image.Resampling.BILINEAR)
    values = np.asarray(square, np.float32) / 255
    return ((values - MEAN) / DEVIATION).transpose(2, 0, 1)


def variant(picture, number):
    """Variant 0 is the picture, 1 its mirror image, 2 onwards are crops of 80 percent,
    from one corner after the other, mirrored from the second round of corners on."""
    if number < 2:
        return ImageOps.mirror(picture) if number else picture
    corner, mirrored = (number - 2) % 4, (number - 2) // 4 % 2
    width, height = picture.width * 4 // 5, picture.height * 4 // 5
    left = (picture.width - width) * (corner % 2)
    top = (picture.height - height) * (corner // 2)
    crop = picture.crop((left, top, left + width, top + height))
    return ImageOps.mirror(crop) if mirrored else crop


def load(count, folder=PHOTOGRAPHS, sample="coffee", size=SIZE):
    """(references [count,3,size,size], sample [1,3,size,size])."""
    paths = sorted(Path(folder).glob("*.png"))
    chosen = [path for path in paths if path.stem == sample]
    others = [path for path in paths if path.stem != sample]
    if not chosen or not others:
        raise SystemExit(f"{folder}: no {sample}.png with other photographs beside it")
    pictures = [Image.open(path) for path in others]
    references = [tensor(variant(pictures[i % len(pictures)], i // len(pictures)), size)
                  for i in range(count)]
    return np.stack(references), tensor(Image.open(chosen[0]), size)[None]
