"""What a measurement holds for: the operator in full, the machine, and the versions.

A kernel's source is part of it: the digest of the schedules stands for their version, so that no
change to them can meet a measurement of before.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ..spec.machine import CpuMachine
from ..spec.sources import sources
from .cache import Key

# Everything that decides what code an operator's description becomes.
SCHEDULES = ("kernels/**/*.py", "spec/**/*.py")


def key_of(choice: str, op: Any, machine: CpuMachine, threads: int, device: str) -> Key:
    """Return the key of `choice` for the operator `op` on so many `threads` of `device`."""
    import tvm

    target = {"isa": machine.isa, "threads": threads, "device": device}
    versions = {"tvm": tvm.__version__, "schedules": sources(*SCHEDULES)}
    parts = [choice, repr(op), repr(machine), target, versions]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return Key(digest, choice, repr(op), json.dumps(target, sort_keys=True))
