"""Photographs as what models take: read, cut to the model's size, and brought to its range."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._arrays import Array
from ._errors import ArgumentError, FileError, UnsupportedError
from ._model import ValueInfo

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
SIZE = 224 # of models whose inputs are of any size


@dataclasses.dataclass(frozen=True)
class Preprocess:
    """x = (pixel * factor - mean) / std, of a square from the middle of the picture.

    crop:  the share of the shorter side that is taken
    size:  height and width where the model takes any
    order: of the channels, RGB or BGR; mean and std have the same
    """

    factor: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    crop: float = 1.0
    size: tuple[int, int] | None = None
    order: str = "RGB"


PRESETS = {
    "imagenet": Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), crop=0.875),
    "tf": Preprocess(factor=1 / 127.5, mean=(1.0,)),
    "0-1": Preprocess(),
}


def is_picture(path: Any) -> bool:
    """Whether a path is that of a picture."""
    return isinstance(path, (str, os.PathLike)) and \
        pathlib.Path(path).suffix.lower() in ENDINGS


def preprocess(name: str) -> Preprocess:
    """The preset of a name, or what a JSON file says: keys of preprocessor_config.json
    (transformers) or of a configuration of timm, and "order"."""
    if name in PRESETS:
        return PRESETS[name]
    if pathlib.Path(name).suffix != ".json":
        raise ArgumentError(f"preprocess: {name!r} is none of {', '.join(PRESETS)}, and no .json")
    try:
        given = json.loads(pathlib.Path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArgumentError(f"{name}: {error}") from error
    if not isinstance(given, dict):
        raise ArgumentError(f"{name}: no object of settings")
    try:
        return _of_settings(given.get("pretrained_cfg", given))
    except (TypeError, ValueError, KeyError) as error:
        raise ArgumentError(f"{name}: {error!r} in the settings") from error


def _pair(size: Any) -> tuple[int, int] | None:
    """Height and width of what JSON files call a size."""
    if size is None:
        return None
    if isinstance(size, dict):
        size = [size[key] for key in ("height", "width") if key in size] or size["shortest_edge"]
    sides = size if isinstance(size, (list, tuple)) else [size, size]
    return int(sides[-2]), int(sides[-1])


def _of_settings(given: dict[str, Any]) -> Preprocess:
    def numbers(*keys: str) -> tuple[float, ...] | None:
        value = next((given[key] for key in keys if key in given), None)
        if value is None:
            return None
        return tuple(float(v) for v in (value if isinstance(value, (list, tuple)) else [value]))

    off = given.get("do_normalize") is False
    crop_size, size = _pair(given.get("crop_size")), _pair(given.get("size"))
    crop = given.get("crop_pct")
    if crop is None and crop_size and size and given.get("do_center_crop"):
        crop = min(crop_size) / min(size)
    factor = given.get("rescale_factor", 1 / 255)
    order = str(given.get("order", "RGB")).upper()
    if order not in ("RGB", "BGR"):
        raise ValueError(order)
    return Preprocess(1.0 if given.get("do_rescale") is False else float(factor),
                      (0.0,) if off else numbers("image_mean", "mean") or (0.0,),
                      (1.0,) if off else numbers("image_std", "std") or (1.0,),
                      float(crop or 1.0), crop_size or _pair(given.get("input_size")) or size,
                      order)


def read(path: str | os.PathLike[str]) -> Any:
    """A picture of Pillow, upright, RGB."""
    try:
        pillow: Any = importlib.import_module("PIL.Image")
        turning: Any = importlib.import_module("PIL.ImageOps")
    except ImportError as error:
        raise UnsupportedError("pictures are read by Pillow, which is not installed: "
                               "pip install pillow") from error
    try:
        with pillow.open(path) as found:
            return turning.exif_transpose(found).convert("RGB")
    except OSError as error:
        raise FileError(f"{os.fspath(path)}: {error.strerror or 'no picture'}") from error


def cut(picture: Any, size: tuple[int, int], crop: float) -> Any:
    """The middle of a picture in the size; one that has it already is taken as it is."""
    height, width = size
    if (picture.height, picture.width) == (height, width):
        return picture
    scale = crop * min(picture.width / width, picture.height / height)
    wide, tall = scale * width, scale * height
    left, top = (picture.width - wide) / 2, (picture.height - tall) / 2
    pillow: Any = importlib.import_module("PIL.Image")
    return picture.resize((width, height), pillow.Resampling.BILINEAR,
                          (left, top, left + wide, top + tall))


def layout(info: ValueInfo, settings: Preprocess) -> tuple[int, int, int, bool]:
    """Channels, height and width that an input takes, and whether channels come first."""
    shape = info.shape or ()
    if len(shape) not in (3, 4):
        raise ArgumentError(f"input \"{info.name}\" of shape {list(shape)} takes no pictures")
    sample = shape[1:]
    last = len(sample) == 3 and sample[2] in (1, 3) and sample[0] not in (1, 3)
    channels = 1 if len(sample) == 2 else sample[2] if last else sample[0]
    sides = sample if len(sample) == 2 else sample[:2] if last else sample[1:]
    if channels not in (1, 3):
        raise ArgumentError(f"input \"{info.name}\" of shape {list(shape)} takes no pictures of 1 "
                            "or 3 channels")
    free = settings.size or (SIZE, SIZE)
    height, width = (side if isinstance(side, int) else other for side, other in zip(sides, free))
    return int(channels), height, width, not last


def load(paths: Sequence[str | os.PathLike[str]], info: ValueInfo,
         settings: Preprocess) -> tuple[Array, list[Array]]:
    """What an input takes of pictures (N, ...), and these as they were cut, (H, W, 3) bytes."""
    channels, height, width, first = layout(info, settings)
    shown = [cut(read(path), (height, width), settings.crop) for path in paths]
    pixels = np.stack([np.asarray(p.convert("L") if channels == 1 else p, dtype=np.float64)
                       .reshape(height, width, channels) for p in shown])
    if settings.order == "BGR":
        pixels = pixels[..., ::-1]
    arrays = scale(pixels, channels, settings)
    return shape(arrays, info, first), [np.asarray(p) for p in shown]


def scale(pixels: Array, channels: int, settings: Preprocess) -> Array:
    """Pixels (..., channels) in the model's range."""
    mean, std = (np.array(v if len(v) in (1, channels) else [float(np.mean(v))])
                 for v in (settings.mean, settings.std))
    return np.asarray((pixels * settings.factor - mean) / std)


def shape(arrays: Array, info: ValueInfo, first: bool) -> Array:
    """(N, H, W, C) as an input takes it."""
    if len(info.shape or ()) == 3:
        arrays = arrays[..., 0]
    elif first:
        arrays = np.moveaxis(arrays, -1, 1)
    return np.ascontiguousarray(arrays, dtype=np.float32)


def grey(info: ValueInfo, settings: Preprocess) -> Array:
    """A reference: a picture that is grey all over."""
    channels, height, width, first = layout(info, settings)
    pixels = np.full((1, height, width, channels), 127.5)
    return shape(scale(pixels, channels, settings), info, first)
