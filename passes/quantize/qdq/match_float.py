"""What the float model says of a quantized one: its tensors, weights, and bounds that were dropped.

Nodes and tensors are matched by name: `X_quantized` and `X_dequantized` of planish, names of ONNX
Runtime's `quantize_static` and of NNCF, which all keep that of the float tensor; what has other
names is matched by what it reads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import node_key
from ....ir.graph.view import View
from ....ir.ops.clips import clip_bounds
from ....ir.ops.linear.operators import bias_of
from ....ir.ops.quantization.nodes import converts
from ....ir.ops.quantization.weights import StoredWeight, stored_weight
from ....ir.ops.traits.groups import LAYERS
from ...engine.context import Context
from .pairs import Pairs
from .scaled_weights import weights_between
from .scoped_views import ScopedViews
from .units import BOUNDING, bounds

Array = np.ndarray[Any, Any]
Bounds = tuple[float, float]

_SUFFIX = re.compile(
    r"(_QuantizeLinear_Input|_QuantizeLinear|_DequantizeLinear_Output|_DequantizeLinear"
    r"|_quantized|_dequantized|_float|_unbounded|/duplicated|_output_\d+_quantized)$"
)
_CLOSE_DB = 30.0  # less may be channels on another scale, as other feeds show it
_SAME_DB = 40.0  # of floats that went through bfloat16, and of no channel that was scaled
_MOST = 0.9
_UNIFORM = 0.05


@dataclass
class FloatMatch:
    """`tensors`: float tensor of each tensor that an operator of the quantized graph makes.

    `weights`: float weights by node (see `node_key`) and input position. `bounds`: what the float
    model bounds a tensor to, infinities for no bound. `foreign`: nodes whose weights are not the
    float ones rounded: folded, equalized or trained on since.
    """

    tensors: dict[str, str] = field(default_factory=dict)
    weights: dict[tuple[str, int], Array] = field(default_factory=dict)
    bounds: dict[str, Bounds] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)


def match_float(graph: gs.Graph, original: gs.Graph) -> FloatMatch:
    """Match `graph`, with pairs, and `original`, without; nodes of bodies too."""
    return _Matcher(graph, original).run()


def view_of(graph: gs.Graph) -> View:
    """Return a view of the top level of `graph`."""
    return Context(graph).view()


class _Matcher:
    def __init__(self, graph: gs.Graph, original: gs.Graph) -> None:
        context = Context(original)
        self._original = ScopedViews(original, context)
        self._pairs = Pairs(graph, Context(graph))
        scopes = list(context.uses.scopes(original))
        nodes = [node for scope in scopes for node in scope.nodes]
        self._made: dict[str, gs.Tensor] = {
            tensor.name: tensor for node in nodes for tensor in node.outputs if tensor.name
        }
        self._inputs = {
            t.name: t for scope in scopes for t in scope.inputs if not isinstance(t, gs.Constant)
        }
        self._by_name = {node_key(node): node for node in nodes}
        self._found = FloatMatch()

    def run(self) -> FloatMatch:
        for node in self._pairs.nodes:
            if converts(node):
                continue
            twin = self._twin(node)
            for tensor in node.outputs:
                named = self._named(tensor)
                if named is not None:
                    self._learn(tensor, named)
            if twin is None:
                continue
            biases = [bias_of(each) for each in (twin, node)] if node.op in LAYERS else [None]
            split = biases[0] is not None and biases[1] is None  # an Add behind it has the bias
            if node.outputs and node.outputs[0].name not in self._found.tensors and not split:
                result = twin.outputs[0]
                reader = self._original.of_node(twin).only_reader(result)
                bounded = reader is not None and reader.op in BOUNDING
                if bounded and self._pairs.behind(node.outputs[0]):
                    result = reader.outputs[0]  # type: ignore[union-attr]
                self._learn(node.outputs[0], result)
            self._take_weights(node, twin)
        return self._found

    def _named(self, tensor: gs.Tensor) -> gs.Tensor | None:
        # A pair first: where it took the place of a Relu, it has its name.
        names = [d.outputs[0].name for p in self._pairs.behind(tensor) for d in p.dequantizers]
        for name in (*names, tensor.name):
            found = self._made.get(name) or self._made.get(_stripped(name))
            if found is not None:
                return found
        return None

    def _learn(self, tensor: gs.Tensor, found: gs.Tensor) -> None:
        self._found.tensors[tensor.name] = found.name
        producer = self._original.producer(found)
        bound = (-np.inf, np.inf)
        if producer is not None and producer.op in BOUNDING:
            view = self._original.of_node(producer)
            if producer.op == "Clip" and clip_bounds(producer, view) is None:
                return
            bound = bounds(producer, view)
        self._found.bounds[tensor.name] = bound

    def _twin(self, node: gs.Node) -> gs.Node | None:
        """Return the node of the float model that `node` was."""
        for tensor in node.outputs[:1]:
            named = self._named(tensor)
            twin = None if named is None else self._original.producer(named)
            if twin is not None and twin.op in BOUNDING and node.op not in BOUNDING:
                twin = self._original.producer(twin.inputs[0])
            if twin is not None and twin.op == node.op:
                return twin
        key = node_key(node)  # without a name of its own it has that of its result
        for name in (key, key.removesuffix("_quant"), _stripped(key)):
            twin = self._by_name.get(name)
            if twin is not None and twin.op == node.op:
                return twin
        return self._by_structure(node)

    def _by_structure(self, node: gs.Node) -> gs.Node | None:
        if not node.inputs:
            return None
        pair = self._pairs.before(node.inputs[0])
        read = node.inputs[0] if pair is None else pair.source
        source = self._made.get(self._found.tensors.get(read.name, "")) or self._inputs.get(
            read.name
        )
        view = None if source is None else self._original.of_tensor(source)
        if source is None or view is None or view.fan_out(source) > 8:
            return None
        same = [n for n in view.readers(source) if n.op == node.op]
        return same[0] if len(same) == 1 else None

    def _take_weights(self, node: gs.Node, twin: gs.Node) -> None:
        scaled = weights_between(node, twin, self._pairs, self._original.of_node(twin))
        for position in range(min(len(node.inputs), len(twin.inputs))):
            stored, own = self._own_weight(node, position)
            values = self._original.of_node(twin).constant(twin.inputs[position])
            values = scaled.get(position, values)
            if own is not None and values is not None:
                values = _padded_like(values, own)
            if own is None or values is None:
                continue
            if position == 1 and node.op in LAYERS and not _is_from(values, own, stored):
                self._found.foreign.add(node_key(node))
                return
            self._found.weights[node_key(node), position] = values

    def _own_weight(self, node: gs.Node, position: int) -> tuple[StoredWeight | None, Array | None]:
        """Return what `node` reads there as it is stored, and its values.

        Of a layer that stayed float they are values alone.
        """
        tensor, view = node.inputs[position], self._pairs.view(node)
        stored = stored_weight(tensor, view) if tensor.name else None
        if stored is not None:
            return stored, stored.values
        is_float = position == 1 and node.op in LAYERS
        return None, view.constant(tensor) if is_float else None


def _is_from(values: Array, own: Array, stored: StoredWeight | None) -> bool:
    if stored is not None:
        return is_rounding_of(stored, values)
    w = values.astype(np.float64)
    noise, signal = float(((own - w) ** 2).sum()), float((w**2).sum())
    return noise * 10 ** (_SAME_DB / 10) <= signal


def _padded_like(values: Array, stored: Array) -> Array | None:
    """Return `values` with zeros to the sizes of `stored`, which has zeros there; None else.

    Channels are padded for kernels that take four at a time.
    """
    if values.ndim != stored.ndim or any(
        a > b for a, b in zip(values.shape, stored.shape, strict=True)
    ):
        return None
    if values.shape == stored.shape:
        return values
    found = np.zeros(stored.shape, values.dtype)
    own = tuple(map(slice, values.shape))
    found[own] = values
    rest = stored.copy()
    rest[own] = 0
    return None if rest.any() else found


def is_rounding_of(stored: StoredWeight, values: Array) -> bool:
    """Say whether `stored` can be what quantizing `values` gave, well or badly.

    Badly: too coarse or clipped, which the same grid shows on `values`; or with one factor on all.
    A factor of its own for each channel, as folding and equalization leave it, is another weight.
    """
    w, d = values.astype(np.float64), stored.values.astype(np.float64)
    noise, signal = float(((d - w) ** 2).sum()), float((w**2).sum())
    if noise * 10 ** (_CLOSE_DB / 10) <= signal:
        return True
    off = np.abs(stored.rounded(w) - d) > 1.01 * stored.step
    if off.mean() <= 1 - _MOST:
        return True
    large = np.abs(w) > 0.5 * np.abs(w).mean()
    ratio = d[large] / w[large]
    middle = float(np.median(ratio))
    return middle > 0 and bool(np.mean(np.abs(ratio / middle - 1) < _UNIFORM) > _MOST / 1.5)


def _stripped(name: str) -> str:
    return _SUFFIX.sub("", name)
