"""What the machine computes at most on some threads, measured."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from ..compile.kernel import compile_kernel
from ..kernels.amx.peak import MatrixPeak, matrix_peak
from ..kernels.amx.unit import multiplies_tiles
from ..kernels.dot import FLOAT_DOT, Dot, dot_of
from ..kernels.elements import FLOAT
from ..kernels.peak import Peak, peak
from ..runtime.threads import run_on
from ..spec.machine import CpuMachine

_STEPS = 20_000  # a millisecond or less
_SECONDS = 0.3


def measure_peaks(
    machine: CpuMachine, threads: int, dtypes: Iterable[str] = ()
) -> dict[str, float]:
    """Return the operations a second, two for a multiply-add, by the type that is multiplied.

    float32 is among them always, another of `dtypes` where `machine` has an instruction for it. The
    shortest run counts.
    """
    dots = {dtype: dot_of(machine, dtype) for dtype in sorted({*dtypes} - {FLOAT})}
    known = {FLOAT: FLOAT_DOT, **{dtype: dot for dtype, dot in dots.items() if dot is not None}}
    return {dtype: _measured(machine, threads, dot) for dtype, dot in known.items()}


def _measured(machine: CpuMachine, threads: int, dot: Dot) -> float:
    import tvm

    op: Peak | MatrixPeak
    if dot is not FLOAT_DOT and multiplies_tiles(machine, dot.total):
        op = MatrixPeak(threads, _STEPS, dot.total)
        kernel = matrix_peak(op)
    else:
        op = Peak.of(machine, threads, _STEPS, dot)
        kernel = peak(op)
    run = compile_kernel(kernel, machine, threads)["main"]
    given = [tvm.runtime.tensor(np.zeros(*operand)) for operand in op.operands]

    def shortest() -> float:
        found = float("inf")
        until = time.perf_counter() + _SECONDS
        while time.perf_counter() < until:
            before = time.perf_counter()
            run(*given)
            found = min(found, time.perf_counter() - before)
        return found

    return 2 * op.multiply_adds / run_on(threads, shortest)
