"""Kernels built alone, and timed side by side on random data."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from ..spec.machine import CpuMachine

# Runs in one turn of a kernel; the caches are emptied before each.
_RUNS = 4


def operands(kernel: Any, device: Any, seed: int) -> list[Any]:
    """Return random operands of `kernel` on `device`, one image where their number is free."""
    import tvm

    generator = np.random.default_rng(seed)
    found = []
    for buffer in kernel.params:
        shape = [int(s) if isinstance(s, tvm.tirx.IntImm) else 1 for s in buffer.shape]
        dtype = str(buffer.dtype)
        if dtype.startswith(("int", "uint")):
            values = generator.integers(0, 100, shape).astype(dtype)
        else:
            # Never denormal, which would be slow where the network's numbers are not.
            values = generator.uniform(0.5, 1.0, shape).astype(dtype)
        found.append(tvm.runtime.tensor(values, device))
    return found


class TimingBench:
    """A timing bench: kernels that are ready on a device, `load` having made modules of them."""

    def __init__(
        self, load: Callable[[Any], Any], device: Any, machine: CpuMachine, seed: int
    ) -> None:
        self._load = load
        self._device = device
        self._machine = machine
        self._seed = seed
        self._ready: dict[int, Callable[[], list[float]]] = {}
        self._operands: dict[str, list[Any]] = {}

    def add(self, index: int, kernel: Any) -> None:
        """Make `kernel` ready and run it once."""
        module = self._load(kernel)
        signature = str([(buffer.shape, buffer.dtype) for buffer in kernel.params])
        if signature not in self._operands:  # weights are large, and most candidates read the same
            self._operands[signature] = operands(kernel, self._device, self._seed)
        arguments = self._operands[signature]
        timer = module.time_evaluator(
            "main",
            self._device,
            number=1,
            repeat=_RUNS,
            # In a network a kernel's weights have made way for those of all other layers, and what
            # is fastest with weights at hand is not what is fastest without.
            cache_flush_bytes=2 * self._machine.l2,
        )
        timer(*arguments)
        self._ready[index] = lambda: list(timer(*arguments).results)

    def times(self, rounds: int) -> dict[int, float]:
        """Return the usual seconds of each, from `rounds` in which each has its turn.

        The order is shuffled anew. What else the machine does makes a run longer, never shorter,
        so that usual is the first fifth.
        """
        generator = random.Random(self._seed)
        order = list(self._ready)
        found: dict[int, list[float]] = {index: [] for index in order}
        for _ in range(rounds):
            generator.shuffle(order)
            for index in order:
                found[index] += self._ready[index]()
        return {index: float(np.percentile(times, 20)) for index, times in found.items()}


def line_of(error: Exception) -> str:
    """Return the last line of what `error` says, or its kind."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
