"""Places of patches that slide: what an exporter writes for unfold, im2col.

x [1, C, 18, 18], windows of 3, 16 of them:   [[0, 1, ..., 15], [1, ..., 16], [2, ..., 17]]
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def grown_patches(places: Array, was: int, now: int) -> Array | None:
    """Return the places [window, patches] in a row of `now`, None where they are no such.

    All windows that fit into the row of `was` are there, side by side in equal steps.
    """
    if places.ndim != 2 or places.shape[1] < 2 or places.size == 0:
        return None
    count, patches = places.shape
    spread = int(places[1, 0] - places[0, 0]) if count > 1 else 1
    step = int(places[0, 1] - places[0, 0])
    reach = (count - 1) * spread + 1
    if min(spread, step) < 1 or patches != (was - reach) // step + 1 or now < reach:
        return None
    if not np.array_equal(places, _places(count, spread, patches, step)):
        return None
    return _places(count, spread, (now - reach) // step + 1, step).astype(places.dtype)


def _places(count: int, spread: int, patches: int, step: int) -> Array:
    return np.arange(count)[:, None] * spread + np.arange(patches) * step
