"""One weight into the place of another: kind, shape and type.

w' = w[: n1, : n2, ...]        where the shapes differ and a part will do
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ....ir.core import dtypes
from ....ir.core.decline import need
from ....ir.ops.linear.storing import stored
from .parameters import NamedWeight

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class FittedWeight:
    """Values in the form the target is stored in; `is_part`: not all of the source, or the target.

    `note`: what was done on the way.
    """

    values: Array
    is_part: bool
    note: str


def fit(target: NamedWeight, source: NamedWeight, part: bool) -> FittedWeight:
    """Return the values of `source` as `target` holds them; declines where they do not fit.

    `part`: where the shapes differ, the leading part that fits is taken.
    """
    need(not source.obstacle, f"the source has it as {source.obstacle}")
    need(
        source.kind == target.kind,
        f"it is the {target.kind}, in the source the {source.kind}",
    )
    values, held = source.matrix(), target.matrix()
    notes = []
    if source.turned != target.turned:
        notes.append("transposed")
    is_part = values.shape != held.shape
    if is_part:
        need(values.ndim == held.ndim and part, f"the source has {source.size}")
        shape = tuple(map(min, values.shape, held.shape))
        leading = tuple(slice(size) for size in shape)
        whole = np.array(held)
        whole[leading] = _converted(values[leading], held.dtype)
        notes.append(
            f"the leading {'x'.join(map(str, shape))} of {'x'.join(map(str, values.shape))}"
        )
        values = whole
    if source.values.dtype != target.values.dtype:
        notes.append(f"from {dtypes.type_name(source.values.dtype)}")
    values = _converted(values, held.dtype)
    return FittedWeight(
        np.ascontiguousarray(values.T if target.turned else values), is_part, ", ".join(notes)
    )


def _converted(values: Array, dtype: np.dtype[Any]) -> Array:
    found = stored(values, dtype)
    fits = np.isfinite(found.astype(np.float64)) | ~np.isfinite(values.astype(np.float64))
    need(bool(fits.all()), f"some values do not fit {dtypes.type_name(dtype)}")
    return found
