"""Nodes of a network as graphs of their own, with what a program saw of their inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.variables import node_key
from ....ir.graph.types import TensorType
from ....ir.graph.view import View

# Weights of more elements are drawn anew: no code hangs on what they are.
_OF_THE_CODE = 64
_BYTES = ("int8", "uint8")


@dataclass(frozen=True)
class SingleNode:
    """A node, and the kinds of its inputs and outputs, None where they are not known.

    Of an input that a converter sees as bytes, that is what the bytes are.
    """

    node: gs.Node
    inputs: tuple[TensorType | None, ...]
    outputs: tuple[TensorType | None, ...]

    @property
    def name(self) -> str:
        """What the node is known by."""
        return node_key(self.node)


def single_of(node: gs.Node, view: View, held: Mapping[int, str] | None = None) -> SingleNode:
    """Return `node` of `view`; `held`: element types that inputs are seen in, by place."""
    inputs = [_kind(tensor, view) for tensor in node.inputs]
    outputs = [_kind(tensor, view) for tensor in node.outputs]
    for place, dtype in (held or {}).items():
        kind = inputs[place]
        if kind is not None and dtype in _BYTES and str(kind.dtype) != dtype:
            inputs[place] = TensorType(np.dtype(dtype), kind.shape)
            outputs = [None] * len(outputs)  # of these bytes
    return SingleNode(node, tuple(inputs), tuple(outputs))


def _kind(tensor: gs.Tensor, view: View) -> TensorType | None:
    found = None if tensor.is_empty() else view.type(tensor)
    return None if found is None or found.shape is None else found


def graph_of_singles(singles: Sequence[SingleNode], opset: int, domains: Any) -> gs.Graph | None:
    """Return one graph of `singles`, none of which reads another; None where a kind is unknown.

    The names of tensors, nodes and sizes are those of their places: equal nodes are equal graphs.
    """
    nodes: list[gs.Node] = []
    inputs: list[str] = []
    outputs: list[gs.Tensor] = []
    for place, single in enumerate(singles):
        made = _Copy(single, place).node()
        if made is None:
            return None
        nodes.append(made)
        inputs += dict.fromkeys(
            t.name for t in made.inputs if isinstance(t, gs.Variable) and t.name
        )
        outputs += [tensor for tensor in made.outputs if not tensor.is_empty()]
    by_name = {t.name: t for node in nodes for t in node.inputs}
    return gs.Graph(
        nodes, [by_name[name] for name in inputs], outputs, opset=opset, import_domains=domains
    )


class _Copy:
    """A copy of one node with names of its own."""

    def __init__(self, single: SingleNode, place: int) -> None:
        self._single = single
        self._place = place
        self._sizes: dict[Any, str] = {}

    def node(self) -> gs.Node | None:
        """Return it, None where the kind of an input is not known."""
        node = self._single.node
        made: dict[int, gs.Tensor] = {}
        for index, (tensor, kind) in enumerate(zip(node.inputs, self._single.inputs, strict=True)):
            if id(tensor) in made:
                continue
            name = f"x{self._place}_{index}"
            if tensor.is_empty():
                made[id(tensor)] = gs.Variable.empty()
            elif isinstance(tensor, gs.Constant):
                made[id(tensor)] = gs.Constant(name, _settled(np.asarray(tensor.values)))
            elif kind is None:
                return None
            else:
                made[id(tensor)] = self._variable(name, kind)
        results = [
            gs.Variable.empty() if tensor.is_empty() else self._variable(name, kind)
            for tensor, kind, name in zip(
                node.outputs,
                self._single.outputs,
                (f"y{self._place}_{index}" for index in range(len(node.outputs))),
                strict=True,
            )
        ]
        inputs = [made[id(tensor)] for tensor in node.inputs]
        return gs.Node(
            node.op, f"node{self._place}", dict(node.attrs), inputs, results, domain=node.domain
        )

    def _variable(self, name: str, kind: TensorType | None) -> gs.Variable:
        if kind is None:
            return gs.Variable(name)
        return gs.Variable(name, kind.dtype, [self._size(size) for size in kind.shape or ()])

    def _size(self, size: Any) -> int | str:
        if isinstance(size, int):
            return size
        key = size if size else object()
        return self._sizes.setdefault(key, f"s{self._place}_{len(self._sizes)}")


def _settled(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return `values`, or positive numbers of the same type and shape for weights."""
    if values.size <= _OF_THE_CODE or not dtypes.is_float(values.dtype):
        return values
    drawn = np.random.default_rng(values.shape).standard_normal(values.shape, np.float32)
    return np.asarray(np.abs(drawn) + np.float32(0.1), values.dtype)
