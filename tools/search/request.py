"""What is asked of a search, and what its bounds say of a point."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...ir.core.errors import RefusedError
from ...ir.metrics.choose import AUTOMATIC, MetricOptions
from ..trials.clock import Runtime


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Bounds: the most that the metric may lose, how many times as fast, bytes; None: any."""

    max_drop: float | None = None
    speedup: float | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        """Check the bounds; raises RefusedError naming one that makes no sense."""
        if self.max_drop is not None and not 0 <= self.max_drop < 1:
            raise RefusedError(f"max-drop is {self.max_drop}; give a part of 1, such as 0.01")
        if self.speedup is not None and not self.speedup > 0:
            raise RefusedError(f"speedup is {self.speedup}; give a factor above 0, such as 3x")
        if self.size is not None and self.size <= 0:
            raise RefusedError(f"size is {self.size}; give bytes above 0, such as 4MB")
        if self.max_drop is None and self.speedup is None and self.size is None:
            raise RefusedError(
                "nothing bounds the search; give --max-drop 1%, --speedup 3x or --size 4MB"
            )


@dataclass(frozen=True, kw_only=True)
class Request:
    """A budget, seconds to spend, what judges, what runs, and the seed of random choices."""

    budget: Budget
    seconds: float = 1200.0
    metric: MetricOptions = AUTOMATIC
    runtime: Runtime = field(default_factory=Runtime)
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the time; raises RefusedError where there is none."""
        if not self.seconds > 0:
            raise RefusedError(
                f"time is {self.seconds:g} seconds; give what a search may take, such as 20min"
            )
