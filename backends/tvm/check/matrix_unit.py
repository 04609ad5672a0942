"""The matrix unit of AMX, before a process first relies on it: a product of tiles beside numpy's.

What runs are the instructions of all kernels of tiles, on whole numbers, so that no order of sums
gives another result.
"""

from __future__ import annotations

import functools

import ml_dtypes
import numpy as np

from ..compile.kernel import compile_kernel
from ..kernels.amx.peak import MatrixPeak, matrix_peak
from ..runtime.threads import making_code, run_on
from ..spec.amx import turn_off
from ..spec.layout import Array
from ..spec.machine import CpuMachine, runs_here

_STEPS = 3
# Types of the factors, and of their sums.
_FACTORS = (
    (np.dtype(np.uint8), np.dtype(np.int8), "int32"),
    (np.dtype(ml_dtypes.bfloat16), np.dtype(ml_dtypes.bfloat16), "float32"),
)
_MOST = 100  # a whole number that all of them have


def is_trusted(machine: CpuMachine) -> bool:
    """Say whether `machine` runs here and computes right, as far as it has a matrix unit.

    Where that is wrong, AMX is off for the rest of the process, which an AmxOffWarning says.
    """
    if not machine.has("amx_tile") or not runs_here(machine.isa):
        return True
    found = fault_of(machine)
    if found:
        turn_off(found)
    return not found


@functools.cache
def fault_of(machine: CpuMachine) -> str:
    """Return what is wrong with products of tiles on `machine`, which is this one, else ""."""
    for left, right, total in _FACTORS:
        x, w, expected = _drawn(left, right)
        share = np.mean(_product(machine, x, w, total) != expected)
        if share:
            return (
                f"its product of {left} and {right} differs from numpy's in {share:.1%} of the "
                "numbers, which is a fault to report"
            )
    return ""


def _drawn(left: np.dtype[np.generic], right: np.dtype[np.generic]) -> tuple[Array, Array, Array]:
    """Return factors as registers hold them, and what each sum of their products is to be."""
    rng = np.random.default_rng(0)
    width = 4 // left.itemsize
    ends = (0, 255) if left.kind == "u" else (-_MOST, _MOST)
    x = rng.integers(*ends, (16, 16 * width), endpoint=True)
    w = rng.integers(-_MOST, _MOST, (16 * width, 16), endpoint=True)
    beside = w.reshape(16, width, 16).swapaxes(1, 2)
    held = [np.ascontiguousarray(a.astype(t)) for a, t in ((x, left), (beside, right))]
    x_held, w_held = (one.reshape(16, -1).view(np.int32) for one in held)
    return x_held, w_held, _STEPS * (x @ w)


def _product(machine: CpuMachine, x: Array, w: Array, total: str) -> Array:
    import tvm

    op = MatrixPeak(threads=1, steps=_STEPS, total=total)
    with making_code:
        run = compile_kernel(matrix_peak(op), machine, 1)["main"]
    *_, (shape, dtype) = op.operands
    given = [tvm.runtime.tensor(values) for values in (x, w, np.zeros(shape, dtype))]
    run_on(1, lambda: run(*given))
    sums: Array = given[-1].numpy()
    return sums
