"""What may have been meant by an unknown name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Names in an error, of which a graph may have thousands.
_MOST_LISTED = 100


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean ...?)` with the closest of `known`, or a list of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f" (did you mean '{close[0]}'?)"
    more = len(known) - _MOST_LISTED
    rest = f" and {more} more" if more > 0 else ""
    return f"; known are {', '.join(known[:_MOST_LISTED])}{rest}" if known else ""
