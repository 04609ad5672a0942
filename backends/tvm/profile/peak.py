"""What the machine computes at most on some threads, measured."""

from __future__ import annotations

import time

import numpy as np

from ..compile.kernel import compile_kernel
from ..kernels.elements import FLOAT
from ..kernels.peak import Peak, peak
from ..spec.machine import CpuMachine

_STEPS = 20_000  # a millisecond or less
_SECONDS = 0.3


def measure_peaks(machine: CpuMachine, threads: int) -> dict[str, float]:
    """Return the operations a second, two for a multiply-add, by the type that is multiplied.

    The pool of this thread has to have so many threads. The shortest run counts.
    """
    import tvm

    op = Peak.of(machine, threads, _STEPS)
    run = compile_kernel(peak(op), machine, threads)["main"]
    factors = tvm.runtime.tensor(np.full((2, op.lanes), 0.5, FLOAT))
    sums = tvm.runtime.tensor(np.zeros((threads, op.sums, op.lanes), FLOAT))
    shortest = float("inf")
    until = time.perf_counter() + _SECONDS
    while time.perf_counter() < until:
        before = time.perf_counter()
        run(factors, sums)
        shortest = min(shortest, time.perf_counter() - before)
    return {FLOAT: 2 * op.multiply_adds / shortest}
