"""Writing a region whose nodes changed their layout back into the graph."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.ops.axes.permutation import (
    Order,
    induced,
    inverse,
    is_identity,
    perm_of,
    permuted,
    then,
)
from ....ir.ops.build import build_unsqueeze
from .region import LayoutRegion, RegionNode


@dataclass(kw_only=True)
class _Result:
    """A value that a moved node gives, who reads it, and its other layout."""

    value: gs.Tensor
    order: Order
    node: gs.Node
    exits: list[gs.Node]
    neutral: list[gs.Node]
    still_read: bool
    other: gs.Tensor = field(init=False)


def relayout(region: LayoutRegion, ones: set[int], edit: Edit) -> None:
    """Make the members `ones` of `region` work in the other layout."""
    _Relayout(region, ones, edit).run()


class _Relayout:
    def __init__(self, region: LayoutRegion, ones: set[int], edit: Edit) -> None:
        self._region, self._edit, self._view = region, edit, region.view
        self._ones = ones
        self._moved = [region.members[number] for number in sorted(ones)]
        self._other: dict[int, gs.Tensor] = {}  # id of a value -> its other layout
        self._alias: dict[int, gs.Tensor] = {}  # id of a tensor -> what replaced it
        self._constants: dict[tuple[int, int, Order], gs.Constant] = {}

    def run(self) -> None:
        edit = self._edit
        results = [r for member in self._moved for r in self._results(member)]
        entries = self._entries()
        for result in results:
            shown = [e.outputs[0] for e in result.exits if self._view.is_output(e.outputs[0])]
            result.other = shown[0] if shown else self._variable(result.value, result.order)
            self._other[id(result.value)] = result.other
        for node in [*(e for r in results for e in r.exits), *(m.node for m in self._moved)]:
            edit.remove(node)
        for result in results:
            for node in result.exits:
                self._pass_on(node, result.other)
        for member in self._moved:
            self._write(member)
        for result in results:
            for reader in result.neutral:
                self._reread(reader, result)
            if result.still_read:
                perm = inverse(result.order)
                self.transpose(result.other, perm, result.value, at=result.node)
        for node in entries:
            gone = edit.uses.scope(node) is None
            if not gone and not any(
                self._view.readers(t) or self._view.is_output(t) for t in node.outputs
            ):
                edit.remove(node)

    def _results(self, member: RegionNode) -> list[_Result]:
        region = self._region
        found: list[_Result] = []
        for position in member.ports.outputs:
            value = member.node.outputs[position]
            order = region.order[id(value)]
            if is_identity(order):
                continue
            exits = region.exits(value)
            taken = {id(node) for node in exits}
            readers = [r for r in self._view.readers(value) if id(r) not in taken]
            neutral = [r for r in readers if id(r) not in region.number and region.is_neutral(r)]
            still_read = self._view.is_output(value) or any(
                self._reads_as_it_was(r, value) for r in readers if r not in neutral
            )
            found.append(
                _Result(
                    value=value,
                    order=order,
                    node=member.node,
                    exits=exits,
                    neutral=neutral,
                    still_read=still_read,
                )
            )
        return found

    def _reads_as_it_was(self, reader: gs.Node, value: gs.Tensor) -> bool:
        number = self._region.number.get(id(reader))
        if number is None or number not in self._ones:
            return True
        return not self._region.reads_as_data(self._region.members[number], value)

    def _entries(self) -> list[gs.Node]:
        producers = (self._view.producer(t) for m in self._moved for t in m.node.inputs)
        found = {id(node): node for node in producers if node is not None}
        return [node for key, node in found.items() if node.op == "Transpose"]

    def _pass_on(self, node: gs.Node, other: gs.Tensor) -> None:
        """Give the readers of an exit the value it stood for."""
        result = node.outputs[0]
        if result is other:
            return
        if self._view.is_output(result):
            self._edit.node("Identity", [other], [result], at=node)
        else:
            self._alias[id(result)] = other
            self._edit.replace(result, other)

    def _write(self, member: RegionNode) -> None:
        node, change = member.node, member.change
        inputs = list(node.inputs)
        for position, tensor in enumerate(node.inputs):
            if position in member.ports.inputs:
                order = induced(member.order, member.ports.inputs[position])
                inputs[position] = self._input(tensor, order, len(order), node)
            elif position in member.ports.loose:
                inputs[position] = self._loose(tensor, member)
            else:
                inputs[position] = self._alias.get(id(tensor), tensor)
        for position, values in change.constants.items():
            inputs += [gs.Variable.empty()] * (position + 1 - len(inputs))
            name = inputs[position].name or f"{node.outputs[0].name}_axes"
            inputs[position] = self._edit.constant(values, f"{name}_permuted")
        if change.operands is not None:
            inputs = [inputs[position] for position in change.operands]
        outputs = [self._other.get(id(t), t) if t.name else t for t in node.outputs]
        attrs = {**node.attrs, **change.attrs}
        self._edit.node(node.op, inputs, outputs, attrs, at=node, domain=node.domain)
        for reader, position, axis, rows in change.weights:
            weight = self._view.constant(reader.inputs[position])
            assert weight is not None
            values = np.ascontiguousarray(np.take(weight, rows, axis=axis))
            name = f"{reader.inputs[position].name}_permuted"
            self._edit.set_input(reader, position, self._edit.constant(values, name))

    def _input(self, tensor: gs.Tensor, order: Order, rank: int, at: gs.Node) -> gs.Tensor:
        """Return the other layout of what a moved node reads."""
        if self._view.is_constant(tensor):
            return self._constant(tensor, order, rank)
        if is_identity(order):
            return self._alias.get(id(tensor), tensor)
        if id(tensor) not in self._other:
            source = self._region.source(tensor)
            exits = self._region.exits(tensor)
            if source is not None and is_identity(source[1]):
                found = source[0]
            elif exits:
                found = exits[0].outputs[0]
            elif source is not None:
                found = self.transpose(*source, None, at=at)
            else:
                found = self.transpose(self._alias.get(id(tensor), tensor), order, None, at=at)
            self._other[id(tensor)] = found
        found = self._other[id(tensor)]
        return self._alias.get(id(found), found)

    def _loose(self, tensor: gs.Tensor, member: RegionNode) -> gs.Tensor:
        """Return the other layout of an operand that broadcasting aligns with the last axes."""
        rank = member.ports.rank
        if self._view.is_constant(tensor):
            return self._constant(tensor, member.order, rank)
        tensor = self._alias.get(id(tensor), tensor)
        shape = self._view.shape(tensor)
        assert shape is not None
        if not shape:
            return tensor
        made = self._edit.variable(
            f"{tensor.name}_aligned", self._typed(tensor, (1,) * (rank - len(shape)) + shape)
        )
        front = range(rank - len(shape))
        build_unsqueeze(self._edit, tensor, made, front, at=member.node)
        return self.transpose(made, member.order, None, at=member.node)

    def _constant(self, tensor: gs.Tensor, order: Order, rank: int) -> gs.Tensor:
        values = self._view.constant(tensor)
        if values is None or not values.ndim:
            return tensor
        key = (id(tensor), rank, order)
        if key not in self._constants:
            aligned = values.reshape((1,) * (rank - values.ndim) + values.shape)
            self._constants[key] = self._edit.constant(
                np.ascontiguousarray(aligned.transpose(order)), f"{tensor.name}_permuted"
            )
        return self._constants[key]

    def _reread(self, reader: gs.Node, result: _Result) -> None:
        """Make a Transpose or a Shape read the other layout."""
        edit = self._edit
        back = inverse(result.order)
        perm = perm_of(reader, self._view)
        edit.remove(reader)
        if perm is None:
            write_shape(result.other, back, reader, edit)
        else:
            self.transpose(result.other, then(back, perm), reader.outputs[0], at=reader)

    def transpose(
        self, tensor: gs.Tensor, perm: Order, result: gs.Tensor | None, *, at: gs.Node
    ) -> gs.Tensor:
        """Add a Transpose that gives `result`, or a fresh variable."""
        made = result if result is not None else self._variable(tensor, perm)
        self._edit.node("Transpose", [tensor], [made], {"perm": list(perm)}, at=at)
        return made

    def _variable(self, tensor: gs.Tensor, perm: Order) -> gs.Variable:
        shape = self._view.shape(tensor)
        like = None if shape is None else self._typed(tensor, permuted(shape, perm))
        return self._edit.variable(f"{tensor.name}_permuted", like)

    def _typed(self, tensor: gs.Tensor, shape: tuple[int | str | None, ...]) -> TensorType | None:
        found = self._view.type(tensor)
        return None if found is None else TensorType(found.dtype, shape)


def write_shape(tensor: gs.Tensor, perm: Order, shape: gs.Node, edit: Edit) -> None:
    """Give the result of the removed Shape node, of transpose(tensor, perm), from `tensor`."""
    whole = edit.variable(f"{shape.outputs[0].name}_source")
    picked = perm[slice(shape.attrs.get("start", 0), shape.attrs.get("end"))]
    index = edit.constant(np.array(picked, np.int64), f"{shape.outputs[0].name}_order")
    edit.node("Shape", [tensor], [whole], at=shape)
    edit.node("Gather", [whole, index], [shape.outputs[0]], {"axis": 0}, at=shape)
