"""What a quantized graph must keep of the float one, and how well one does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .....ir.core.errors import RefusedError
from .....ir.metrics.result import TOLERABLE, MetricResult
from .wording import INTEGERS


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """How close to the float graph a choice comes, over `samples` samples.

    `sqnr_db`: of the worst output, NaN where none holds floats. `metrics`: what the outputs are
    judged by, one result each or for several together; `top1`: top-1 agreement of the outputs that
    have classes. `noise`: noise power over signal power, summed over outputs. `beside_given`:
    `metrics` compare with the graph that the pipeline was given, the rest with the float graph that
    integers are made of, which other passes may have changed.
    """

    sqnr_db: float
    metrics: tuple[MetricResult, ...]
    top1: tuple[MetricResult, ...]
    noise: float
    samples: int
    beside_given: bool = False
    before: str = INTEGERS.before

    @property
    def is_known(self) -> bool:
        """Whether any output was judged, by a metric or by its error."""
        return bool(self.metrics) or not math.isnan(self.sqnr_db)

    def __str__(self) -> str:
        """Write it for people: `SQNR 24.1 dB beside the float graph before integers`."""
        noise = [] if math.isnan(self.sqnr_db) else [f"SQNR {self.sqnr_db:.1f} dB"]
        metrics = [str(result) for result in self.metrics if result.name != "SQNR"]
        top1 = [text for text in map(str, self.top1) if text not in metrics]
        if not (self.beside_given and metrics):
            return _beside([*noise, *metrics, *top1], self.before)
        return "; ".join(
            filter(
                None,
                (
                    _beside([*noise, *top1], self.before),
                    _beside(metrics, "the graph that the pipeline was given"),
                ),
            )
        )


def _beside(shown: Sequence[str], reference: str) -> str:
    return f"{', '.join(dict.fromkeys(shown))} beside {reference}" if shown else ""


@dataclass(frozen=True)
class AccuracyBounds:
    """What is asked for; None: anything.

    The least top-1 agreement (0 to 1) and signal-to-noise ratio (dB), and the most that the metric
    of each output may lose (a part of 1). `is_guard`: nobody asked; each metric says what may be
    lost of it, up to `max_drop`, and an output that none fits is judged by its error.
    """

    top1_agreement: float | None = None
    sqnr: float | None = None
    max_drop: float | None = None
    is_guard: bool = False

    def __post_init__(self) -> None:
        least, most = self.top1_agreement, self.max_drop
        if least is not None and not 0 < least <= 1:
            raise RefusedError(
                f"min-top1-agreement is {least}; give a share above 0 and up to 1, such as 0.99"
            )
        if self.sqnr is not None and not math.isfinite(self.sqnr):
            raise RefusedError(f"min-sqnr is {self.sqnr}; give dB, such as 25")
        if most is not None and not 0 <= most < 1:
            raise RefusedError(f"max-drop is {most}; give a part of 1, such as 0.01 for 1 %")

    def __bool__(self) -> bool:
        """Say whether anything is asked for."""
        return any(each is not None for each in (self.top1_agreement, self.sqnr, self.max_drop))

    def __str__(self) -> str:
        """Write the bounds as options."""
        if self.is_guard:
            return "the guard"
        asked = (
            ("min-top1-agreement", self.top1_agreement),
            ("min-sqnr", self.sqnr),
            ("max-drop", self.max_drop),
        )
        return ", ".join(f"{name}={value:g}" for name, value in asked if value is not None)

    def told(self, found: Accuracy) -> str:
        """Write the bounds as they are for what `found` is judged by."""
        if not self.is_guard:
            return str(self)
        most = [self.allowed(result) for result in found.metrics]
        return f"{self} of {100 * (1 - min(most, default=TOLERABLE)):g} %"

    def allowed(self, result: MetricResult) -> float:
        """Return the part of 1 that the metric of `result` may lose."""
        most = 1.0 if self.max_drop is None else self.max_drop
        return min(most, result.tolerable) if self.is_guard else most

    def hold(self, found: Accuracy) -> bool:
        """Say whether `found` keeps them: as counted, and as margins let expect.

        Raises RefusedError where agreement is asked of outputs without classes.
        """
        if self.sqnr is not None and math.isnan(found.sqnr_db):
            raise RefusedError(
                "min-sqnr needs an output of floats, which the graph does not have; use max-drop"
            )
        if self.sqnr is not None and not found.sqnr_db >= self.sqnr:
            return False
        return self._holds_top1(found) and self._holds_drop(found)

    def _holds_top1(self, found: Accuracy) -> bool:
        least = self.top1_agreement
        if least is None:
            return True
        if not found.top1:
            raise RefusedError(
                "min-top1-agreement needs an output with classes, and none is known to have them; "
                "say with class-axis where they are, or use min-sqnr or max-drop"
            )
        return all(r.value >= least and _foretold(r, 1 - least) >= least for r in found.top1)

    def _holds_drop(self, found: Accuracy) -> bool:
        if self.max_drop is None:
            return True
        if not found.metrics and not self.is_guard:
            raise RefusedError(
                "max-drop needs an output that a metric can judge, of floats or of indices of "
                "classes, which the graph does not have; give a function of your own as metric"
            )
        return all(self._keeps(result, self.allowed(result)) for result in found.metrics)

    def _keeps(self, result: MetricResult, most: float) -> bool:
        counted = max(most, _one_flip(result)) if self.is_guard else most
        return result.drop <= counted + _ROUNDING and 1 - _foretold(result, most) <= most


# With fewer samples one that flips is told from luck by nothing.
_LEAST_SAMPLES = 8
# Of a mean of shares.
_ROUNDING = 1e-9

# At most a tenth of the metric: 90 %, or 20 dB of what no metric but the error itself judges.
GUARD = AccuracyBounds(max_drop=TOLERABLE, is_guard=True)


def _one_flip(result: MetricResult) -> float:
    """Return what one sample that comes out otherwise takes away, 0 where no margins are known.

    Of few samples one is more than may be lost, and says less of others than all margins do.
    """
    known = result.expected is not None and result.samples >= _LEAST_SAMPLES
    return 1 / result.samples if known else 0.0


def _foretold(result: MetricResult, most: float) -> float:
    """Return the agreement that margins foretell, 1 where they cannot.

    Where nothing may be lost (`most` 0) no noise at all would do; that nothing flipped is then what
    can be asked.
    """
    return 1.0 if result.expected is None or not most else result.expected
