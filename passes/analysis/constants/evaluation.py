"""Computing what does not depend on the inputs, without changing the graph.

Shared by the passes that fold constants and by those that must know a value (the condition of an
If, the trip count of a Loop) before they decide.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.build import make_constant, make_node, make_variable
from ....ir.core.errors import ExecutionError
from ....ir.core.variables import FUSED_DOMAIN, is_standard, subgraphs_of
from ....ir.graph.types import TensorType
from ....ir.graph.view import View
from ....ir.ops.quantization.nodes import quantizes_or_back
from ....ir.ops.shapes.infer import infer_types
from ....ir.ops.traits import traits_of
from ....ir.run.reference import evaluate
from ..sizes.shape_arithmetic import ShapeArithmetic
from .kernel_faults import why_not_computed
from .static_values import is_static, static_value, value_of_sizes

Array = np.ndarray[Any, Any]

# No intermediate of a condition or a trip count is larger; what is, is left to the runtime.
_MOST_BYTES = 1 << 20


def may_fold(node: gs.Node, opset: int) -> bool:
    """Say whether `node` always computes the same from the same inputs, and may be computed.

    Folding quantizers would undo a quantized model's point: weights stay int8 in the file.
    """
    return (
        (is_standard(node) or node.domain == FUSED_DOMAIN)
        and not quantizes_or_back(node)
        and traits_of(node, opset).pure
        and not subgraphs_of(node)
    )


def evaluable_form(node: gs.Node, view: View) -> gs.Node:
    """Return what to evaluate for `node`: itself, or a Cast for a CastLike."""
    if node.op != "CastLike":
        return node
    attrs = {**node.attrs, "to": dtypes.elem_type(view.dtype(node.inputs[1]))}
    inputs, outputs = node.inputs[:1], list(node.outputs)
    return make_node("Cast", node.name, attrs, inputs, outputs, None, link=False)


def infer_alone(scope: gs.Graph, node: gs.Node, tensor: gs.Tensor) -> TensorType | None:
    """Infer the type of one output from the values of the node's inputs, all constants."""
    # Older versions want initializers among the inputs.
    alone = gs.Graph(opset=scope.opset, import_domains=scope.import_domains, ir_version=8)
    outputs = [gs.Variable(t.name) for t in node.outputs]
    inputs = list(node.inputs)
    alone.nodes = [
        make_node(node.op, node.name, node.attrs, inputs, outputs, node.domain, link=False)
    ]
    types = infer_types(alone)
    return next(
        (types.of(o) for o in outputs if o.name == tensor.name and types.of(o) is not None), None
    )


def byte_size(found: TensorType | None) -> int | None:
    """Return how many bytes a tensor of this type has, or None where that is not static."""
    if found is None or found.shape is None or not is_static(found.shape):
        return None
    count = math.prod(d for d in found.shape if isinstance(d, int))
    return count * max(dtypes.bits(found.dtype) // 8, 1)


def constant_values(wanted: Iterable[gs.Tensor], view: View) -> dict[int, Array]:
    """Return the values, by tensor id, of those of `wanted` that follow from constants and shapes.

    Only small intermediates are computed, each once, all in one session. `wanted` and whatever they
    are computed from belong to the scope of `view`, or are constants of an outer one.
    """
    cone = _Cone(view)
    known: dict[int, Array] = {}
    missing: list[gs.Tensor] = []
    for tensor in {id(t): t for t in wanted}.values():
        values = view.constant(tensor)
        if values is not None:
            known[id(tensor)] = values
        elif cone.reaches(tensor):
            missing.append(tensor)
    if missing:
        known.update(cone.compute(missing))
    return known


class ValuesInOrder:
    """Values as `constant_values` gives them, asked for one by one in the order of the graph.

    Each node is looked at once for all of them, as it is when the first asks: types that are
    learned on the way count for what comes after them.
    """

    def __init__(self, view: View) -> None:
        self._view, self._cone = view, _Cone(view)

    def of(self, tensor: gs.Tensor) -> Array | None:
        """Return what `tensor` holds, None where that does not follow."""
        values = self._view.constant(tensor)
        if values is not None or not self._cone.reaches(tensor):
            return values
        return self._cone.compute([tensor]).get(id(tensor))


class _Cone:
    """The nodes behind some tensors that can be computed, in topological order."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._sizes = ShapeArithmetic()
        self._makers: dict[int, gs.Node] = {}  # of tensors that can be computed
        self._decided: dict[int, bool] = {}
        self._values: dict[int, gs.Constant] = {}

    def reaches(self, tensor: gs.Tensor) -> bool:
        """Say whether `tensor` can be computed; each node is looked at once for all of them."""
        pending = [tensor]
        while pending:
            current = pending[-1]
            if self._settled(current):
                pending.pop()
                continue
            node = self._view.producer(current)
            if node is None or not may_fold(node, self._view.opset):
                self._decided[id(current)] = False
                continue
            value = static_value(node, self._view)
            if value is None:
                value = value_of_sizes(node, self._view, self._sizes)
            if value is not None:
                self._values[id(current)] = make_constant(current.name, value)
                self._decided[id(current)] = True
                continue
            unsettled = [t for t in self._operands(node) if not self._settled(t)]
            if unsettled:
                pending += unsettled
                continue
            sound = not why_not_computed(node, self._view, self._known)
            computable = (
                sound
                and all(map(self._holds, self._operands(node)))
                and all(
                    (size := byte_size(self._view.type(t))) is not None and size <= _MOST_BYTES
                    for t in node.outputs
                    if t.name
                )
            )
            for t in node.outputs:
                self._decided[id(t)] = computable
                if computable:
                    self._makers[id(t)] = node
        return self._holds(tensor)

    def compute(self, wanted: list[gs.Tensor]) -> dict[int, Array]:
        known = {id(t): self._values[id(t)] for t in wanted if id(t) in self._values}
        found: dict[int, Array] = {key: np.asarray(c.values) for key, c in known.items()}
        left = [t for t in wanted if id(t) not in known]
        if not left:
            return found
        outputs: list[gs.Tensor] = [make_variable(t.name, self._view.dtype(t)) for t in left]
        try:
            nodes = [self._ready(node) for node in self._behind(left)]
            values = evaluate(self._view.scope, nodes, outputs)
        except ExecutionError:
            return found  # the runtime has no kernel for one of them: they stay unknown
        made = dict(zip(map(id, left), values, strict=True))
        self._values.update((id(t), make_constant(t.name, made[id(t)])) for t in left)
        return found | made

    def _behind(self, wanted: list[gs.Tensor]) -> list[gs.Node]:
        """Return what computes `wanted` from values that are known, in topological order."""
        found: dict[int, gs.Node] = {}
        pending = [(tensor, False) for tensor in wanted]
        while pending:
            tensor, ready = pending.pop()
            node = None if id(tensor) in self._values else self._makers.get(id(tensor))
            if node is None or id(node) in found:
                continue
            if ready:
                found[id(node)] = node
            else:
                pending += [(tensor, True), *((t, False) for t in self._operands(node))]
        return list(found.values())

    def _known(self, tensor: gs.Tensor) -> Array | None:
        held = self._values.get(id(tensor))
        return self._view.constant(tensor) if held is None else np.asarray(held.values)

    def _ready(self, node: gs.Node) -> gs.Node:
        """Return `node` with the values that need no evaluation in place of their producers."""
        node = evaluable_form(node, self._view)
        inputs = [self._values.get(id(t), t) for t in node.inputs]
        outputs = list(node.outputs)
        return make_node(node.op, node.name, node.attrs, inputs, outputs, node.domain, link=False)

    def _operands(self, node: gs.Node) -> list[gs.Tensor]:
        inputs = [t for t in node.inputs if t.name]
        if node.op == "CastLike" and self._view.dtype(node.inputs[1]) is not None:
            return inputs[:1]
        return inputs

    def _settled(self, tensor: gs.Tensor) -> bool:
        return id(tensor) in self._decided or self._view.is_constant(tensor)

    def _holds(self, tensor: gs.Tensor) -> bool:
        return self._view.constant(tensor) is not None or self._decided.get(id(tensor), False)
