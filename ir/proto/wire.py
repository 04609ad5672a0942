"""Protobuf's wire format, as far as a model is taken apart without parsing it.

A message is a run of fields: a key, 8 times the number of the field plus its kind, and the value.
(Protocol Buffers documentation, "Encoding".)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_BYTES = 10  # of a number
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}


class Field(NamedTuple):
    """A field of a message: from `start` to `end`, its value from `value` on."""

    number: int
    start: int
    value: int
    end: int
    is_bytes: bool


def fields(data: memoryview, start: int, end: int) -> Iterator[Field]:
    """Yield the fields of the message that lies in `data` from `start` to `end`.

    Raises ValueError where that is none.
    """
    while start < end:
        key, value = _number(data, start, end)
        if key < 8:  # else a file of zeros has a field every two bytes
            raise ValueError("a field without a number")
        kind = key & 7
        if kind == _BYTES:
            size, value = _number(data, value, end)
            stop = value + size
        elif kind == _VARINT:
            stop = _number(data, value, end)[1]
        elif kind in _WIDTHS:
            stop = value + _WIDTHS[kind]
        else:
            raise ValueError(f"a field of kind {kind}")
        if stop > end:
            raise ValueError("a field that goes on behind its message")
        yield Field(key >> 3, start, value, stop, kind == _BYTES)
        start = stop


def bytes_field(number: int, size: int) -> bytes:
    """Return what stands before `size` bytes that are the value of field `number`."""
    return _written(number << 3 | _BYTES) + _written(size)


def _number(data: memoryview, at: int, end: int) -> tuple[int, int]:
    """Return the number that begins at `at`, in groups of seven bits, and where it ends."""
    first = data[at] if at < end else 128
    if first < 128:
        return first, at + 1
    found = 0
    for place in range(at, min(at + _MOST_BYTES, end)):
        found |= (data[place] & 127) << 7 * (place - at)
        if data[place] < 128:
            return found, place + 1
    raise ValueError("a number without an end")


def _written(number: int) -> bytes:
    groups = bytearray()
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    groups.append(number)
    return bytes(groups)
