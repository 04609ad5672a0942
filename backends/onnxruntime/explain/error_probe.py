"""Errors of every layer in one run: two models and a float twin of each layer in one graph.

    local       |twin(x') - y'|       twin: the float operator with float weights
    weights     |twin(x') - y|        y: the operator with integer weights, before its pair
    rounding    |bound(y) - y'|       y': behind the pair, as its readers get it
    cumulative  |float model's y - y'|

Sums of squares are taken inside the graph, so no tensor leaves it and memory does not grow with
the number of layers.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.build import make_constant, make_node, make_variable
from ....ir.core.target import Target
from ....ir.core.variables import node_key
from ....ir.graph.clone import clone
from ....ir.graph.types import TensorType
from ....ir.graph.uses import scopes
from ....ir.ops.quantization.nodes import converts
from ....ir.ops.quantization.weights import stored_weight
from ....ir.ops.traits.groups import LAYERS
from ....passes.engine.context import Context, Feeds
from ....passes.quantize.qdq.dropped_bounds import bounds_of
from ....passes.quantize.qdq.match_float import FloatMatch, view_of
from ....passes.quantize.qdq.pairs import Pairs
from ..backend import OnnxRuntime
from .twin import may_be_same

MEASURES = ("local", "weights", "rounding", "cumulative")
_FLOAT = "planish-float/"
_UNLIKE = -1.0  # no sum of squares
_FLOAT32, _FLOAT64 = int(onnx.TensorProto.FLOAT), int(onnx.TensorProto.DOUBLE)


@dataclass
class ErrorProbe:
    """A graph whose outputs are sums of squares, by node and measure: signal and noise."""

    graph: gs.Graph
    wide: bool = False  # float64 sums, for data whose squares leave the range of float32
    sums: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)

    def add(
        self,
        op: str,
        inputs: list[gs.Tensor],
        attrs: dict[str, Any] | None = None,
        dtype: Any = np.float32,
    ) -> Any:
        """Add a node and return its result."""
        made = make_variable(f"planish-probe/{len(self.graph.nodes)}", dtype)
        self.graph.nodes.append(make_node(op, "", dict(attrs or {}), inputs, [made], None))
        return made

    def compare(
        self,
        node: str,
        measure: str,
        signal: gs.Tensor,
        other: gs.Tensor,
        *,
        alike: bool = True,
    ) -> None:
        """Measure how far `other` is from `signal`; not `alike`: they may differ in size."""
        dtype = np.float64 if self.wide else np.float32
        if self.wide:
            signal, other = (
                self.add("Cast", [t], {"to": _FLOAT64}, dtype) for t in (signal, other)
            )
        power = self.add("ReduceSumSquare", [signal], {"keepdims": 0}, dtype)
        noise = self._noise(signal, other, dtype) if alike else self._if_alike(signal, other, dtype)
        self.graph.outputs += [power, noise]
        self.sums[node, measure] = (power.name, noise.name)

    def _noise(self, signal: gs.Tensor, other: gs.Tensor, dtype: Any) -> Any:
        difference = self.add("Sub", [signal, other], None, dtype)
        return self.add("ReduceSumSquare", [difference], {"keepdims": 0}, dtype)

    def _if_alike(self, signal: gs.Tensor, other: gs.Tensor, dtype: Any) -> Any:
        """Return the noise, `_UNLIKE` where there are not as many values, as NMS may keep."""
        whole, start = (self._constant(np.array([value])) for value in (-1, 0))
        flat = [self.add("Reshape", [t, whole], None, dtype) for t in (signal, other)]
        one, two = (self.add("Shape", [t], None, np.int64) for t in flat)
        fewer = self.add("Less", [one, two], None, np.bool_)
        least = self.add("Where", [fewer, one, two], None, np.int64)
        a, b = (self.add("Slice", [t, start, least, start], None, dtype) for t in flat)
        same = self.add("Equal", [one, two], None, np.bool_)
        unlike = self._constant(np.array(_UNLIKE, dtype))
        # No If: ONNX Runtime aborts where a body reads what it moves integers through.
        return self.add("Where", [same, self._noise(a, b, dtype), unlike], None, dtype)

    def _constant(self, values: np.ndarray[Any, Any]) -> gs.Constant:
        return make_constant(f"planish-probe/{len(self.graph.nodes)}/{values.ravel()[0]}", values)


def measure_errors(
    graph: gs.Graph,
    original: gs.Graph | None,
    match: FloatMatch,
    feeds: Feeds,
    threads: int | None,
    *,
    progress: Callable[[float], None] = lambda fraction: None,
) -> dict[str, dict[str, float]]:
    """Return the SQNR in dB of each measure that is known, by node (see `node_key`).

    `graph` has pairs and `original`, None where it cannot stand beside that, has none; `match`
    leads from the one to the other.
    """
    found = _sums(_build(graph, original, match), feeds, threads, progress)
    if not all(np.isfinite(sums).all() for sums in found.values()):
        # Squares of large data leave the range of float32.
        found = _sums(_build(graph, original, match, wide=True), feeds, threads, progress)
    result: dict[str, dict[str, float]] = {}
    for (node, measure), (signal, noise) in found.items():
        result.setdefault(node, {})[measure] = decibels(signal, noise)
    return result


def _sums(
    probe: ErrorProbe, feeds: Feeds, threads: int | None, progress: Callable[[float], None]
) -> dict[tuple[str, str], np.ndarray[Any, Any]]:
    """Return sums of squares of signal and noise over all feeds, by node and measure."""
    if not probe.sums:
        return {}
    run = OnnxRuntime().lower(probe.graph, Target("cpu"), threads, optimization="basic")
    totals = {key: np.zeros(2) for key in probe.sums}
    unlike: set[tuple[str, str]] = set()
    count = operator.length_hint(feeds)  # 0 where it is not known
    for done, feed in enumerate(feeds):
        found = run(feed)
        for key, names in probe.sums.items():
            totals[key] += [float(np.ravel(found[name])[0]) for name in names]
            if np.ravel(found[names[1]])[0] == _UNLIKE:
                unlike.add(key)
        progress((done + 1) / max(count, done + 1))
    return {key: total for key, total in totals.items() if key not in unlike}


def decibels(signal: float, noise: float) -> float:
    """Return 10 log10(signal / noise); infinite without noise."""
    if not math.isfinite(noise):
        return -math.inf
    if noise <= 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def _build(
    graph: gs.Graph, original: gs.Graph | None, match: FloatMatch, *, wide: bool = False
) -> ErrorProbe:
    copy = clone(graph)
    floats_made = {} if original is None else _join(copy, clone(original))
    _forget_sizes(copy)
    view, kinds = view_of(graph), _kinds(original)
    pairs = Pairs(graph, Context(graph))
    mine = {t.name: t for node in copy.nodes for t in node.outputs if t.name}
    mine.update((t.name, t) for t in copy.inputs)
    copy.outputs = []
    probe = ErrorProbe(copy, wide)
    for node, twin_of in zip(graph.nodes, list(copy.nodes), strict=False):
        if converts(node) or not node.outputs:
            continue
        key, result = node_key(node), pairs.result(node)
        behind = pairs.behind(result) or pairs.behind(node.outputs[0])
        if behind and not pairs.behind(result):
            result = node.outputs[0]
        read = [d.outputs[0] for pair in behind for d in pair.dequantizers]
        shown = next((tensor for tensor in read if tensor.name in mine), None)
        if shown is None:  # none, or bodies read the pair
            behind, shown = [], node.outputs[0]
            result = shown  # a Relu or Clip behind it is a node of its own
        if shown.name not in mine:
            continue
        after = mine[shown.name]
        low, high = bounds_of(behind[0], view, match) if behind else (-math.inf, math.inf)
        ratio = behind[0].ratio(view) if behind else None
        if behind and behind[0].source is result:
            before = _scaled(probe, _bounded(probe, mine[result.name], low, high), ratio)
            probe.compare(key, "rounding", before, after)
        stored = {
            i: s for i, t in enumerate(node.inputs) if (s := stored_weight(t, view)) is not None
        }
        values = {i: match.weights.get((key, i), s.original) for i, s in stored.items()}
        if 1 in stored and values.get(1) is not None and key not in match.foreign:
            _compare_twin(probe, twin_of, values, key, mine, result, after, (low, high), ratio)
        target = match.tensors.get(node.outputs[0].name)
        other = match.tensors.get(result.name, target)
        dtype = view.dtype(node.outputs[0])
        if dtype is not None and not dtypes.is_float(dtype):
            continue  # shape arithmetic
        known, own = kinds.get(other or ""), view.type(node.outputs[0])
        fits = may_be_same(known, own)
        if other is not None and not fits and key not in match.foreign and node.op in LAYERS:
            after, fits = _own_channels(probe, after, known, own)
        if other is not None and not fits:
            continue  # another network has other tensors of the same names
        if other is not None and other in floats_made and key not in match.foreign:
            pair = [floats_made[other], after]
            if dtype != np.float32:
                pair = [probe.add("Cast", [t], {"to": _FLOAT32}) for t in pair]
            alike = _has_size(known) and _has_size(own)
            probe.compare(key, "cumulative", *pair, alike=alike)
    return probe


def _compare_twin(
    probe: ErrorProbe,
    node: gs.Node,
    values: Mapping[int, Any],
    key: str,
    mine: Mapping[str, gs.Tensor],
    result: gs.Tensor,
    after: gs.Tensor,
    bounds: tuple[float, float],
    ratio: np.ndarray[Any, Any] | None,
) -> None:
    inputs: list[gs.Tensor] = [
        t
        if values.get(i) is None
        else make_constant(f"planish-weight/{key}/{i}", np.asarray(values[i]))
        for i, t in enumerate(node.inputs)
    ]
    twin = probe.add(node.op, inputs, dict(node.attrs))
    own = mine[node.outputs[0].name]
    probe.compare(key, "weights", twin, own)
    if result.name != node.outputs[0].name:  # a Relu or Clip of the model stands between
        reader = own.outputs[0]
        twin = probe.add(reader.op, [twin, *reader.inputs[1:]], dict(reader.attrs))
    probe.compare(key, "local", _scaled(probe, _bounded(probe, twin, *bounds), ratio), after)


def _scaled(probe: ErrorProbe, tensor: gs.Tensor, ratio: np.ndarray[Any, Any] | None) -> gs.Tensor:
    """Return `tensor` times what the pair behind it multiplies by, beside rounding."""
    if ratio is None:
        return tensor
    factor = make_constant(f"planish-ratio/{len(probe.graph.nodes)}", ratio.astype(np.float32))
    found: gs.Tensor = probe.add("Mul", [tensor, factor])
    return found


def _bounded(probe: ErrorProbe, tensor: gs.Tensor, low: float, high: float) -> gs.Tensor:
    if math.isinf(low) and math.isinf(high):
        return tensor
    ends = [make_constant(f"planish-bound/{v}", np.array(v, np.float32)) for v in (low, high)]
    for end, name in zip(ends, ("low", "high"), strict=True):
        end.name += f"/{name}/{len(probe.graph.nodes)}"
    return probe.add("Min", [probe.add("Max", [tensor, ends[0]]), ends[1]])


def _kinds(graph: gs.Graph | None) -> dict[str, TensorType | None]:
    if graph is None:
        return {}
    view = view_of(graph)
    return {t.name: view.type(t) for node in graph.nodes for t in node.outputs}


def _own_channels(
    probe: ErrorProbe, tensor: gs.Tensor, known: TensorType | None, found: TensorType | None
) -> tuple[gs.Tensor, bool]:
    """Return the channels of `tensor` that the float layer has too, and whether the rest agrees.

    Behind them are those that layers are padded by.
    """
    sizes, wide = known and known.shape, found and found.shape
    if not sizes or not wide or len(sizes) != len(wide) or len(sizes) < 2:
        return tensor, False
    channels, more = sizes[1], wide[1]
    if not (isinstance(channels, int) and isinstance(more, int) and channels < more):
        return tensor, False
    name = f"planish-channels/{len(probe.graph.nodes)}"
    ends = [make_constant(f"{name}/{i}", np.array([v])) for i, v in enumerate((0, channels, 1))]
    rest = zip((*sizes[:1], *sizes[2:]), (*wide[:1], *wide[2:]), strict=True)
    same = all(a == b or not (isinstance(a, int) and isinstance(b, int)) for a, b in rest)
    return probe.add("Slice", [tensor, *ends]), same


def _has_size(found: TensorType | None) -> bool:
    sizes = None if found is None else found.shape
    return sizes is not None and all(isinstance(size, int) for size in sizes)


def _forget_sizes(graph: gs.Graph) -> None:
    """Take back what files say of the sizes of inner tensors.

    Names of open sizes are those of one model; a runtime that finds them twice takes them for the
    same, and reuses memory of the wrong size.
    """
    for scope in scopes(graph):
        for node in scope.nodes:
            for tensor in node.outputs:
                if isinstance(tensor, gs.Variable):
                    tensor.shape = None


def _named(graph: gs.Graph) -> list[gs.Tensor]:
    """Return what nodes of `graph` and its bodies make and read, and what these are given."""
    found: dict[int, gs.Tensor] = {}
    for scope in scopes(graph):
        inner = [] if scope is graph else [*scope.inputs, *scope.outputs]
        for tensor in (*inner, *(t for n in scope.nodes for t in (*n.inputs, *n.outputs))):
            if tensor.name:
                found[id(tensor)] = tensor
    return list(found.values())


def _join(graph: gs.Graph, floats: gs.Graph) -> dict[str, gs.Tensor]:
    """Put the nodes of `floats` into `graph`, on the same inputs; return its tensors by name."""
    inputs = {tensor.name: tensor for tensor in graph.inputs}
    own = {
        id(tensor): inputs[tensor.name]
        for tensor in floats.inputs
        if tensor.name in inputs and not isinstance(tensor, gs.Constant)
    }
    for scope in scopes(floats):
        for node in scope.nodes:
            for position, tensor in enumerate(node.inputs):
                if id(tensor) in own:
                    list.__setitem__(node.inputs, position, own[id(tensor)])
    made: dict[str, gs.Tensor] = {}
    for node in floats.nodes:
        for tensor in node.outputs:
            if tensor.name:
                made[tensor.name] = tensor
        node.name = f"{_FLOAT}{node.name}" if node.name else ""
    taken = {id(tensor) for tensor in graph.inputs}
    for tensor in _named(floats):
        if id(tensor) not in taken:
            tensor.name = f"{_FLOAT}{tensor.name}"
    graph.nodes.extend(floats.nodes)
    domains = {entry.domain for entry in graph.import_domains or ()}
    missing = [entry for entry in floats.import_domains or () if entry.domain not in domains]
    graph.import_domains = [*(graph.import_domains or ()), *missing]
    known = {(function.domain, function.name) for function in graph.functions}
    graph.functions += [f for f in floats.functions if (f.domain, f.name) not in known]
    return made
