"""What `explain_int8` found, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ....ir.core.counted import counted
from ....ir.core.shown import Shown, Summary
from ....ir.metrics.result import MetricResult

Precision = Literal["int8", "float32", "int8 -> float32", "gone"]


@dataclass(frozen=True)
class Conversion:
    """A node that computes nothing: it changes type or layout between layers.

    `kind`: QuantizeLinear, DequantizeLinear, Transpose, ReorderInput, ReorderOutput, Cast.
    `of`: "weights" where it runs on a constant at every inference, "border" at an input or output
    of the model, "inserted" where the model has no such node, else "activations".
    """

    kind: str
    of: Literal["weights", "border", "inserted", "activations"]
    ms: float


@dataclass(frozen=True, kw_only=True)
class LayerReport:
    """One node of the model, in graph order.

    `fused`: nodes that the runtime executes as part of it. `precision`: of what was executed; gone:
    as part of the layer `fused_into`, or folded. `ms`: its median time. `conversions`: those beside
    it. `why_float`: why the runtime had no integer kernel for it, where that is known.

    SQNR in dB, infinite for no error, None where there is none to tell: `local`, its result as its
    readers get it, against the float operator with float weights on the same inputs; `weights`,
    only what its integer weights do to that; `rounding`, only what the pair behind it does;
    `cumulative`, its result against that of the float model. `unknown`: those that it has all the
    same and that were not found, such as those of nodes in bodies. `inside`: the node of the graph
    itself in whose body it stands.
    """

    node: str
    op: str
    precision: Precision
    ms: float
    fused: tuple[str, ...] = ()
    fused_into: str | None = None
    conversions: tuple[Conversion, ...] = ()
    why_float: str | None = None
    local: float | None = None
    weights: float | None = None
    rounding: float | None = None
    cumulative: float | None = None
    unknown: tuple[str, ...] = ()
    inside: str | None = None

    @property
    def conversion_ms(self) -> float:
        """Time of the conversions beside it."""
        return sum(conversion.ms for conversion in self.conversions)


@dataclass(frozen=True)
class Quality:
    """A whole model: median latency, and its outputs against those of the float model.

    `metric`: that of the output which loses most; None where no output has another than SQNR.
    """

    ms: float
    sqnr_db: float
    top1_agreement: float | None
    metric: MetricResult | None = None


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """Nodes to take back to float, what was measured with them there, and why they were tried.

    `gain_db`, `gain_top1`, `gain_metric`: against the model as it is; `cost_ms`:
    negative where it is faster. `applied`: whether `apply_exclusions` takes it.
    """

    nodes: tuple[str, ...]
    why: str
    gain_db: float
    gain_top1: float | None
    cost_ms: float
    gain_metric: float | None = None
    applied: bool = False


@dataclass(frozen=True, kw_only=True, repr=False)
class Int8Report(Shown):
    """All of it. `float_made`: no original was given, so the float model is the integer one with
    its pairs removed and its weights dequantized, and errors of weights are unknown. `unmatched`:
    nodes with no counterpart in the original. `foreign`: nodes whose weights are not those of the
    original rounded. `before`: the model; `original`: the float model; `after`: with the applied
    suggestions, None where there are none. `remarks`: causes that concern several layers.
    """

    layers: tuple[LayerReport, ...]
    suggestions: tuple[Suggestion, ...]
    original: Quality
    before: Quality
    after: Quality | None
    float_made: bool
    drawn_feeds: bool
    unmatched: tuple[str, ...]
    foreign: tuple[str, ...]
    remarks: tuple[str, ...]
    runtime: str

    def _summary(self) -> Summary:
        line = (
            f"{counted(len(self.layers), 'layer')}, {self.before.sqnr_db:.1f} dB, "
            f"{self.before.ms:.3g} ms (float: {self.original.ms:.3g} ms), "
            f"{counted(len(self.suggestions), 'suggestion')}"
        )
        rows = [
            (each.node, each.precision, f"{each.ms:.3g}", _decibels(each.local))
            for each in sorted(self.layers, key=lambda layer: -layer.ms)
        ]
        return Summary(line, rows, ("layer", "runs as", "ms", "local dB"))


def _decibels(value: float | None) -> str:
    return "?" if value is None else f"{value:.1f}"
