"""The way of a squeeze-and-excite block from its product back to what it squeezes, by operators."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ....ir.core.variables import FUSED_DOMAIN, is_standard
from ....ir.graph.view import View
from ....ir.ops.fused.activations import ACTIVATION_OPS, FoundActivation, find_activation
from ....ir.ops.traits.groups import LAYERS, RESHAPES


@dataclass(frozen=True)
class LinearStage:
    """A linear operator of the block: its nodes, the last first, and what it reads."""

    nodes: tuple[gs.Node, ...]
    source: gs.Tensor

    @property
    def is_conv(self) -> bool:
        """Say whether it is a convolution."""
        return bool(self.nodes[-1].op == "Conv")


Path = tuple[FoundActivation, LinearStage, FoundActivation, LinearStage, tuple[gs.Node, ...]]


def read_path(x: gs.Tensor, scale: gs.Tensor, view: View) -> Path | None:
    """Return gate, second and first linear operator and every other node between x and `scale`.

    Operators alone are looked at; whoever else reads a value between them is not.
    """
    others: list[gs.Node] = []
    gate = _activation_below(_skip_reshapes(scale, view, others), view)
    second = None if gate is None else _linear_below(gate.x, view)
    activation = None if second is None else _activation_below(second.source, view)
    first = None if activation is None else _linear_below(activation.x, view)
    if gate is None or second is None or activation is None or first is None:
        return None
    pool = view.producer(_skip_reshapes(first.source, view, others))
    if pool is None or pool.op not in ("GlobalAveragePool", "ReduceMean") or not is_standard(pool):
        return None
    others.append(pool)
    return (gate, second, activation, first, tuple(others)) if pool.inputs[0] is x else None


def _skip_reshapes(tensor: gs.Tensor, view: View, passed: list[gs.Node]) -> gs.Tensor:
    """Return what `tensor` is but for its shape, through at most two nodes."""
    for _ in range(2):
        producer = view.producer(tensor)
        if producer is None or producer.op not in RESHAPES or not is_standard(producer):
            break
        passed.append(producer)
        tensor = producer.inputs[0]
    return tensor


def _activation_below(tensor: gs.Tensor, view: View) -> FoundActivation | None:
    producer = view.producer(tensor)
    if producer is None or producer.op not in ACTIVATION_OPS:
        return None
    known = is_standard(producer) or producer.domain == FUSED_DOMAIN
    return find_activation(producer, view) if known else None


def _linear_below(tensor: gs.Tensor, view: View) -> LinearStage | None:
    producer = view.producer(tensor)
    if producer is None or not is_standard(producer):
        return None
    if producer.op in LAYERS - {"ConvTranspose"}:
        return LinearStage((producer,), producer.inputs[0])
    if producer.op != "Add":
        return None
    for operand in producer.inputs:
        below = view.producer(operand)
        if below is not None and below.op == "MatMul" and is_standard(below):
            return LinearStage((producer, below), below.inputs[0])
    return None
