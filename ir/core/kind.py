"""What somebody handed over, as a message names it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_SPOKEN_WITH_A_VOWEL = ("ndarray",)


def kind_of(given: object) -> str:
    """Return `an int`, `a list`, `an ndarray`: the type of `given` with its article, or `None`."""
    if given is None:
        return "None"
    name = type(given).__name__
    vowel = name[:1].lower() in "aeio" or name in _SPOKEN_WITH_A_VOWEL
    return f"{'an' if vowel else 'a'} {name}"


def type_of_values(dtype: np.dtype[Any]) -> str:
    """Return `float32`, or another, with the order of bytes if it is not this machine's."""
    order = "big" if dtype.byteorder == ">" else "little"
    return dtype.name if dtype.isnative else f"{dtype.name} in {order}-endian byte order"
