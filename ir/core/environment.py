"""How environment variables are read that switch something off, or say where it is kept."""

from __future__ import annotations

import os
from pathlib import Path

_OFF = frozenset({"0", "false", "no", "off"})
_ON = frozenset({"1", "on", "true", "yes"})


def is_off(variable: str) -> bool:
    """Say whether `variable` is 0, false, no or off, in whatever case."""
    return _word(variable) in _OFF


def named_place(variable: str) -> Path | None:
    """Return the place that `variable` names; None where it is not set, empty, or just a switch."""
    word = _word(variable)
    return None if not word or word in _OFF | _ON else Path(os.environ[variable])


def _word(variable: str) -> str:
    return os.environ.get(variable, "").strip().lower()
