"""Arrays of samples on the disk, drawn by index."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np

from .....ir.core.errors import FeedError

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]


class SampleStore:
    """Arrays by name that grow along their first axis, in files without a name.

    To be used in a `with` statement, whose end gives the disk back.
    """

    def __init__(self) -> None:
        self._files: dict[str, IO[bytes]] = {}
        self._kinds: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        self._counts: dict[str, int] = {}
        self._views: dict[str, Array] = {}

    def __enter__(self) -> SampleStore:
        return self

    def __exit__(self, *error: object) -> None:
        self._views.clear()
        for file in self._files.values():
            file.close()

    def append(self, arrays: Mapping[str, Array]) -> None:
        """Add samples. Raises FeedError where they are not all of one shape and type."""
        for name, array in arrays.items():
            if name not in self._files:
                file = tempfile.TemporaryFile(prefix="planish-samples-")  # noqa: SIM115
                self._files[name] = file
                self._kinds[name] = (array.dtype, array.shape[1:])
                self._counts[name] = 0
            dtype, shape = self._kinds[name]
            if (array.dtype, array.shape[1:]) != (dtype, shape):
                raise FeedError(
                    f"'{name}' has samples of shape {list(shape)} ({dtype.name}) and "
                    f"{list(array.shape[1:])} ({array.dtype.name}); training needs one shape, "
                    "resize or crop them"
                )
            try:
                self._files[name].write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            except OSError as error:
                raise FeedError(
                    f"'{name}' does not fit into '{tempfile.gettempdir()}': {error}; give fewer "
                    "samples, or set TMPDIR"
                ) from error
            self._counts[name] += len(array)
            self._views.pop(name, None)

    def __getitem__(self, name: str) -> Array:
        """Return all samples of an array, mapped from the disk."""
        if name not in self._views:
            dtype, shape = self._kinds[name]
            whole = (self._counts[name], *shape)
            self._files[name].flush()
            if math.prod(whole):
                self._views[name] = np.memmap(self._files[name], dtype, "r", shape=whole)
            else:
                self._views[name] = np.empty(whole, dtype)
        return self._views[name]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the arrays."""
        return tuple(self._files)

    def take(self, names: Sequence[str], index: Array | slice) -> Arrays:
        """Return the samples at `index`, in memory."""
        return {name: np.array(self[name][index]) for name in names}
