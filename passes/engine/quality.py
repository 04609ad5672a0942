"""What a pass has measured of the graph that it leaves."""

from __future__ import annotations

from dataclasses import dataclass

from ...ir.metrics.result import MetricResult


@dataclass(frozen=True)
class MeasuredQuality:
    """How good a graph is, as far as the pass that made it found out.

    `metrics`: how well the outputs keep what they mean, on all samples that the pass was given.
    `speedup`: how many times as fast as before the graph is on the target; None: not measured.
    """

    metrics: tuple[MetricResult, ...] = ()
    speedup: float | None = None
