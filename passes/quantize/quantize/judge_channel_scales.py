"""Whether scales of channels help at the outputs, on samples that they were not made of.

gain = mean over parts f of  10 log10( noise(f, without) / noise(f, scales of the others) )
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection

from ...engine.context import Feeds, Report, report_nothing
from ..extremes import PARTS
from .mixed_precision.evaluator import ChoiceEvaluator
from .mixed_precision.steps import MeasuredSteps
from .variants import QuantizedVariants

# So many of the parts are looked at, of at most so many samples each.
_JUDGED = 4
_MOST_SAMPLES = 8
_TINY = 1e-300


def decibels_gained(
    variants: QuantizedVariants,
    chosen: Collection[str],
    feeds: Feeds,
    report: Report = report_nothing,
) -> float:
    """Return what the outputs of `chosen` on integers gain by the scales of `variants`, in dB.

    Feeds count as samples: in larger batches a part has samples of others too.
    """
    without = variants.with_scales({})
    gains = []
    steps = MeasuredSteps(report)
    steps.begin(2 * _JUDGED, "scales of channels, on samples held back")
    for part in range(_JUDGED):
        most = _MOST_SAMPLES * PARTS
        own = list(itertools.islice(itertools.islice(iter(feeds), most), part, None, PARTS))
        if not own:
            break
        others = {name: one.of_others[part] for name, one in variants.scales.items()}
        noise = [
            ChoiceEvaluator(each, own, progress=steps).measure(chosen, len(own)).noise
            for each in (without, variants.with_scales(others))
        ]
        gains.append(10 * math.log10(max(noise[0], _TINY) / max(noise[1], _TINY)))
    return sum(gains) / len(gains) if gains else 0.0
