"""The weights of a graph, with what reads each: what another model's can be compared with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.constant_nodes import dense_value_of_constant_node
from ....ir.core.variables import dense_values, is_standard
from ....ir.graph.uses import Uses, scopes
from ....ir.ops.masks import is_mask, read_masked
from ....ir.ops.quantization.nodes import DEQUANTIZE, quantizes_or_back
from ....ir.ops.traits import operators_with
from ....ir.ops.traits.groups import INTEGER_LAYERS, READ_NO_VALUES
from ....ir.torch.names import is_path

Array = np.ndarray[Any, Any]

_INTEGER_READERS = INTEGER_LAYERS | {DEQUANTIZE}
_NORMALIZATIONS = operators_with(lambda traits: traits.normalization)
# What hands a weight on to the operator it is for.
_IN_BETWEEN = frozenset({"Cast", "Identity"})
_MOST_IN_BETWEEN = 4
# Counters of exporters: the same name in two files says nothing.
_MADE_UP = re.compile(
    r"onnx::.*|val_\d+|\d+|.*__\d+|_?c?_?lifted_tensor_\d+|(const|constant)(_.*)?", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True)
class NamedWeight:
    """A constant that is a weight: its tensor, a Constant or what a Constant node gives.

    `kind`: what it is to its first reader, such as "weight of Conv". `turned`: a matrix stored
    [inputs, outputs], not [outputs, inputs]. `obstacle`: why it can neither give nor take.
    """

    tensor: gs.Tensor
    values: Array
    reader: gs.Node
    kind: str
    turned: bool = False
    obstacle: str = ""

    @property
    def name(self) -> str:
        """The name of the constant."""
        return str(self.tensor.name)

    @property
    def is_named(self) -> bool:
        """Say whether the name was given by a person, not counted up by an exporter."""
        return _MADE_UP.fullmatch(self.name) is None

    @property
    def size(self) -> str:
        """The shape in words: `64x3x7x7`."""
        return "x".join(map(str, self.values.shape)) or "one value"

    def matrix(self) -> Array:
        """Return the values, a matrix as [outputs, inputs]."""
        return self.values.T if self.turned else self.values


def read_parameters(graph: gs.Graph) -> list[NamedWeight]:
    """Return the weights of `graph` and its bodies, in the order in which nodes read them."""
    uses = Uses(graph)
    found: dict[int, NamedWeight] = {}
    for scope in scopes(graph):
        for node in scope.nodes:
            for place, tensor in enumerate(node.inputs):
                if id(tensor) not in found and node.op not in READ_NO_VALUES:
                    made = _parameter(tensor, node, place, uses, graph)
                    if made is not None:
                        found[id(tensor)] = made
    return list(found.values())


def _parameter(
    tensor: gs.Tensor, node: gs.Node, place: int, uses: Uses, graph: gs.Graph
) -> NamedWeight | None:
    values = _values(tensor, uses, graph)
    if values is None:
        return None
    if values.dtype.kind in "iu" or dtypes.bits(values.dtype) < 8:
        if node.op not in _INTEGER_READERS or place not in (0, 1, 3) or values.size <= 1:
            return None
        return NamedWeight(
            tensor=tensor,
            values=values,
            reader=node,
            kind=f"weight of {node.op}",
            turned=False,
            obstacle="stored as integers",
        )
    if not dtypes.is_float(values.dtype) or quantizes_or_back(node):
        return None
    if values.size <= 1 and not is_path(tensor.name):
        return None
    reader, place = _reader(tensor, node, place, uses)
    kind, turned = _kind(reader, place)
    obstacle = ""
    if is_mask(tensor):
        kind, obstacle = "mask", "a mask, no weight"
    elif id(tensor) in uses.pinned:
        obstacle = "a graph output"
    elif id(tensor) in uses.interface_inputs:
        obstacle = "a graph input, which a caller may set"
    return NamedWeight(
        tensor=tensor, values=values, reader=reader, kind=kind, turned=turned, obstacle=obstacle
    )


def _values(tensor: gs.Tensor, uses: Uses, graph: gs.Graph) -> Array | None:
    """Return the values of an initializer, or of a Constant node where weights are written so."""
    values = dense_values(tensor)
    if values is not None:
        return values
    node = uses.producer(tensor)
    if node is None or node.op != "Constant" or graph.producer_name == "pytorch":
        return None
    held = dense_value_of_constant_node(node)
    return held if held is not None and held.size > 1 else None


def _reader(tensor: gs.Tensor, node: gs.Node, place: int, uses: Uses) -> tuple[gs.Node, int]:
    """Return the operator that a weight is for, behind its mask or a conversion."""
    for _ in range(_MOST_IN_BETWEEN):
        masked = read_masked(node)
        if node.op not in _IN_BETWEEN and (masked is None or masked.weight is not tensor):
            break
        tensor = node.outputs[0]
        readers = uses.readers(tensor)
        if not readers:
            break
        node = readers[0]
        place = next(i for i, read in enumerate(node.inputs) if read is tensor)
    if node.op == "Add" and is_standard(node):
        other = uses.producer(node.inputs[1 - place])
        if other is not None and other.op == "MatMul" and is_standard(other):
            return other, 2  # a linear layer as exporters spell it
    return node, place


def _kind(node: gs.Node, place: int) -> tuple[str, bool]:
    """Return what input `place` of `node` is, and whether it is a matrix stored [in, out]."""
    if not is_standard(node):
        return f"input {place} of {node.op}", False
    match node.op, place:
        case ("Gemm", 1):
            return "weight of Linear", not node.attrs.get("transB", 0)
        case ("MatMul", 1):
            return "weight of Linear", True
        case (("Gemm" | "MatMul"), 2):
            return "bias of Linear", False
        case (("Conv" | "ConvTranspose"), (1 | 2)):
            return f"{'weight' if place == 1 else 'bias'} of {node.op}", False
        case (_, _) if node.op in _NORMALIZATIONS:
            slots = ("input", "scale", "bias", "mean", "variance")
            return f"{slots[min(place, 4)]} of {node.op}", False
        case (("Add" | "Mul"), _):
            return f"term of {node.op}", False
    return f"input {place} of {node.op}", False
