"""What went wrong in passes and was rolled back, as a run shows it at its end."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ...ir.core.counted import counted
from ...passes.engine.records import Failure

_MOST_SITES = 3


def failure_lines(failures: Sequence[Failure]) -> list[str]:
    """Return what was rolled back, how to see it again, and where to report it; [] for nothing.

    Sites that share a reproducer share its lines; of many such sites the first ones are shown.
    """
    lines: list[str] = []
    for _, group in itertools.groupby(failures, key=lambda failure: failure.reproducer):
        found = list(group)
        lines += ["", *(f"warning: {failure}" for failure in found[:_MOST_SITES])]
        if len(found) > _MOST_SITES:
            lines.append(f"  and at {counted(len(found) - _MOST_SITES, 'more site')}")
        lines += [f"  reproduce with: {found[0].command}", f"  {found[0].report}"]
    if lines:
        lines += ["", "the rest of the run is not affected; --strict makes an error of it"]
    return lines
