"""How many cores other programs have kept busy for a while.

    cores = (busy time of the machine - time of this process and its children) / wall time

From `/proc/stat` of Linux; elsewhere the load average of the last minute is all there is.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

# Of a core, from which on times are longer than they were on an idle machine.
NOTICED = 0.3
_STAT = Path("/proc/stat")
# Of user, nice, system, idle, iowait, irq, softirq, steal: what is no work.
_IDLE = (3, 4)
_COUNTED = 8


class OtherLoad:
    """Watches from when it is made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._busy = _busy_seconds()
        self._own = _own_seconds()

    def cores(self) -> float | None:
        """Return the cores that others have used since, on average; None where none can tell."""
        if self._busy is None:
            return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        busy, wall = _busy_seconds(), time.perf_counter() - self._started
        if busy is None or wall <= 0:
            return None
        others = (busy - self._busy) - (_own_seconds() - self._own)
        return max(0.0, others / wall)


def _busy_seconds() -> float | None:
    try:
        fields = _STAT.read_text(encoding="ascii").split("\n", 1)[0].split()[1 : _COUNTED + 1]
        ticks = sum(int(field) for place, field in enumerate(fields) if place not in _IDLE)
    except (OSError, ValueError):
        return None
    return ticks / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system
