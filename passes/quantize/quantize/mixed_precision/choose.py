"""Which layers run on integers, so that the error stays within bounds and the time is least.

    least time   such that   agreement >= min-top1-agreement,  SQNR >= min-sqnr,
                             metric >= metric of the float graph - max-drop

Each layer's noise is what it alone on integers adds to the outputs; its gain is what the runtime's
profile says. Layers go back to float by noise removed per second lost until the bounds hold on all
feeds, run on integers as users run them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.core.counted import counted
from .....ir.core.durations import latency
from .....ir.core.errors import FeedError
from .....ir.core.variables import node_key
from .....ir.graph.view import View
from .....ir.metrics.choose import MetricOptions
from .....ir.metrics.confidence import samples_to_show
from ....engine.context import Context, Feeds
from ....engine.stopwatch import Profiler
from ...qdq.units import Unit
from ..variants import QuantizedVariants, Variants
from .bounds import Accuracy, AccuracyBounds
from .evaluator import ChoiceEvaluator
from .gains import IntegerGains, estimate_gains, measure_gains
from .order import PrecisionBorders, affordable, joint_loss, order_to_float
from .search import fewest_floats, most_tried
from .steps import MeasuredSteps
from .wording import INTEGERS, Wording

# Layers are ranked on so many runs in all, and on so many feeds a layer.
_RANKING_RUNS = 512
_RANKING_FEEDS = (2, 8)
# Layers are given back to float where that leaves at most this part of the noise: 0.3 dB less.
_WORTHWHILE = 10**-0.03


@dataclass(frozen=True, kw_only=True)
class MixedPrecision:
    """A search within `bounds` over `variants`, judged by the metric of `options`.

    `feeds`: the samples; `judged`: the same, with the labels that the options name.
    `profiler`: what measures gains on `context.target`; None: they are estimated.
    """

    variants: Variants
    bounds: AccuracyBounds
    options: MetricOptions
    feeds: Feeds
    judged: Feeds
    context: Context
    view: View
    profiler: Profiler | None
    wording: Wording = INTEGERS

    def choose(self, units: Sequence[Unit], chosen: frozenset[str]) -> frozenset[str]:
        """Return those of `chosen` that can stay on integers, empty where none can.

        Declines the others and remarks on what was reached.
        """
        layers = [u for u in units if not u.is_follower and node_key(u.node) in chosen]
        keys = frozenset(node_key(unit.node) for unit in layers)
        steps, evaluator = self._evaluator()
        steps.begin(1, f"all {self.wording.placed}")
        everything = evaluator.measure(keys)
        if not everything.is_known:
            return self._unjudged()
        holds = self.bounds.hold(everything)
        if holds and self.bounds.is_guard:
            self._tell_quality(everything)
            return chosen
        self._tell_metrics(evaluator)
        if holds:
            self._tell(everything, len(layers))
            return chosen
        if self.bounds.is_guard:
            self.context.remark(
                f"all {self.wording.placed} are below {self.bounds.told(everything)}, which "
                f"guard=off takes away: {everything}"
            )
        noise = self._noise(evaluator, layers)
        gains = self._gains(layers)
        borders = PrecisionBorders(layers, self.view, gains)
        order = order_to_float(noise, gains, borders)
        losses = {key: borders.loss(key, set()) for key in order}

        def suffices(left: frozenset[str]) -> bool:
            return left != keys and self.bounds.hold(evaluator.measure(keys - left))

        steps.begin(most_tried(order), f"which layers stay {self.wording.plain}")
        floats = fewest_floats(order, losses, noise, suffices)
        if floats == keys:
            best = evaluator.measure(keys - frozenset(order[:-1]))
            self.context.go_back(
                f"the graph stays {self.wording.plain}: {self.bounds.told(best)} is not reached, "
                f"not even with one layer {self.wording.placed} ({best})"
            )
            return frozenset()
        found = evaluator.measure(keys - floats)
        for unit in layers:
            if node_key(unit.node) in floats:
                self._decline(unit.node, noise, losses, found, gains.measured)
        lost = joint_loss([key for key in order if key in floats], set(), borders)
        cost = f", which costs {_time(lost, gains.measured)}" if lost > 0 else ""
        self._tell(found, len(layers), len(floats), cost)
        return chosen - floats

    def keeps(self, units: Sequence[Unit], chosen: frozenset[str]) -> bool:
        """Say whether all `chosen` of `units` keep the bounds, or cannot be judged."""
        keys = frozenset(
            node_key(u.node) for u in units if not u.is_follower and node_key(u.node) in chosen
        )
        steps, evaluator = self._evaluator()
        steps.begin(1, f"all {self.wording.placed}")
        found = evaluator.measure(keys)
        return not found.is_known or self.bounds.hold(found)

    def _unjudged(self) -> frozenset[str]:
        """Take nothing where no output can be judged; raises FeedError where a bound was asked."""
        if not self.bounds.is_guard:
            raise FeedError(f"{self.bounds}: there is no output to judge by")
        self.context.go_back(
            f"the graph stays {self.wording.plain}: no output can be judged, for none holds "
            "numbers that vary (guard=off takes it anyway)"
        )
        return frozenset()

    def give_back(
        self, units: Sequence[Unit], chosen: frozenset[str], share: float
    ) -> frozenset[str]:
        """Return `chosen` without the layers whose noise is largest for the time they save.

        At most `share` of all the time saved goes back for them; none where that helps little.
        """
        layers = [u for u in units if not u.is_follower and node_key(u.node) in chosen]
        keys = frozenset(node_key(unit.node) for unit in layers)
        steps, evaluator = self._evaluator()
        noise = self._noise(evaluator, layers)
        gains = self._gains(layers)
        borders = PrecisionBorders(layers, self.view, gains)
        floats = affordable(noise, gains, borders, share)
        if not floats or floats == keys:
            return chosen
        steps.begin(2, f"layers back to {self.wording.plain}")
        before, after = evaluator.measure(keys), evaluator.measure(keys - floats)
        if not before.noise or after.noise > _WORTHWHILE * before.noise:
            return chosen
        losses = {key: borders.loss(key, set()) for key in floats}
        for unit in layers:
            if node_key(unit.node) in floats:
                self._decline(unit.node, noise, losses, after, gains.measured)
        self.context.remark(
            f"{len(floats)} of {counted(len(layers), 'layer')} {_stay(len(floats))} float, for up "
            f"to {100 * share:g} % of the time saved: SQNR {before.sqnr_db:.1f} -> "
            f"{after.sqnr_db:.1f} dB on {counted(after.samples, 'sample')} "
            f"({', '.join(sorted(floats))})"
        )
        return chosen - floats

    def _evaluator(self) -> tuple[MeasuredSteps, ChoiceEvaluator]:
        """Return what judges, and what it tells of its steps.

        A drop that was asked for is one from the graph that was given.

        The guard counts what integers add alone: what a pass such as `prune` took before them, they
        cannot give back. Both count what weights lost that were rounded for integers.
        """
        untouched = self._with_same_outputs(self.context.original)
        if self.bounds.is_guard:
            before = self.context.before_integers
            given = untouched if before is None else self._with_same_outputs(before)
        else:
            given = untouched if self.bounds.max_drop is not None else None
        steps = MeasuredSteps(self.context.progress)
        return steps, ChoiceEvaluator(
            self.variants,
            self.judged,
            self.options,
            given,
            steps,
            every=self.bounds.is_guard,
            read=None if given is None else untouched,
            untouched=given is not None and not self.bounds.is_guard,
            before=self.wording.before,
        )

    def _with_same_outputs(self, graph: gs.Graph | None) -> gs.Graph | None:
        names = {tensor.name for tensor in self.variants.graph.outputs}
        same = graph is not None and {tensor.name for tensor in graph.outputs} == names
        return graph if same else None

    def _noise(self, evaluator: ChoiceEvaluator, layers: Sequence[Unit]) -> dict[str, float]:
        """Return the noise power that each layer alone adds, over the first feeds."""
        least, most = _RANKING_FEEDS
        count = max(least, min(most, _RANKING_RUNS // len(layers)))
        found = {}
        for index, unit in enumerate(layers):
            key = node_key(unit.node)
            found[key] = evaluator.noise_alone(key, count)
            self.context.progress((index + 1) / len(layers), "each layer alone")
        return found

    def _gains(self, layers: Sequence[Unit]) -> IntegerGains:
        estimated = estimate_gains(self.variants.graph, self.view, layers)
        if self.profiler is None:
            return estimated
        feed: Mapping[str, np.ndarray[Any, Any]] = next(iter(self.feeds))
        assert isinstance(self.variants, QuantizedVariants), "no other is profiled"
        return measure_gains(
            self.variants, layers, estimated, self.profiler, feed, self.context.target
        )

    def _decline(
        self,
        node: gs.Node,
        noise: Mapping[str, float],
        losses: Mapping[str, float],
        found: Accuracy,
        measured: bool,
    ) -> None:
        key = node_key(node)
        worse = 10 * math.log10(1 + noise[key] / found.noise) if found.noise else math.inf
        time = f"save {_time(losses[key], measured)}" if losses[key] > 0 else "save no time"
        plain, noun = self.wording.plain, self.wording.noun
        self.context.decline(node, f"stays {plain}: {noun} would cost {worse:.1f} dB and {time}")

    def _tell(self, found: Accuracy, layers: int, floats: int = 0, cost: str = "") -> None:
        remark = self.context.remark
        self._tell_quality(found)
        which = f"{floats} of {counted(layers, 'layer')} {_stay(floats)}"
        which = which if floats else "no layer has to stay"
        samples = counted(found.samples, "sample")
        plain = self.wording.plain
        remark(f"{which} {plain} for {self.bounds.told(found)}{cost}: {found} on {samples}")
        self._tell_confidence(found)

    def _tell_quality(self, found: Accuracy) -> None:
        """Tell the metrics where they compare with the graph that the pipeline was given."""
        if found.beside_given or self.context.before_integers is None:
            self.context.tell_quality(metrics=found.metrics)

    def _tell_metrics(self, evaluator: ChoiceEvaluator) -> None:
        """Say what each output is judged by, and why, where a bound is in terms of that."""
        if self.bounds.max_drop is not None:
            for chosen in evaluator.chosen:
                self.context.remark(f"judged by {chosen}")

    def _tell_confidence(self, found: Accuracy) -> None:
        """Say what the samples show of others like them: of agreement, where it is too little."""
        least = self.bounds.top1_agreement
        for result in found.top1:
            if least is not None and result.low is not None and result.low < least:
                self.context.remark(
                    f"{_show(result.samples)} an agreement of {100 * result.low:.1f} % on "
                    f"others like them, with 95 % confidence{_needed(least)}"
                )
        for result in found.metrics:
            drop, most = result.shown_drop, self.bounds.allowed(result)
            if self.bounds.max_drop is not None and drop is not None:
                more = drop > most and result.unit == "share" and result.reference == 1
                self.context.remark(
                    f"{_show(result.samples)} a drop of at most {100 * drop:.1f} % in "
                    f"{result.what} on others like them, with 95 % confidence"
                    f"{_needed(1 - most) if more else ''}"
                )


def _time(seconds: float, measured: bool) -> str:
    """Write `seconds` in ms, and where that is only an estimate what it counts."""
    return f"{latency(seconds)}{'' if measured else ' by the number of operations'}"


def _needed(share: float) -> str:
    """Say how many samples it takes to show `share`; nothing where none would."""
    if share >= 1:
        return ""
    return f"; {samples_to_show(share)}, all agreeing, would show {100 * share:g} %"


def excluded(units: Sequence[Unit], chosen: Collection[str]) -> tuple[str, ...]:
    """Return the nodes to exclude so that exactly `chosen` of `units` run on integers."""
    return tuple(
        node_key(node)
        for unit in units
        if not unit.is_follower and node_key(unit.node) not in chosen
        for node in (unit.node, unit.bounded)
        if node is not None
    )


def _show(samples: int) -> str:
    return counted(samples, "sample shows", "samples show")


def _stay(count: int) -> str:
    return "stays" if count == 1 else "stay"
