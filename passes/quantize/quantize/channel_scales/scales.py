"""What is over a scale for each of its channels on the way through a pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..calibration.observers import Range

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ScaledTensor:
    """A tensor over `scale` (positive, [M]) is to be quantized, whose range is `span` then.

    `of_others`: the same as the samples outside of each part of them would give it (`extremes`).
    """

    scale: Array
    span: Range
    of_others: tuple[ScaledTensor, ...] = ()
