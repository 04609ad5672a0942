"""Factors, sizes and times as people write them on a command line."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from .errors import RefusedError

_NUMBER = re.compile(r"\s*([0-9.]+(?:e[+-]?\d+)?)\s*([A-Za-z]*)\s*")
_FACTORS = {"": 1.0, "x": 1.0}
_BYTES = {
    "": 1.0,
    "b": 1.0,
    **{f"{prefix}b": 1e3**power for power, prefix in enumerate("kmg", 1)},
    **{f"{prefix}ib": 1024.0**power for power, prefix in enumerate("kmg", 1)},
}
_SECONDS = {
    "": 1.0,
    **dict.fromkeys(("s", "sec"), 1.0),
    **dict.fromkeys(("min", "m"), 60.0),
    **dict.fromkeys(("h", "hours"), 3600.0),
}


def read_factor(text: str, option: str) -> float:
    """Return the factor that `3x` or 3 is; raises RefusedError where it is neither."""
    return _read(text, option, _FACTORS, "a factor, `3x`")


def read_bytes(text: str, option: str) -> int:
    """Return the bytes that `4MB`, `512kB` or `4MiB` are; raises RefusedError for another text."""
    return round(_read(text, option, _BYTES, "a size, `4MB` or `512kB`"))


def is_bytes(text: str) -> bool:
    """Say whether `text` is a size with its unit, such as `4MB`."""
    found = _NUMBER.fullmatch(text)
    return found is not None and bool(found[2]) and found[2].lower() in _BYTES


def read_seconds(text: str, option: str) -> float:
    """Return the seconds that `20min`, `90s` or `1h` are; raises RefusedError for another text."""
    return _read(text, option, _SECONDS, "a time, `20min`, `90s` or `1h`")


def _read(text: str, option: str, units: Mapping[str, float], what: str) -> float:
    found = _NUMBER.fullmatch(text)
    unit = None if found is None else units.get(found[2].lower())
    try:
        number = float(found[1]) if found is not None else None
    except ValueError:
        number = None
    if unit is None or number is None or not math.isfinite(number * unit):
        raise RefusedError(f"{option} is '{text}'; give {what}")
    return number * unit
