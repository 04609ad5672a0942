"""Feeds in one file, read feed by feed: what tasks in other processes and on other machines get."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...ir.core.atomic import replacing

Feed = Mapping[str, np.ndarray[Any, Any]]


def store_feeds(feeds: Iterable[Feed], path: Path) -> int:
    """Write `feeds` to `path`, one after the other, and return how many there are."""
    count = 0
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for feed in feeds:
            for name, array in feed.items():
                with archive.open(f"{count}/{name}", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
            count += 1
    return count


class StoredFeeds:
    """The feeds that `store_feeds` wrote to `path`, without the entries `left_out`."""

    def __init__(self, path: Path, left_out: Iterable[str] = ()) -> None:
        self._path = path
        self._left_out = frozenset(left_out)
        with zipfile.ZipFile(path) as archive:
            self._members: dict[str, list[str]] = {}
            for member in archive.namelist():
                number, _, name = member.partition("/")
                if name not in self._left_out:
                    self._members.setdefault(number, []).append(name)

    def __len__(self) -> int:
        """Return how many feeds there are."""
        return len(self._members)

    def __iter__(self) -> Iterator[Feed]:
        """Yield each feed."""
        with zipfile.ZipFile(self._path) as archive:
            for number, names in self._members.items():
                yield {name: _read(archive, f"{number}/{name}") for name in names}

    def first(self, count: int) -> list[Feed]:
        """Return the first `count` feeds."""
        return [feed for feed, _ in zip(self, range(count), strict=False)]


def _read(archive: zipfile.ZipFile, member: str) -> np.ndarray[Any, Any]:
    with archive.open(member) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
