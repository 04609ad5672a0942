"""Channels whose value is known: the same at every position, whatever the graph is fed.

A layer's output is one where every weight that makes it is zero, or reads another such channel;
what activations, normalizations and pools make of it follows. NaN stands for what is not known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.build import make_constant, make_node, make_variable
from ....ir.core.decline import DeclinedError
from ....ir.core.errors import ExecutionError, PlanishError
from ....ir.graph.view import View
from ....ir.ops.linear.operators import bias_of, is_absent_bias, to_blocks
from ....ir.ops.on_constants import constant_result
from ....ir.ops.traits import operators_with
from ....ir.ops.traits.groups import BROADCASTING, POOLS, REDUCTIONS, UNARY
from ....ir.ops.windows.pad import read_padding
from ....ir.ops.windows.seen import sees_input
from ....ir.run.reference import evaluate
from ...analysis.channels.analysis import ChannelAnalysis
from ...analysis.channels.cells import Array
from ...analysis.channels.findings import ChannelLayer, RecurrentLayer
from ...analysis.channels.rules import elementwise, growth, movement
from .weights import sees_border

_MOVES = (movement.RULES.keys() | growth.RULES.keys()) - {"Shape"}
_POOLED = POOLS | REDUCTIONS
# What these make of the same value everywhere is that value; of zero, zero. A mean of windows may
# count pads.
_KEEPS = (_POOLED & operators_with(lambda t: t.selects)) | {"GlobalAveragePool", "ReduceMean"}
_KEEPS_ZERO = (_POOLED & operators_with(lambda t: t.zero)) - _KEEPS


@dataclass(frozen=True)
class LayerFold:
    """A layer, which of its inputs it needs for which output, and what the others give.

    `needs` is [group, M/group, C/group]: whether output m changes with input c. `known` [C] are the
    values of inputs that are not needed although weights read them, and zero for the others.
    `sliced`: the layer is cut as the slices of its constants say, and gives nothing else.
    """

    layer: ChannelLayer
    needs: Array
    known: Array
    sliced: bool = False

    def given(self, weight: Array, inputs: Array) -> Array:
        """Return what the known ones of `inputs` (bool [C]) add to each output, float64 [M]."""
        return contribution(self.layer, weight, np.where(inputs, self.known, 0.0))


class KnownValues:
    """The known values of the channels of every tensor, and of each layer what it needs."""

    def __init__(self, analysis: ChannelAnalysis, graph: gs.Graph) -> None:
        self._analysis = analysis
        self._graph = graph
        self._roots = analysis.cells.roots()
        self._known: dict[int, Array] = {}
        self.folds: list[LayerFold] = []
        layers = {id(layer.node): layer for layer in analysis.layers}
        recurrent = {id(layer.node): layer for layer in analysis.recurrent}
        for node, view in analysis.nodes:
            if id(node) in layers:
                self._layer(layers[id(node)])
            elif id(node) in recurrent:
                self._recurrent(recurrent[id(node)])
            elif node.op == "Pad" or any(id(tensor) in self._known for tensor in node.inputs):
                self._visit(node, view)

    def of(self, tensor: gs.Tensor) -> Array | None:
        """Return the values of a tensor in the shape of its labels, or None where none is known."""
        return self._known.get(id(tensor))

    def _put(self, tensor: gs.Tensor, values: Array | None) -> None:
        labels = self._analysis.of(tensor)
        if values is None or labels is None or values.shape != labels.shape:
            return
        values = np.where(np.isfinite(values), values, np.nan)
        if not np.isnan(values).all():
            self._known[id(tensor)] = values

    def _along(self, layer: ChannelLayer) -> Array:
        """Return the values [C] that a layer reads."""
        found = self.of(layer.node.inputs[0])
        if found is None:
            return np.full(len(layer.read), np.nan)
        rows = np.moveaxis(found, layer.axis, 0).reshape(found.shape[layer.axis], -1)
        first = np.where((rows == rows[:, :1]).all(axis=1), rows[:, 0], np.nan)
        return np.broadcast_to(first, layer.read.shape)

    def _layer(self, layer: ChannelLayer) -> None:
        weight = self._analysis.values(layer.node.inputs[1])
        assert weight is not None
        blocks = to_blocks(layer.node, weight)
        used = (blocks != 0).any(axis=tuple(range(3, blocks.ndim)))
        known = self._along(layer).reshape(layer.group, 1, -1)
        bias = self._bias(layer)
        silent = known == 0
        needs = used & ~silent
        values = np.where(np.isnan(known), 0.0, known).reshape(-1)
        if bias is None or sees_border(layer) or not _fits(layer, weight, values):
            values = np.zeros_like(values)
        elif values.any():
            needs &= np.isnan(known)
        self.folds.append(LayerFold(layer, needs, values))
        varies = needs.any(axis=2).reshape(-1)
        if bias is None or varies.all():
            return
        made = np.where(varies, np.nan, bias + contribution(layer, weight, values))
        labels = self._analysis.of(layer.node.outputs[0])
        if labels is not None:
            self._put(layer.node.outputs[0], made.reshape(labels.shape))

    def _recurrent(self, layer: RecurrentLayer) -> None:
        """A hidden unit needs what any of its gates reads, of the input and of hidden units."""
        for position, read in ((1, layer.read), (2, layer.made)):
            weight = self._analysis.values(layer.node.inputs[position])
            assert weight is not None
            gates = weight.reshape(len(weight), layer.gates, len(layer.made), -1)
            linear = ChannelLayer(
                node=layer.node, view=layer.view, axis=2, group=1, read=read, made=layer.made
            )
            needs = (gates != 0).any(axis=(0, 1))
            if position == 1:
                needs = needs & (self._along(linear) != 0)
            self.folds.append(LayerFold(linear, needs[None], np.zeros(len(read)), sliced=True))

    def _bias(self, layer: ChannelLayer) -> Array | None:
        """Return the bias [M] that a layer adds, or None where it is not one a channel."""
        node = layer.node
        outputs = len(layer.made)
        given = bias_of(node)
        bias = None if given is None else self._analysis.values(given)
        if given is None or is_absent_bias(node, bias):
            return np.zeros(outputs)
        beta = node.attrs.get("beta", 1.0) if node.op == "Gemm" else 1.0
        if bias is None or beta == 0 or (bias.size > 1 and bias.size != bias.shape[-1]):
            return None
        return np.broadcast_to(beta * np.asarray(bias, np.float64).reshape(-1), (outputs,))

    def _visit(self, node: gs.Node, view: View) -> None:
        values = self.of(node.inputs[0])
        if node.op in _MOVES:
            self._move(node, view)
        elif node.op in elementwise.NORMALIZATIONS and values is not None:
            self._put(node.outputs[0], self._normalized(node, values))
        elif node.op in BROADCASTING | UNARY - {"Dropout"}:
            self._put(node.outputs[0], self._elementwise(node, view))
        elif values is None or (node.op in POOLS and not sees_input(node, view)):
            return
        elif node.op == "Dropout":
            self._put(node.outputs[0], values)
        elif node.op in _KEEPS | {"Resize", "Upsample"} or (
            node.op == "AveragePool"
            and not node.attrs.get("count_include_pad", 0)
            and not node.attrs.get("ceil_mode", 0)
        ):
            if node.attrs.get("coordinate_transformation_mode") != "tf_crop_and_resize":
                self._keep(node, values)
        elif node.op in _KEEPS_ZERO:
            self._keep(node, np.where(values == 0, values, np.nan))

    def _keep(self, node: gs.Node, values: Array) -> None:
        """Reductions that leave out axes leave out axes of size one."""
        labels = self._analysis.of(node.outputs[0])
        if labels is not None and labels.size == values.size:
            self._put(node.outputs[0], values.reshape(labels.shape))

    def _normalized(self, node: gs.Node, values: Array) -> Array | None:
        found = [self._analysis.values(tensor) for tensor in node.inputs[1:5]]
        if any(p is None for p in found):
            return None
        parameters = [np.asarray(p, np.float64) for p in found]
        column = (1, -1, *[1] * (values.ndim - 2))
        scale, bias = (p.reshape(column) for p in parameters[:2])
        if node.op == "InstanceNormalization":
            return np.where(np.isnan(values), np.nan, np.broadcast_to(bias, values.shape))
        mean, variance = (p.reshape(column) for p in parameters[2:4])
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            spread = np.sqrt(variance + node.attrs.get("epsilon", 1e-5))
            return np.asarray((values - mean) / spread * scale + bias)

    def _elementwise(self, node: gs.Node, view: View) -> Array | None:
        """Compute the operator on what is known; a product with zero is zero."""
        labels = self._analysis.of(node.outputs[0])
        if labels is None:
            return None
        operands: list[Array] = []
        known = np.ones(labels.shape, bool)
        zero = np.zeros(labels.shape, bool)
        for tensor in node.inputs:
            if not tensor.name:
                operands.append(np.zeros(0))
                continue
            held = (
                self._analysis.values(tensor)
                if self._analysis.is_constant(tensor)
                else self.of(tensor)
            )
            own = self._analysis.of(tensor)
            if held is None and own is not None:
                held = np.full(own.shape, np.nan)
            if held is None:
                return None
            operands.append(held)
            try:
                wide = np.broadcast_to(held, labels.shape)
            except ValueError:
                return None  # it differs along positions
            if wide.dtype.kind == "f":
                known &= ~np.isnan(wide)
                zero |= wide == 0
        if node.op == "Mul" and zero.any():
            product = np.ones(labels.shape)
            for held in operands:
                product = product * held
            return np.where(zero, 0.0, product)
        if not known.any():
            return None
        if len(operands) == 1 or node.op == "Clip":
            quick = constant_result(node, operands[0], view)
            if quick is not None:
                return np.where(known, quick, np.nan)
        found = self._evaluated(node, view, operands)
        return None if found is None else np.where(known, found, np.nan)

    def _evaluated(self, node: gs.Node, view: View, operands: list[Array]) -> Array | None:
        made = []
        for tensor, values in zip(node.inputs, operands, strict=True):
            dtype = view.dtype(tensor)
            if not tensor.name:
                made.append(tensor)
            elif dtype is None:
                return None
            else:
                held = values if values.dtype == dtype else np.nan_to_num(values).astype(dtype)
                made.append(make_constant(tensor.name, np.asarray(held, order="C")))
        result = make_variable(node.outputs[0].name, view.dtype(node.outputs[0]))
        alone = make_node(node.op, node.name, node.attrs, made, [result], node.domain, link=False)
        try:
            found = evaluate(self._graph, [alone], [result])[0]
        except (ExecutionError, PlanishError):
            return None
        return np.asarray(found, np.float64) if found.dtype.kind in "f" else None

    def _move(self, node: gs.Node, view: View) -> None:
        """An element's value goes where its cell goes."""
        cells, values = [], []
        for tensor in node.inputs:
            labels = self._analysis.of(tensor)
            if labels is not None:
                own = self.of(tensor)
                cells.append(self._roots[labels.reshape(-1)])
                values.append(
                    np.full(labels.size, np.nan) if own is None else own.reshape(-1).copy()
                )
        if node.op == "Pad" and node.attrs.get("mode", "constant") == "constant":
            extra, filled = self._filled(node, view, values[0])
            cells.append(extra)
            values.append(np.full(len(extra), filled))
        known, place = np.unique(np.concatenate(cells), return_inverse=True)
        low, high = np.full(len(known), np.inf), np.full(len(known), -np.inf)
        with np.errstate(invalid="ignore"):
            np.minimum.at(low, place, np.concatenate(values))
            np.maximum.at(high, place, np.concatenate(values))
        table = np.where(low == high, low, np.nan)
        for tensor in node.outputs:
            labels = self._analysis.of(tensor)
            if labels is not None:
                own = self._roots[labels]  # none of these where the way was not followed
                at = np.minimum(np.searchsorted(known, own), len(known) - 1)
                self._put(tensor, np.where(known[at] == own, table[at], np.nan))

    def _filled(self, node: gs.Node, view: View, values: Array) -> tuple[Array, float]:
        """Return new channels and the value that padding gives them; others spoil in its border."""
        try:
            padding = read_padding(node, view, self._analysis.values)
        except DeclinedError:
            values[:] = np.nan
            return np.zeros(0, np.int64), np.nan
        before, after = self._analysis.of(node.inputs[0]), self._analysis.of(node.outputs[0])
        assert before is not None
        assert after is not None
        same = [a for a, size in enumerate(before.shape) if size == after.shape[a]]
        if any(padding.begins[a] or padding.ends[a] for a in same):
            values[values != padding.value] = np.nan
        return np.setdiff1d(self._roots[after], self._roots[before]), padding.value


def contribution(layer: ChannelLayer, weight: Array, values: Array) -> Array:
    """Return W v [M] in float64 for inputs that are `values` [C] at every position.

    Only the weights of what is not zero are read.
    """
    blocks = to_blocks(layer.node, weight)
    columns = values.reshape(layer.group, 1, -1)
    if layer.group == 1:
        some = np.flatnonzero(values)
        blocks, columns = blocks[:, :, some], columns[:, :, some]
    taps = blocks.sum(axis=tuple(range(3, blocks.ndim)), dtype=np.float64)
    alpha = layer.node.attrs.get("alpha", 1.0) if layer.node.op == "Gemm" else 1.0
    return np.asarray(alpha * (taps * columns).sum(axis=2).reshape(-1))


def _fits(layer: ChannelLayer, weight: Array, values: Array) -> bool:
    """Say whether the type of the weights holds what known inputs give, whichever are taken."""
    if not values.any():
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        largest = contribution(layer, np.abs(weight), np.abs(values))
        return bool(np.isfinite(largest.astype(weight.dtype)).all())
