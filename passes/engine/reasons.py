"""Why sites were left alone, in one line."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from ...ir.core.counted import counted
from .context import Decline

# What tells one site from another in reasons that are the same otherwise: names and numbers.
_OWN = re.compile(r"'[^']*'|\d[\d.]*(?:e[+-]?\d+)?")


def reasons_in_short(declined: Iterable[Decline]) -> str:
    """Return the most frequent of the reasons and the number of others; empty without any.

    Reasons that differ in names and numbers alone are one, and told by the first of them.
    """
    alike: dict[str, list[str]] = defaultdict(list)
    for each in declined:
        alike[_OWN.sub("#", each.reason)].append(each.reason)
    if not alike:
        return ""
    most = max(alike.values(), key=len)
    such = "" if len(set(most)) == 1 else "such as "
    others = f", and {counted(len(alike) - 1, 'other reason')}" if len(alike) > 1 else ""
    sites = counted(sum(map(len, alike.values())), "site")
    return f"of {sites}, at {len(most)} {such}{most[0]}{others}"
