"""What runs on integers: what is fast there, close enough, and worth its error."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ....ir.core.counted import counted
from ....ir.graph.view import View
from ....ir.metrics.choose import AUTOMATIC, MetricOptions
from ...engine.context import Context, Feeds
from ...engine.stopwatch import find_profiler, find_repeated_stopwatch
from ..qdq.units import Unit
from .channel_scales.find import borders_of, find_channel_scales
from .choose_by_latency import (
    LEAST_GAIN,
    LatencyChooser,
    is_worthwhile,
    kinds_of,
    weightless,
)
from .judge_channel_scales import decibels_gained
from .mixed_precision.bounds import AccuracyBounds
from .mixed_precision.choose import MixedPrecision
from .variants import QuantizedVariants


@dataclass(frozen=True, kw_only=True)
class UnitSelection:
    """The steps that leave nodes of a choice in float; each returns what is left, and remarks.

    `measured`: ask the target for times; otherwise count operations. `options`: the metric that
    bounds speak of.
    """

    variants: QuantizedVariants
    units: Sequence[Unit]
    feeds: Feeds
    context: Context
    measured: bool
    options: MetricOptions = AUTOMATIC

    def without_slow(self, chosen: frozenset[str]) -> frozenset[str]:
        """Leave out the kinds of operators that are faster in float."""
        chooser = self._chooser()
        if chooser is None:
            return chosen
        view = self._view()
        light = weightless(self.units, view)
        found, dropped = chooser.drop_slow_kinds(kinds_of(self.units, view), light)
        for kind in dropped:
            why = "not slower" if kind in light else "faster"
            self.context.remark(f"{kind} stays float, which is {why} on {self.context.target}")
        return found

    def with_channel_scales(self, chosen: frozenset[str]) -> UnitSelection:
        """Give channels scales of their own where `chosen`, or some of them, end in floats."""
        own = self.variants
        scales = find_channel_scales(
            own.reference,
            chosen,
            own.ranges,
            own.scheme,
            self.feeds,
            own.left_out,
            self.context.progress,
        )
        return replace(self, variants=own.with_scales(scales))

    def has_borders(self, chosen: frozenset[str]) -> bool:
        """Say whether convolutions among `chosen` give something to floats alone."""
        own = self.variants
        return bool(borders_of(own.reference, chosen, own.ranges, own.left_out))

    def judged_by_outputs(self, chosen: frozenset[str]) -> UnitSelection:
        """Keep the scales of channels where the outputs of `chosen` gain on samples held back."""
        own = self.variants
        ends = borders_of(own.reference, chosen, own.ranges, own.left_out) & own.scales.keys()
        without = own.with_scales({})
        if not ends:
            return replace(self, variants=without)
        gain = decibels_gained(own, chosen, self.feeds, self.context.progress)
        if gain <= 0:
            return replace(self, variants=without)
        self.context.remark(
            f"{counted(len(ends), 'layer gives', 'layers give')} floats with a scale for each "
            f"channel: {gain:.1f} dB at the outputs, on samples held back"
        )
        return self

    def keeps(self, chosen: frozenset[str], bounds: AccuracyBounds) -> bool:
        """Say whether all of `chosen` on integers keep `bounds`."""
        return self._mixed(bounds).keeps(self.units, chosen)

    def within(self, chosen: frozenset[str], bounds: AccuracyBounds) -> frozenset[str]:
        """Leave out what it takes to keep `bounds`; everything where they cannot be kept."""
        return self._mixed(bounds).choose(self.units, chosen)

    def give_back(self, chosen: frozenset[str], share: float) -> frozenset[str]:
        """Leave out the most sensitive layers, for at most `share` of the time that is saved."""
        return self._mixed(AccuracyBounds()).give_back(self.units, chosen, share)

    def is_faster(self, chosen: frozenset[str]) -> bool:
        """Say whether `chosen` on integers beats the float graph, as far as that is measured."""
        chooser = self._chooser()
        if chooser is None:
            return True
        time, target = chooser.time(chosen), self.context.target
        if is_worthwhile(time):
            self.context.tell_quality(speedup=1 / time.ratio)
            self.context.remark(
                f"{1 / time.ratio:.2f} times as fast as float on {target} ({1 / time.high:.2f} to "
                f"{1 / time.low:.2f} with 95 % confidence, {time.measurements} measurements)"
            )
            return True
        known = "" if time.low > 1 else ", which does not tell them apart"
        if time.high < 1:
            known = f", less than {100 * LEAST_GAIN:g} % faster for sure"
        self.context.go_back(
            f"the graph stays float: on integers it takes {time.ratio:.2f} times as long on "
            f"{target}, {time.low:.2f} to {time.high:.2f} with 95 % confidence{known} "
            "(measure=false quantizes it anyway)"
        )
        return False

    def _chooser(self) -> LatencyChooser | None:
        if not self.measured:
            return None
        target = self.context.target
        stopwatch = find_repeated_stopwatch(target)
        if stopwatch is None:
            text = f"latency was not measured: no backend times target '{target}'"
            if text not in self.context.remarks:
                self.context.remark(text)
            return None
        feed: Mapping[str, np.ndarray[Any, Any]] = next(iter(itertools.islice(self.feeds, 1)))
        return LatencyChooser(self.variants, stopwatch, feed, target, self.context.seed)

    def _mixed(self, bounds: AccuracyBounds) -> MixedPrecision:
        profiler = find_profiler(self.context.target) if self.measured else None
        labelled = self.context.labelled if self.options.labels else None
        return MixedPrecision(
            variants=self.variants,
            bounds=bounds,
            options=self.options,
            feeds=self.feeds,
            judged=self.feeds if labelled is None else labelled,
            context=self.context,
            view=self._view(),
            profiler=profiler,
        )

    def _view(self) -> View:
        return self.context.view()
