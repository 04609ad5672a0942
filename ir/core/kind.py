"""What somebody handed over, as a message names it."""

from __future__ import annotations

_SPOKEN_WITH_A_VOWEL = ("ndarray",)


def kind_of(given: object) -> str:
    """Return `an int`, `a list`, `an ndarray`: the type of `given` with its article, or `None`."""
    if given is None:
        return "None"
    name = type(given).__name__
    vowel = name[:1].lower() in "aeio" or name in _SPOKEN_WITH_A_VOWEL
    return f"{'an' if vowel else 'a'} {name}"
