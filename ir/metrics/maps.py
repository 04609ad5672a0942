"""What maps [samples, channels, height, width] look like: masks, images, heat maps.

Each of these looks at the values of one batch; what it cannot tell it denies.
"""

from __future__ import annotations

import numpy as np

from .result import Array
from .seen import SeenOutput

# Operators that end networks which make images: they give each pixel its own range or place.
_OF_IMAGES = {"DepthToSpace", "Tanh", "Clip", "Sigmoid"}
_IMAGE_CHANNELS = (1, 3, 4)
_ALIKE = 0.7
_COHERENT = 0.6
_EXTREME, _NEARLY_ALL = 0.1, 0.8
_PEAK, _SMALL = 0.5, 0.05


def is_bimodal(probabilities: Array) -> bool:
    """Say whether nearly all probabilities are close to 0 or 1, and some to either."""
    low, high = probabilities < _EXTREME, probabilities > 1 - _EXTREME
    return bool(low.any() and high.any() and (low | high).mean() >= _NEARLY_ALL)


def is_coherent(seen: SeenOutput) -> bool:
    """Say whether scores are those of regions: neighbours mostly have the same class."""
    if len(seen.positions) != 2 or is_image(seen) or is_peaked(seen):
        return False
    axis = seen.class_axis
    assert axis is not None
    ids = np.expand_dims(np.argmax(seen.values, axis), axis)
    if len(np.unique(ids)) < 2:
        return False
    alike = [np.mean(np.diff(ids, axis=place) == 0) for place in seen.positions]
    return float(np.mean(alike)) >= _COHERENT


def is_image(seen: SeenOutput) -> bool:
    """Say whether it looks like an image: few channels, and an input's or an image's ending."""
    values = seen.values
    if not _is_map(values) or values.shape[1] not in _IMAGE_CHANNELS:
        return False
    if values.shape[1] != 1 and _OF_IMAGES & set(seen.reading.ending[:2]):
        return True
    return any(_looks_like(values, array) for array in seen.feed.values())


def is_peaked(seen: SeenOutput) -> bool:
    """Say whether in most maps only a small part is high, as where key points are marked."""
    if not _is_map(seen.values):
        return False
    maps = seen.values.reshape(-1, seen.values.shape[2] * seen.values.shape[3]).astype(np.float64)
    low, high = np.median(maps, axis=1), maps.max(axis=1)
    share = (maps > (low + _PEAK * (high - low))[:, None]).mean(axis=1)
    floor = np.abs(maps.min(axis=1) - low) <= 0.2 * (high - low)
    return bool(np.median(share) < _SMALL and floor.mean() > _NEARLY_ALL)


def _is_map(values: Array) -> bool:
    return values.ndim == 4 and min(values.shape[2:]) > 1


def _looks_like(output: Array, given: Array) -> bool:
    """Say whether an input, at the output's size, correlates with it."""
    if given.ndim != 4 or given.shape[:2] != output.shape[:2] or given.dtype.kind != "f":
        return False
    rows, columns = (
        np.arange(output.shape[axis]) * given.shape[axis] // output.shape[axis] for axis in (2, 3)
    )
    x = given[:, :, rows][:, :, :, columns].astype(np.float64).reshape(-1)
    y = output.astype(np.float64).reshape(-1)
    if not (np.std(x) > 0 and np.std(y) > 0):
        return False
    return float(np.corrcoef(x, y)[0, 1]) >= _ALIKE
