"""Which nodes of a graph become narrow, before any of them does.

A node does unless something of it cannot, or must not. Of the rest, a group joined by float32
tensors does if its constants save more bytes than the Casts around it take.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError, need
from ....ir.core.variables import is_standard, node_key
from ....ir.graph.view import View
from ....ir.ops.quantization.nodes import is_dequantizer, is_quantizer
from .borders import settle_borders
from .groups import AGNOSTIC, groups_worth
from .narrow import Array, check_range, lost, narrow_values
from .slots import Slots, find_slots
from .stored import is_constant_node, stored_values

_SMALL = "Casts around it would take more space than it saves"
_BORDER = "it would need more Casts than it has as float32"


@dataclass(frozen=True, kw_only=True)
class NarrowingLimits:
    """What is converted to, and what stays float32: nodes, operators, tensors too large (by id).

    `faster`: operators for whose speed nodes are converted that hold no constants. `fed`: what the
    tensors were seen on.
    """

    dtype: np.dtype[Any]
    kind: str
    exclude: Collection[str] = ()
    keep: Collection[str] = ()
    faster: Collection[str] = ()
    too_large: Mapping[int, float] = field(default_factory=dict)
    fed: str = "the feeds"


@dataclass
class NarrowingPlan:
    """The nodes of one scope that become narrow, and the others with the reason.

    `constants`: by the id of the float32 constant; `lost`: how many of their values become 0.
    """

    nodes: list[tuple[gs.Node, Slots]] = field(default_factory=list)
    declined: list[tuple[gs.Node, str]] = field(default_factory=list)
    constants: dict[int, Array] = field(default_factory=dict)
    lost: int = 0


def make_plan(view: View, opset: int, limits: NarrowingLimits) -> NarrowingPlan:
    """Return what becomes narrow in the scope of `view`, its operators taken as of `opset`."""
    plan = NarrowingPlan()
    sizes = _sizes(view)
    for node in view.scope.nodes:
        if is_constant_node(node) or (is_standard(node) and node.op in AGNOSTIC):
            continue
        try:
            slots = find_slots(node, view, opset, limits.kind)
            if slots is None:
                continue
            _check(node, slots, view, limits, sizes)
            _narrow_constants(node, slots, view, limits, plan)
            _check_magnitudes(node, limits)
        except DeclinedError as reason:
            plan.declined.append((node, str(reason)))
            continue
        plan.nodes.append((node, slots))
    _keep(plan, groups_worth(plan.nodes, plan.constants, view, limits.faster), _SMALL)
    _keep(plan, settle_borders(plan.nodes, plan.constants, view), _BORDER)
    reads = [node.inputs[p] for node, slots in plan.nodes for p in slots.inputs]
    chosen = {id(tensor): tensor for tensor in reads}
    plan.constants = {key: plan.constants[key] for key in chosen if key in plan.constants}
    for key, narrowed in plan.constants.items():
        values = stored_values(chosen[key], view)
        assert values is not None
        plan.lost += lost(values, narrowed)
    return plan


def _keep(plan: NarrowingPlan, chosen: Sequence[bool], reason: str) -> None:
    for (node, _), kept in zip(plan.nodes, chosen, strict=True):
        if not kept:
            plan.declined.append((node, reason))
    plan.nodes = [entry for entry, kept in zip(plan.nodes, chosen, strict=True) if kept]


def _check(
    node: gs.Node, slots: Slots, view: View, limits: NarrowingLimits, sizes: Collection[int]
) -> None:
    need(node_key(node) not in limits.exclude, "it is excluded")
    need(node.op not in limits.keep, f"keep names {node.op}")
    need(not _on_integers(node, view), "it runs on integers, whose scales are float32")
    need(
        not any(id(t) in sizes for t in node.outputs),
        f"it computes with sizes, which {limits.kind} does not hold exactly",
    )


def _check_magnitudes(node: gs.Node, limits: NarrowingLimits) -> None:
    for tensor in (*node.inputs, *node.outputs):
        largest = limits.too_large.get(id(tensor), 0.0)
        need(
            not largest,
            f"'{tensor.name}' reaches {largest:.3g} on {limits.fed}, too near to infinity",
        )


def _narrow_constants(
    node: gs.Node, slots: Slots, view: View, limits: NarrowingLimits, plan: NarrowingPlan
) -> None:
    for position in slots.inputs:
        tensor = node.inputs[position]
        values = stored_values(tensor, view)
        if values is None:
            need(not view.is_constant(tensor), "its constant is sparse")
            continue
        if id(tensor) not in plan.constants:
            plan.constants[id(tensor)] = narrow_values(values, limits.dtype)
        check_range(node, position, values, plan.constants[id(tensor)])


def _on_integers(node: gs.Node, view: View) -> bool:
    """Say whether runtimes compute `node` on integers, with the (de)quantizers around it."""
    if _gives_integers(node):
        return True
    if is_dequantizer(node):
        stored = view.constant(node.inputs[0])
        if stored is None or stored.dtype == np.int32:  # activations; biases, with tiny scales
            return True
        return any(_beside_integers(n, view) for n in view.readers(node.outputs[0]))
    return _beside_integers(node, view)


def _gives_integers(node: gs.Node) -> bool:
    return is_quantizer(node) or node.op == "DynamicQuantizeLinear"


def _beside_integers(node: gs.Node, view: View) -> bool:
    producers = (view.producer(tensor) for tensor in node.inputs)
    if any(
        p is not None and is_dequantizer(p) and not view.is_constant(p.inputs[0]) for p in producers
    ):
        return True
    return any(_gives_integers(reader) for t in node.outputs for reader in view.readers(t))


def _sizes(view: View) -> set[int]:
    """Return the ids of the float32 vectors and scalars computed from integers: shapes, mostly."""
    found: set[int] = set()
    for node in view.scope.nodes:
        if node.op == "Cast":
            kind = view.dtype(node.inputs[0])
            from_integers = kind is not None and kind.kind in "iu"
        else:
            from_integers = any(id(t) in found for t in node.inputs)
        if from_integers:
            ranks = [view.rank(t) for t in node.outputs if t.name]
            if all(rank is not None and rank <= 1 for rank in ranks):
                found.update(id(t) for t in node.outputs if view.dtype(t) == np.float32)
    return found
