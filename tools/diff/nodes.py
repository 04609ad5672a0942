"""What differs between two nodes that are one another's counterpart."""

from __future__ import annotations

import itertools

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.dtypes import type_name
from ...ir.graph.types import TensorType, Types
from .match import Matching
from .model_diff import AttributeChange, InputChange, TypeChange
from .signatures import attribute_key, attributes_of
from .wiring import WireSource, Wiring

_MOST_ELEMENTS = 16  # of an attribute that are shown


def attribute_changes(
    before: gs.Node, after: gs.Node, opset_before: int, opset_after: int
) -> tuple[AttributeChange, ...]:
    """Return the attributes that differ, defaults filled in; bodies are compared elsewhere."""
    old, new = attributes_of(before, opset_before), attributes_of(after, opset_after)
    changes = []
    for name in sorted(old.keys() | new.keys()):
        one, two = old.get(name), new.get(name)
        if isinstance(one, gs.Graph) and isinstance(two, gs.Graph):
            continue
        if attribute_key(_plain(one)) != attribute_key(_plain(two)):
            changes.append(AttributeChange(name, shown_attribute(one), shown_attribute(two)))
    return tuple(changes)


def type_changes(
    before: gs.Node, after: gs.Node, types_before: Types, types_after: Types
) -> tuple[TypeChange, ...]:
    """Return the results whose type or sizes are known of both and differ."""
    found = []
    for place, (one, two) in enumerate(zip(before.outputs, after.outputs, strict=False)):
        old, new = types_before.of(one), types_after.of(two)
        if old is not None and new is not None and old != new:
            found.append(TypeChange(place, written_type(old), written_type(new)))
    return tuple(found)


def written_type(found: TensorType | None) -> str:
    """Write a type, `float32[1, 64, ?, ?]`; `?` of what is not known."""
    if found is None:
        return "?"
    if found.shape is None:
        return f"{type_name(found.dtype)}[...]"
    sizes = ", ".join("?" if size is None else str(size) for size in found.shape)
    return f"{type_name(found.dtype)}[{sizes}]"


def input_changes(
    a: Wiring, place_a: int, b: Wiring, place_b: int, matching: Matching
) -> tuple[InputChange, ...]:
    """Return the inputs that come from another node, graph input or none; constants do not count.

    What stands behind a node without counterpart is no change of its own.
    """
    old, new = list(a.sources[place_a]), list(b.sources[place_b])
    if a.commutes[place_a] and b.commutes[place_b]:
        new = _in_order(old, new, matching)
    absent = WireSource("absent")
    found = []
    for position, (one, two) in enumerate(itertools.zip_longest(old, new, fillvalue=absent)):
        if "constant" in (one.kind, two.kind) or _is_same(one, two, matching):
            continue
        if one.kind == "node" and one.index not in matching.forward:
            continue
        if two.kind == "node" and two.index not in matching.backward:
            continue
        found.append(InputChange(position, _name(a, one), _name(b, two)))
    return tuple(found)


def _in_order(old: list[WireSource], new: list[WireSource], matching: Matching) -> list[WireSource]:
    """Return `new` with what is the same as in `old` in the same places."""
    left = list(new)
    same: dict[int, WireSource] = {}
    for position, one in enumerate(old):
        found = next((two for two in left if _is_same(one, two, matching)), None)
        if found is not None:
            same[position] = found
            left.remove(found)
    size = max(len(old), len(new))
    return [
        same[place] if place in same else left.pop(0)
        for place in range(size)
        if left or place in same
    ]


def _is_same(one: WireSource, two: WireSource, matching: Matching) -> bool:
    if one.kind != two.kind or one.port != two.port:
        return False
    if one.kind == "node":
        return matching.forward.get(one.index) == two.index
    return one.index == two.index


def _name(wiring: Wiring, source: WireSource) -> str:
    if source.kind == "node":
        node = wiring.nodes[source.index]
        return f"{node.op} '{node.name}'" if node.name else str(node.op)
    if source.kind == "input":
        return f"input '{wiring.scope.inputs[source.index].name}'"
    return "nothing" if source.kind == "absent" else "a tensor from outside"


def _plain(value: object) -> object:
    return value.values if isinstance(value, gs.Constant) else value


def shown_attribute(value: object) -> object:
    """Return an attribute as JSON has it; a long one by type and size alone."""
    value = _plain(value)
    if isinstance(value, np.ndarray):
        if value.size > _MOST_ELEMENTS:
            return f"{type_name(value.dtype)}{list(value.shape)}"
        return value.tolist()
    if isinstance(value, list | tuple):
        return [shown_attribute(each) for each in value]
    if isinstance(value, gs.Node.AttributeRef):
        return f"the call's {value.name}"
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
