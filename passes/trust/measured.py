"""What a run that is not exact has kept, in one line, and a warning where that is next to nothing.

measured: SQNR 21.4 dB (y), 28.5 dB (z); top-1 agreement 97.7 % on 64 samples; 2.19 times as fast
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...ir.core.counted import counted
from ...ir.metrics.result import MetricResult
from ...ir.run.comparison import Comparison
from ...ir.run.distance import OutputComparison
from ..engine.quality import MeasuredQuality

# Below it, noise has a tenth of the signal's power: an output is hardly the same.
_LEAST_DB = 10.0
_MOST_OUTPUTS = 6


def measured_parts(comparison: Comparison, quality: MeasuredQuality) -> list[str]:
    """Return what was measured: SQNR by output, the metrics, how many times as fast."""
    metrics = quality.metrics or _sure(comparison)
    told = [output for output in comparison.outputs if not output.is_untold]
    floats = [output for output in told if output.is_float]
    parts = [_ratios(floats) + _part(comparison)] if floats else []
    parts += [*map(_kept, (each for each in told if not each.is_float))]
    parts += _metrics(metrics)
    if quality.speedup is not None:
        parts.append(f"{quality.speedup:.2f} times as fast as before")
    return parts


def nearly_noise(comparison: Comparison) -> list[OutputComparison]:
    """Return the outputs of floats of which less than 10 dB is left."""
    return [each for each in comparison.outputs if each.is_float and each.sqnr_db < _LEAST_DB]


def noise_warning(comparison: Comparison, *, drawn: bool) -> str:
    """Ask what may be wrong where an output is nearly noise; "" where none is.

    `drawn`: there were no feeds, and inputs were drawn.
    """
    worst = sorted(nearly_noise(comparison), key=lambda output: output.sqnr_db)
    if not worst:
        return ""
    more = f" and {counted(len(worst) - 1, 'other output')}" if len(worst) > 1 else ""
    asked = "inputs were drawn at random: give real samples with --feeds"
    if not drawn:
        asked = "are scale and mean of the feeds right (--pixels, --mean, --std)?"
    return f"output '{worst[0].name}' is at {_db(worst[0])}{more}, nearly noise; {asked}"


def _ratios(outputs: Sequence[OutputComparison]) -> str:
    """Write the SQNR of each output, of many the worst ones."""
    if len(outputs) == 1:
        return f"SQNR {_db(outputs[0])}"
    shown = outputs
    if len(outputs) > _MOST_OUTPUTS:
        shown = sorted(outputs, key=lambda output: output.sqnr_db)[:_MOST_OUTPUTS]
    text = ", ".join(f"{_db(output)} ({output.name})" for output in shown)
    left = len(outputs) - len(shown)
    return f"SQNR {text}" + (f", and no less of {counted(left, 'more output')}" if left else "")


def _part(comparison: Comparison) -> str:
    """Say on how many feeds it was measured, where there are more."""
    if comparison.feeds == comparison.of_feeds:
        return ""
    if comparison.of_feeds is None:
        return f" on the first {comparison.feeds} feeds"
    return f" on {comparison.feeds} of {comparison.of_feeds} feeds"


def _kept(output: OutputComparison) -> str:
    """Say of an output of indices, flags or text whether it is what it was."""
    return f"{output.name} is {'the same' if output.max_abs == 0 else 'another'}"


def _db(output: OutputComparison) -> str:
    if output.sqnr_db == math.inf:
        return "exact"
    if output.sqnr_db == -math.inf:
        return "nothing alike"
    return f"{output.sqnr_db:.1f} dB"


def _sure(comparison: Comparison) -> tuple[MetricResult, ...]:
    if not comparison.chosen:
        return comparison.metrics
    pairs = enumerate(zip(comparison.chosen, comparison.metrics, strict=True))
    return tuple(
        result for at, (chosen, result) in pairs if chosen.is_sure and comparison.is_told(at)
    )


def _metrics(results: Sequence[MetricResult]) -> list[str]:
    telling = [result for result in results if result.name != "SQNR"]
    return [_metric(result, alone=len(telling) == 1) for result in telling]


def _metric(result: MetricResult, *, alone: bool) -> str:
    of = f" on {counted(result.samples, 'sample')}" if result.samples else ""
    return f"{result.name if alone else result.what} {result.shown()}{of}"
