"""Types of results that follow from what was inferred before: of a like node of like operands.

types of results = f(operator, attributes, types of operands, values of short constants)

A network repeats its layers, and most edits leave the types of a layer's operands as they were: of
such nodes inference is not asked again. Where the values of an operand that is no constant may
count, or a size has neither a number nor a name of the file's, the equation does not say enough,
and nothing is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...core.variables import FUSED_DOMAIN, dense_values, is_standard
from ...graph.types import TensorType, Types, without_made_up
from ..traits.groups import LAYERS
from .followed import holds_sizes, reads_values

Results = tuple[TensorType | None, ...]

_PLAIN = frozenset({int, float, str})


class KnownResults:
    """What inference said of the nodes of a graph, by all that it follows from.

    The operator sets and the functions of the graph stay as they are: where they change, all types
    are inferred anew, and what is known begins anew.
    """

    def __init__(self) -> None:
        self._found: dict[Hashable, Results] = {}

    def learn(self, nodes: Iterable[gs.Node], types: Types, inputs: Collection[int]) -> None:
        """Keep the types of the results of `nodes`."""
        for node in nodes:
            key = key_of(node, types, inputs)
            if key is None or key in self._found:
                continue
            results = tuple(types.of(t) if t.name else None for t in node.outputs)
            if _follows(results, node, types):
                self._found[key] = results

    def of(self, key: Hashable) -> Results | None:
        """Return the types of the results of nodes with this key, None where they are not known."""
        return self._found.get(key)


def key_of(node: gs.Node, types: Types, inputs: Collection[int]) -> Hashable:
    """Return what the types of the results of `node` follow from, None where more may count.

    `inputs`: those of the graph, by id.
    """
    if not (is_standard(node) or node.domain == FUSED_DOMAIN):
        return None
    # What layers add up is never a size, and fused operators begin with one.
    weighs = node.op in LAYERS or node.domain == FUSED_DOMAIN
    operands = list[Hashable]()
    for tensor in node.inputs:
        if isinstance(tensor, gs.Constant) and id(tensor) not in inputs:
            held = tensor._values
            like = held if type(held) is np.ndarray else tensor
            counts = not weighs or like.dtype.kind in "iu"
            values = _values(tensor) if counts and reads_values(tensor) else None
            operands.append((like.dtype, tuple(like.shape), values))
        elif tensor.name:
            found = types.of(tensor)
            if isinstance(tensor, gs.Constant) or found is None or holds_sizes(found):
                return None
            if any(size is None or without_made_up(size) != size for size in found.shape or ()):
                return None
            operands.append((found.dtype, found.shape))
        else:
            operands.append(None)
    attributes = list[Hashable]()
    for name, value in node.attrs.items():
        frozen = value if type(value) in _PLAIN else _frozen(value)
        if frozen is None:
            return None
        attributes += (name, frozen)
    return node.op, node.domain, tuple(operands), tuple(attributes), len(node.outputs)


def _values(constant: gs.Constant) -> Hashable:
    values = dense_values(constant)
    return id(constant) if values is None or values.dtype.kind in "OUS" else values.tobytes()


def _frozen(value: Any) -> Hashable:
    """Return an attribute's value as something that does not change; None where it may."""
    if type(value) is list and all(type(each) in _PLAIN for each in value):
        return tuple(value)
    return None


def _follows(results: Results, node: gs.Node, types: Types) -> bool:
    """Say whether each size of `results` is a number, or called as one of the operands is."""
    named: set[object] = set()
    for tensor in node.inputs:
        found = types.of(tensor) if tensor.name else None
        named.update(() if found is None else found.shape or ())
    return all(
        found is not None
        and found.shape is not None
        and all(
            isinstance(size, int) or (size is not None and size in named) for size in found.shape
        )
        for found, tensor in zip(results, node.outputs, strict=True)
        if tensor.name
    )
