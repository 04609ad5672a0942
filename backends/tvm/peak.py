"""What the machine computes at most: multiply-adds in registers, measured on the same threads.

    acc_i = acc_i * a + b,    i < accumulators

There are as many sums in flight as registers hold, more than the latency of a multiply-add asks
for, and nothing is loaded in the loop.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from .machine import Machine
from .schedules.nest import FLOAT, loops

_STEPS = 20_000  # of one thread in a run: a millisecond or less
_SPARE = 4  # registers for the factors and for what the compiler wants
_SECONDS = 0.3


def measure_peaks(machine: Machine, threads: int) -> dict[str, float]:
    """Return the operations a second, two for a multiply-add, by the type that is multiplied."""
    import tvm

    from .tuning.timing import compiled

    module = compiled(_kernel(machine, threads), machine, threads)
    sums = machine.registers - _SPARE
    operands = [
        tvm.runtime.tensor(np.full(shape, value, FLOAT))
        for shape, value in (((2, machine.lanes), 0.5), ((threads, sums, machine.lanes), 0.0))
    ]
    run = module["main"]
    shortest = float("inf")
    until = time.perf_counter() + _SECONDS
    while time.perf_counter() < until:
        before = time.perf_counter()
        run(*operands)
        shortest = min(shortest, time.perf_counter() - before)
    return {FLOAT: 2.0 * threads * sums * machine.lanes * _STEPS / shortest}


def _kernel(machine: Machine, threads: int) -> Any:
    """Return the function (factor and summand, results of each thread)."""
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script.builder import ir as T

    lanes, sums = machine.lanes, machine.registers - _SPARE
    with IRBuilder() as builder:
        with T.prim_func(s_tir=True):
            T.func_name("peak")
            T.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True})
            given = T.arg("A", T.buffer((2, lanes), FLOAT))
            y = T.arg("Y", T.buffer((threads, sums, lanes), FLOAT))
            with T.sblock("root"), T.parallel(0, threads) as thread:
                held = T.alloc_buffer((sums * lanes,), FLOAT, scope="local")
                with loops(sums, kind="unroll") as (i,), T.vectorized(0, lanes) as lane:
                    T.buffer_store(held, y[thread, i, lane], [i * lanes + lane])
                with T.serial(0, _STEPS), loops(sums, kind="unroll") as (i,):
                    with T.vectorized(0, lanes) as lane:
                        here = i * lanes + lane
                        T.buffer_store(held, held[here] * given[0, lane] + given[1, lane], [here])
                with loops(sums, kind="unroll") as (i,), T.vectorized(0, lanes) as lane:
                    T.buffer_store(y, held[i * lanes + lane], [thread, i, lane])
        return builder.get()
