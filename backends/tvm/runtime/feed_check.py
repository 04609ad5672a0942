"""Feeds against the header of a network, which is all that is there where it was loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ....ir.core.errors import FeedError
from ....ir.core.kind import kind_of, type_of_values
from .header import Header, Tensor


def check_feeds(feeds: Mapping[str, np.ndarray[Any, Any]], header: Header) -> None:
    """Raise FeedError where a feed is missing or unknown, or of another type, rank or size."""
    told: Any = feeds
    if not isinstance(told, Mapping):
        names = ", ".join(f"'{t.name}'" for t in header.inputs if t.name not in header.defaults)
        raise FeedError(f"feeds are {kind_of(feeds)}; give a dict of arrays, for {names}")
    inputs = {tensor.name: tensor for tensor in header.inputs}
    for name in feeds:
        if name not in inputs:
            known = ", ".join(f"'{known}'" for known in inputs)
            raise FeedError(f"feed '{name}' is no input of the network; its inputs are {known}")
    sizes: dict[str, int] = {}
    for tensor in header.inputs:
        if tensor.name not in feeds:
            if tensor.name in header.defaults:
                continue
            given = ", ".join(f"'{name}'" for name in feeds) or "none"
            raise FeedError(f"no feed for input '{tensor.name}'; the feeds given are {given}")
        _check(tensor, feeds[tensor.name], sizes)


def _sizes(shape: Sequence[int | str | None]) -> str:
    return " x ".join("?" if size is None else str(size) for size in shape) or "one number"


def _check(tensor: Tensor, array: Any, sizes: dict[str, int]) -> None:
    """Check one feed; `sizes` are those that dynamic dimensions have so far."""
    name = tensor.name
    if not isinstance(array, np.ndarray):
        raise FeedError(f"feed '{name}' is {kind_of(array)}, not a numpy array")
    if array.dtype != np.dtype(tensor.dtype):
        raise FeedError(
            f"feed '{name}' is {type_of_values(array.dtype)}, but the input is {tensor.dtype}; "
            "convert it with .astype"
        )
    wanted = tensor.shape or []
    fits = len(wanted) == array.ndim and all(
        size == (sizes.setdefault(dim, size) if isinstance(dim, str) and dim else dim or size)
        for size, dim in zip(array.shape, wanted, strict=True)
    )
    if not fits:
        shown = [sizes.get(dim, dim) if isinstance(dim, str) else dim for dim in wanted]
        found = f"feed '{name}' has shape {_sizes(array.shape)}"
        raise FeedError(f"{found}, but the input has {_sizes(shown)}")
