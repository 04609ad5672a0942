"""Feeds that can be looped over several times, whatever they came as, in constant memory."""

from __future__ import annotations

import operator
import pickle
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any, Generic, TypeVar

from ..core.errors import FeedError

Feed = TypeVar("Feed")


@contextmanager
def replayable(feeds: Iterable[Feed] | None) -> Iterator[Iterable[Feed] | None]:
    """Give feeds that every loop reads from the start.

    None, a list, or any object that begins anew with every loop, is given back as it is. A
    generator or other iterator, which can be read once, is written to a temporary file as far as it
    is read and replayed from there. The file has no name where the system allows it, and is gone on
    leaving.
    """
    once = None if feeds is None else iter(feeds)
    if once is None or once is not feeds:
        yield feeds
        return
    file = tempfile.TemporaryFile(prefix="planish-feeds-")  # noqa: SIM115
    try:
        yield _Replay(once, file)
    finally:
        # What a full disk did not take is tried once more on closing, and matters to nobody.
        with suppress(OSError):
            file.close()


class _Replay(Generic[Feed]):
    """The items of `source`, kept in `file` from the first time they are read."""

    def __init__(self, source: Iterator[Feed], file: IO[bytes]) -> None:
        self._source, self._file = source, file
        self._count = self._end = 0
        self._exhausted = False
        self._failure: Exception | None = None

    def __iter__(self) -> Iterator[Feed]:
        # Loops may overlap, so each keeps its own place.
        place = 0
        while place < self._end or self._grow():
            self._file.seek(place)
            feed = pickle.load(self._file)
            place = self._file.tell()
            yield feed

    def __length_hint__(self) -> int:
        return self._count if self._exhausted else operator.length_hint(self._source)

    def _grow(self) -> bool:
        """Write one more item to the file; return False where there is none."""
        if self._exhausted:
            return False
        # A generator that failed is at its end, which must not pass for the end of the feeds.
        if self._failure is not None:
            raise self._failure
        try:
            feed = next(self._source)
            self._write(dict(feed) if isinstance(feed, Mapping) else feed)
        except StopIteration:
            self._exhausted = True
            return False
        except Exception as error:
            self._failure = error
            raise
        self._count += 1
        return True

    def _write(self, feed: Any) -> None:
        self._file.seek(self._end)
        try:
            pickle.dump(feed, self._file, protocol=pickle.HIGHEST_PROTOCOL)
            self._file.flush()
        except OSError as error:
            raise FeedError(
                f"feeds that can be read only once are kept in '{tempfile.gettempdir()}', and that "
                f"failed: {error}; give a list or a file of feeds, or set TMPDIR"
            ) from error
        self._end = self._file.tell()
