"""Cutting channels out of a graph: every tensor, constant, size and index that has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.graph.view import View
from ....ir.ops.linear.operators import bias_of, from_blocks, is_absent_bias, to_blocks
from ....ir.ops.linear.storing import stored
from ...analysis.channels.analysis import ChannelAnalysis
from ...analysis.channels.cells import Array
from ...analysis.channels.findings import ChannelLayer, ChannelShuffle, SlicedConstant
from ...analysis.channels.labels import varying
from .kept_channels import KeptChannels
from .known_values import LayerFold
from .sizes import SIZES, SizeChange
from .weights import cut_blocks


class ChannelCut:
    """Everything that changes where the channels outside `keep` are taken out.

    One edit is counted for each of the nodes `counted`.
    """

    def __init__(
        self,
        analysis: ChannelAnalysis,
        keep: KeptChannels,
        folds: list[LayerFold],
        edit: Edit,
        counted: list[gs.Node],
    ) -> None:
        self.analysis = analysis
        self.keep = keep
        self._edit = edit
        self._counted = {id(node) for node in counted}
        self._folds = {id(fold.layer.node): fold for fold in folds if not fold.sliced}
        self._sliced_by: dict[int, list[SlicedConstant]] = {}
        for sliced in analysis.sliced:
            self._sliced_by.setdefault(id(sliced.node), []).append(sliced)
        self._new: dict[int, gs.Tensor] = {}
        self._old: dict[int, gs.Tensor] = {}
        self._constants: dict[tuple[Any, ...], gs.Tensor] = {}
        self._renamed: list[tuple[gs.Tensor, gs.Tensor]] = []

    def run(self) -> None:
        """Rewrite every node that reads or makes fewer channels than before."""
        shuffles = {id(shuffle.nodes[0]): shuffle for shuffle in self.analysis.shuffles}
        done: set[int] = set()
        for node, view in self.analysis.nodes:
            shuffle = shuffles.get(id(node))
            if shuffle is not None and self._breaks(shuffle):
                self._gather(shuffle, view)
                done |= {id(n) for n in shuffle.nodes}
            if id(node) not in done and self._changes(node):
                if id(node) in self._counted:
                    self._edit.begin()
                self._rewrite(node, view)
        self._collect()
        for made, old in self._renamed:
            if not self._edit.uses.reads(old) and self._edit.uses.producer(old) is None:
                self._edit.take_name(made, old)

    def _collect(self) -> None:
        """Remove what computed the constants that were cut, and nothing reads any more."""
        pending = [tensor for node, _ in self.analysis.nodes for tensor in node.inputs]
        while pending:
            tensor = pending.pop()
            node = self._edit.uses.producer(tensor)
            unread = node is not None and not any(
                self._edit.uses.reads(t) or id(t) in self._edit.uses.pinned for t in node.outputs
            )
            if node is not None and unread and self.analysis.is_constant(tensor):
                self._edit.remove(node)
                pending.extend(node.inputs)

    def _changes(self, node: gs.Node) -> bool:
        return any(self.keep.indices(t) for t in (*node.inputs, *node.outputs)) or any(
            not self.keep.of(sliced.cells).all() for sliced in self._sliced_by.get(id(node), ())
        )

    def _tensor(self, tensor: gs.Tensor, view: View) -> gs.Tensor:
        """Return what stands for `tensor`: itself where it loses nothing."""
        kept = self.keep.indices(tensor)
        if not kept:
            return tensor
        if id(tensor) not in self._new:
            found = view.type(tensor)
            like = None
            if found is not None and found.shape is not None:
                shape = [len(kept[a]) if a in kept else d for a, d in enumerate(found.shape)]
                like = TensorType(found.dtype, tuple(shape))
            made = self._edit.variable(f"{tensor.name}_kept", like)
            self._new[id(tensor)] = made
            self._renamed.append((made, tensor))
        return self._new[id(tensor)]

    def _rewrite(self, node: gs.Node, view: View) -> None:
        fold = self._folds.get(id(node))
        inputs = [self._tensor(tensor, view) for tensor in node.inputs]
        outputs = [self._tensor(tensor, view) for tensor in node.outputs]
        attrs = dict(node.attrs)
        if fold is not None:
            self._layer(fold, inputs, outputs, attrs, view)
            return
        cuts: dict[int, dict[int, Array]] = {}
        for sliced in self._sliced_by.get(id(node), ()):
            left = self.keep.of(sliced.cells)
            if not left.all():
                cuts.setdefault(sliced.position, {})[sliced.axis] = np.flatnonzero(left)
        for position, axes in cuts.items():
            inputs[position] = self._sliced(node.inputs[position], axes)
        change = SIZES[node.op](node, view, self.keep) if node.op in SIZES else SizeChange()
        self._edit.remove(node)
        if change.nodes is not None:
            change.nodes(inputs[0], outputs[0], self._edit)
            return
        for position, values in change.constants.items():
            inputs += [gs.Variable.empty()] * (position + 1 - len(inputs))
            if position < len(node.inputs) and node.inputs[position].name:
                inputs[position] = self._constant(values, node.inputs[position])
            else:
                inputs[position] = self._edit.constant(values, f"{node.outputs[0].name}_sizes")
        for position in change.dropped:
            if position < len(inputs):
                inputs[position] = gs.Variable.empty()
        while inputs and not inputs[-1].name:
            inputs.pop()
        attrs.update(change.attrs)
        attrs = {name: value for name, value in attrs.items() if value is not None}
        self._edit.node(node.op, inputs, outputs, attrs, at=node, domain=node.domain)

    def _sliced(self, tensor: gs.Tensor, axes: dict[int, Array]) -> gs.Tensor:
        """Return a constant with the indices given along each axis."""
        key = (id(tensor), *((axis, index.tobytes()) for axis, index in sorted(axes.items())))
        if key not in self._constants:
            values = self.analysis.values(tensor)
            assert values is not None
            for axis, index in axes.items():
                values = values.take(index, axis)
            self._constants[key] = self._constant(values, tensor)
        return self._constants[key]

    def _constant(self, values: Array, old: gs.Tensor) -> gs.Tensor:
        made = self._edit.constant(np.asarray(values, order="C"), f"{old.name}_kept")
        if isinstance(old, gs.Constant):
            self._renamed.append((made, old))
        return made

    def _layer(
        self,
        fold: LayerFold,
        inputs: list[gs.Tensor],
        outputs: list[gs.Tensor],
        attrs: dict[str, Any],
        view: View,
    ) -> None:
        layer = fold.layer
        node = layer.node
        read, made = self.keep.of(layer.read), self.keep.of(layer.made)
        inputs[1] = self._weight(layer, read, made)
        groups = (read.reshape(layer.group, -1).any(axis=1)) | (
            made.reshape(layer.group, -1).any(axis=1)
        )
        if layer.group > 1:
            attrs["group"] = int(groups.sum())
        shift = self._shift(fold, read, made)
        bias = self._bias(layer, made, shift)
        self._edit.remove(node)
        added = node.op == "MatMul" and bias is not None
        if not added:
            inputs[2:] = [] if bias is None else [bias]
        if added:
            assert bias is not None
            product = self._edit.variable(f"{outputs[0].name}_product", view.type(outputs[0]))
            self._edit.node(node.op, inputs, [product], attrs, at=node)
            self._edit.node("Add", [product, bias], outputs, at=node)
            return
        self._edit.node(node.op, inputs, outputs, attrs, at=node)

    def _shift(self, fold: LayerFold, read: Array, made: Array) -> Array | None:
        """Return what inputs that are gone gave to the outputs left, [M'], where it is anything."""
        if read.all() or not fold.known[~read].any():
            return None
        weight = self.analysis.values(fold.layer.node.inputs[1])
        assert weight is not None
        given = fold.given(weight, ~read)[made]
        return given if given.any() else None

    def _weight(self, layer: ChannelLayer, read: Array, made: Array) -> gs.Tensor:
        tensor = layer.node.inputs[1]
        if read.all() and made.all():
            return tensor
        key = (id(tensor), read.tobytes(), made.tobytes(), layer.group)
        if key in self._constants:
            return self._constants[key]
        masked = self.analysis.masked(tensor)
        if masked is None:
            values = self.analysis.values(tensor)
            assert values is not None
            result = self._constant(self._cut(layer, values, read, made), tensor)
        else:
            weight, mask = self.analysis.values(masked.weight), self.analysis.values(masked.mask)
            assert weight is not None
            assert mask is not None
            left = self._cut(layer, np.broadcast_to(mask, weight.shape), read, made)
            cut = self._constant(self._cut(layer, weight, read, made), masked.weight)
            result = cut if left.all() else self._remask(masked.node, cut, left, masked.mask)
        self._constants[key] = result
        return result

    def _remask(
        self, node: gs.Node, weight: gs.Tensor, left: Array, mask: gs.Constant
    ) -> gs.Tensor:
        product = self._edit.variable(f"{node.outputs[0].name}_kept")
        self._edit.node("Mul", [weight, self._constant(left, mask)], [product], at=node)
        return product

    def _cut(self, layer: ChannelLayer, values: Array, read: Array, made: Array) -> Array:
        blocks = cut_blocks(layer, to_blocks(layer.node, values), read, made)
        return np.ascontiguousarray(from_blocks(layer.node, blocks))

    def _bias(self, layer: ChannelLayer, made: Array, shift: Array | None) -> gs.Tensor | None:
        """Return the bias for fewer outputs, or None where there is none."""
        node = layer.node
        old = bias_of(node)
        values = None if old is None else self.analysis.values(old)
        if is_absent_bias(node, values):
            values = None
        elif old is not None and values is None:
            return old
        if values is None and shift is None:
            return None
        if values is None:
            assert shift is not None
            weight = self.analysis.values(node.inputs[1])
            assert weight is not None
            return self._edit.constant(stored(shift, weight.dtype), f"{node.inputs[1].name}_bias")
        assert old is not None
        wide = values.size > 1 and values.shape[-1] == len(made)
        if shift is None:
            if not wide or made.all():
                return old
            return self._sliced(old, {values.ndim - 1: np.flatnonzero(made)})
        cut = values[..., made] if wide else values
        beta = node.attrs.get("beta", 1.0) if node.op == "Gemm" else 1.0
        total = np.asarray(cut, np.float64) + shift / beta
        return self._constant(stored(total, values.dtype), old)

    def _breaks(self, shuffle: ChannelShuffle) -> bool:
        """Say whether the channels left of a shuffle do not fill the grid between its nodes."""
        for node in shuffle.nodes[:-1]:
            labels = self.analysis.of(node.outputs[0])
            if labels is None:
                continue
            left = self.keep.of(labels)
            count = 1
            for axis in varying(labels):
                others = tuple(a for a in range(labels.ndim) if a != axis)
                count *= int(left.any(axis=others).sum())
            if count != int(left.sum()):
                return True
        return False

    def _gather(self, shuffle: ChannelShuffle, view: View) -> None:
        source, result = (self.analysis.of(t) for t in (shuffle.source, shuffle.result))
        assert source is not None
        assert result is not None
        before = self.keep.of(source).reshape(-1)
        place = np.cumsum(before) - 1
        order = place[shuffle.order[self.keep.of(result).reshape(-1)]]
        last = shuffle.nodes[-1]
        inputs = [
            self._tensor(shuffle.source, view),
            self._edit.constant(order.astype(np.int64), f"{shuffle.result.name}_order"),
        ]
        output = self._tensor(shuffle.result, view)
        for node in reversed(shuffle.nodes):
            self._edit.remove(node)
        self._edit.node("Gather", inputs, [output], {"axis": shuffle.axis}, at=last)
