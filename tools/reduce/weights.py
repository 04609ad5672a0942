"""Weights and feeds that nobody knows: drawn ones in the place of a user's."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from ...ir.core import dtypes
from .case import Array, Case, scopes_of
from .search import DeltaSearch, each_alone

# Constants of integers up to this many elements are shapes, axes and indices: they are structure.
_STRUCTURE = 64
_DIGITS = 3


def replace_values(search: DeltaSearch, seed: int) -> list[str]:
    """Replace the values of constants and feeds by drawn ones; return the names of those that stay.

    They keep whether all are positive, and about how large they are.
    """

    def attempt(names: list[str]) -> bool:
        return search.attempt(with_values(search.best, set(names), seed), "drawn values")

    private = [t.name for t in _tensors(search.best) if not _is_structure(t)]
    return each_alone([*dict.fromkeys(private), *search.best.feed], attempt)


def with_values(case: Case, names: set[str], seed: int) -> Case:
    """Return the case with drawn values for constants and feeds of these names."""
    made = case.copy()
    for place, tensor in enumerate(_tensors(made)):
        if tensor.name in names and not _is_structure(tensor):
            new = drawn_like(numpy_helper.to_array(tensor), np.random.default_rng([seed, place]))
            tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))
    feed = {
        name: drawn_like(array, np.random.default_rng([seed, 1 << 20, place]))
        if name in names
        else array
        for place, (name, array) in enumerate(made.feed.items())
    }
    return Case(made.model, feed)


def drawn_like(array: Array, rng: np.random.Generator) -> Array:
    """Return values of the type and shape of `array`, in its range where that matters.

    Floats are normal with its standard deviation, positive where it is, in three digits; integers
    are uniform between its least and greatest; text is `s0`, `s1`, ...
    """
    if array.dtype.kind in "OUS":
        return np.array([f"s{i}" for i in range(array.size)], object).reshape(array.shape)
    if array.dtype.kind == "b" or not array.size:
        return rng.integers(0, 2, array.shape).astype(bool) if array.dtype.kind == "b" else array
    if dtypes.is_integer(array.dtype):
        low, high = int(array.min()), int(array.max())
        kind = np.uint64 if high > np.iinfo(np.int64).max else np.int64
        drawn = np.asarray(rng.integers(low, high, array.shape, kind, endpoint=True))
        return drawn.astype(array.dtype)
    if array.dtype.kind == "c":
        return array
    wide = array.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    spread = float(finite.std()) if finite.size else 1.0
    center = float(finite.mean()) if finite.size else 0.0
    found: Array = center + (spread or 0.1) * np.asarray(rng.standard_normal(array.shape))
    if finite.size and finite.min() > 0:
        found = np.abs(found) + float(finite.min())
    return _short(found).astype(array.dtype)


def _short(values: Array) -> Array:
    """Return the values in a few decimal digits, as they are read in text."""
    with np.errstate(divide="ignore"):
        digits = np.floor(np.log10(np.abs(values)))
    unit = 10.0 ** (np.where(np.isfinite(digits), digits, 0) - (_DIGITS - 1))
    return np.asarray(np.round(values / unit) * unit)


def _tensors(case: Case) -> list[onnx.TensorProto]:
    """Return the constants in a fixed order; those of Constant nodes have its name."""
    found = []
    for scope in scopes_of(case.model):
        found += list(scope.initializer) if isinstance(scope, onnx.GraphProto) else []
        for node in scope.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    if not attribute.t.name:
                        attribute.t.name = node.output[0] if node.output else ""
                    found.append(attribute.t)
    return found


def _is_structure(tensor: onnx.TensorProto) -> bool:
    size = int(np.prod(tensor.dims)) if tensor.dims else 1
    return (
        (
            tensor.data_type
            in (onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.BOOL)
            and size <= _STRUCTURE
        )
        or not size
        or tensor.data_location == onnx.TensorProto.EXTERNAL
    )
