"""The constant weights of a graph's layers and its tables, and what may be done with each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError, need
from ....ir.core.variables import is_standard
from ....ir.graph.view import View
from ....ir.ops.linear.operators import (
    CONV_OPS,
    bias_of,
    group_of,
    input_axis,
    is_transposed,
    output_axis,
    reads_transposed,
)
from ....ir.ops.traits import traits_of
from ....ir.ops.traits.groups import LAYERS
from ...engine.node_names import NodeSelection

Array = np.ndarray[Any, Any]
# The type of an option, which lists its values; a test holds it to the traits.
WeightedOp = Literal["Conv", "ConvTranspose", "Gemm", "MatMul", "Gather", "GRU", "LSTM", "RNN"]
WEIGHTED: tuple[WeightedOp, ...] = get_args(WeightedOp)
# Nodes by which integers become real numbers again.
_RETURN = frozenset({"Cast", "DequantizeLinear", "Mul", "Reshape", "Sub"})
_MOST_STEPS = 4


@dataclass(frozen=True, kw_only=True)
class WeightRole:
    """How a node uses its weight: the axis of its channels, and the axis it sums over.

    `is_matrix`: input times weight of rank 2, and at most a bias added; as [K, N] once `transposed`
    is undone and `alpha` multiplied in. `is_table`: entries along `channels` are looked up.
    `position`: the input that it is.
    """

    channels: int
    sums: int
    is_matrix: bool = False
    transposed: bool = False
    alpha: float = 1.0
    is_table: bool = False
    position: int = 1


@dataclass
class LinearWeight:
    """A constant and the nodes of one scope that read it as their weight, all in one role."""

    tensor: gs.Tensor
    values: Array
    role: WeightRole
    view: View
    nodes: list[gs.Node] = field(default_factory=list)


def role_of(node: gs.Node, weight: Array, position: int = 1) -> WeightRole:
    """Return how `node` uses `weight`, its input at `position`."""
    if node.op not in LAYERS:
        if position:  # of a recurrent layer, [directions, gates, inputs]
            return WeightRole(channels=weight.ndim - 2, sums=weight.ndim - 1, position=position)
        axis = int(node.attrs.get("axis", 0)) % weight.ndim
        return WeightRole(channels=axis, sums=int(not axis), is_table=True, position=position)
    if node.op == "ConvTranspose" and group_of(node) > 1:  # rows tell channels apart
        return WeightRole(channels=0, sums=0)
    if node.op in CONV_OPS:
        return WeightRole(channels=output_axis(node), sums=input_axis(node))
    if node.op == "MatMul":
        last = max(weight.ndim - 1, 0)
        return WeightRole(channels=last, sums=max(last - 1, 0), is_matrix=weight.ndim == 2)
    transposed = is_transposed(node)
    alpha, beta = float(node.attrs.get("alpha", 1.0)), float(node.attrs.get("beta", 1.0))
    plain = not reads_transposed(node) and (beta == 1.0 or bias_of(node) is None)
    return WeightRole(
        channels=int(not transposed),
        sums=int(transposed),
        is_matrix=plain,
        transposed=transposed,
        alpha=alpha,
    )


def find_weights(
    view: View, operators: Sequence[str], selection: NodeSelection
) -> tuple[list[LinearWeight], list[tuple[gs.Node, str]]]:
    """Return the weights in the scope of `view`, and the nodes left alone with the reasons."""
    found: dict[int, LinearWeight] = {}
    refused: dict[int, str] = {}
    seen: list[tuple[gs.Node, gs.Tensor]] = []
    declined: list[tuple[gs.Node, str]] = []
    reads = ((node, p) for node in view.scope.nodes for p in _weight_positions(node, view))
    for node, position in reads:
        tensor = node.inputs[position]
        try:
            values = _readable(node, tensor, view)
            need(node.op in operators, f"operators does not name {node.op}")
            selection.need_selected(node)
            role = role_of(node, values, position)
        except DeclinedError as reason:
            declined.append((node, str(reason)))
            continue
        weight = found.setdefault(id(tensor), LinearWeight(tensor, values, role, view))
        if weight.role != role:
            refused[id(tensor)] = "its weight is shared by operators that use it differently"
        weight.nodes.append(node)
        seen.append((node, tensor))
    for key, weight in found.items():
        readers = {id(node) for node in view.readers(weight.tensor)}
        if readers != {id(node) for node in weight.nodes} or _reads_twice(weight):
            refused.setdefault(key, "its weight is read by others too, which need it as it is")
        elif view.is_output(weight.tensor):
            refused.setdefault(key, "its weight is a graph output")
    declined += [(node, refused[id(t)]) for node, t in seen if id(t) in refused]
    return [weight for key, weight in found.items() if key not in refused], declined


def _weight_positions(node: gs.Node, view: View) -> tuple[int, ...]:
    """Return the inputs of `node` that are weights; a table is one where it is known to be such."""
    if not is_standard(node):
        return ()
    if node.op in LAYERS:
        return (1,)
    if traits_of(node.op, view.opset).recurrent:
        return (1, 2)
    return (0,) if node.op == "Gather" and _is_table(node.inputs[0], view) else ()


def _is_table(tensor: gs.Tensor, view: View) -> bool:
    values = view.constant(tensor) if view.is_constant(tensor) else None
    return values is not None and values.ndim >= 2 and values.dtype.kind == "f"


def _readable(node: gs.Node, tensor: gs.Tensor, view: View) -> Array:
    if not isinstance(tensor, gs.Constant):
        need(not _is_integers(tensor, view), "its weight is quantized already")
        need(None, "its weight is computed, not constant")
    need(view.is_constant(tensor), "its weight is a graph input, which callers may replace")
    values = need(view.constant(tensor), "its weight is sparse")
    need(values.dtype in (np.float32, np.float16), f"its weight is {values.dtype.name}")
    need(values.size and values.ndim >= 2, "its weight has fewer than two axes, or no values")
    need(bool(np.isfinite(values).all()), "its weight holds NaN or infinity")
    return values


def _is_integers(tensor: gs.Tensor, view: View) -> bool:
    """Say whether `tensor` is computed from constant integers, by nothing but `_RETURN`."""
    for _ in range(_MOST_STEPS):
        source = view.producer(tensor)
        if source is None or source.op not in _RETURN:
            break
        tensor = source.inputs[0]
    stored = view.constant(tensor)
    return stored is not None and "int" in stored.dtype.name


def _reads_twice(weight: LinearWeight) -> bool:
    return any(sum(t is weight.tensor for t in node.inputs) > 1 for node in weight.nodes)
