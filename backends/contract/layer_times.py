"""Where the time of a run goes, layer by layer, beside what the machine can do at most.

    share of the peak = 2 * multiply-adds / seconds / peak

A layer is what a backend runs as one kernel. The peak is measured in the same run, on as many
threads: on TVM with a kernel that does nothing but multiply and add in registers, so that no layer
can do better; on ONNX Runtime with its own product of large matrices.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...ir.core.counted import counted
from ...ir.core.shown import Shown, Summary


@dataclass(frozen=True, kw_only=True)
class LayerTime:
    """One kernel of a run: `nodes` are those of the lowered graph that it computes.

    `multiply_adds` counts those of the operator's definition, 0 where it only moves or compares;
    `dtype` is what it multiplies. `direct` is False where an algorithm with fewer operations than
    the definition has was taken, so that the rate may be above the peak. `operators` are those that
    it computes, and `shape` that of its first output, as far as the backend says so.
    """

    kernel: str
    nodes: tuple[str, ...]
    seconds: float
    multiply_adds: int
    dtype: str = "float32"
    direct: bool = True
    operators: tuple[str, ...] = ()
    shape: tuple[int | str | None, ...] | None = None

    @property
    def rate(self) -> float | None:
        """Operations a second, two for a multiply-add; None where there are none."""
        return 2 * self.multiply_adds / self.seconds if self.multiply_adds else None


@dataclass(frozen=True, repr=False)
class LayerTimes(Shown):
    """The kernels of a run in their order, in seconds that are usual for each.

    `peaks`: operations a second that the machine reaches, by element type. `rest`: what the runtime
    needs between kernels. `whole`: one run without a stopwatch in it.
    """

    layers: tuple[LayerTime, ...]
    peaks: dict[str, float]
    rest: float
    whole: float

    @property
    def total(self) -> float:
        """The seconds of all layers and of what is between them."""
        return sum(layer.seconds for layer in self.layers) + self.rest

    def of_peak(self, layer: LayerTime) -> float | None:
        """Return the part of the peak that `layer` reaches, None where that says nothing."""
        peak = self.peaks.get(layer.dtype)
        return None if layer.rate is None or not peak else layer.rate / peak

    def _summary(self) -> Summary:
        slowest = sorted(self.layers, key=lambda layer: -layer.seconds)
        rows = [(layer.kernel, f"{1e3 * layer.seconds:.3g} ms") for layer in slowest]
        line = f"{counted(len(self.layers), 'kernel')}, {1e3 * self.whole:.3g} ms a run"
        return Summary(line, rows, ("kernel", "time"))


def usual_seconds(run: Callable[[], object], rounds: int) -> float:
    """Return the first fifth of the seconds of `rounds` runs."""
    found = []
    for _ in range(rounds):
        before = time.perf_counter()
        run()
        found.append(time.perf_counter() - before)
    return float(np.percentile(found, 20))
