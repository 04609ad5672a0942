"""What a module made by `to_fx` remembers of its graph."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ..core.build import make_constant, put_input
from ..core.constant_nodes import dense_value_of_constant_node
from ..core.errors import ConversionError
from ..core.variables import is_standard
from ..graph.uses import Uses
from ..ops.quantization.nodes import quantizes_or_back
from ..proto.parts import Flat, restore, take_apart

# In the metadata of a module, which its copies have too.
_KEY = "planish"


@dataclass(frozen=True)
class Binding:
    """The tensor at `path` of the module stands for `constant` of the graph.

    `kind`: "plain" (the same values), "transposed", "scale" (a quantization scale, its magnitude),
    "integers" (float values, stored rounded on the grid of `quantizer`), "bias" (float values,
    stored rounded at the product of the scales of `quantizer` and `other`) or "bias-scale" (that
    product itself; no tensor lies at `path`).
    """

    constant: gs.Constant
    path: str
    kind: str = "plain"
    quantizer: str = ""
    other: str = ""


@dataclass
class SourceGraph:
    """The graph that a module was made of, and where its constants went."""

    graph: gs.Graph
    bindings: list[Binding] = field(default_factory=list)

    def __deepcopy__(self, memo: dict[int, Any]) -> SourceGraph:
        """A module's copy was made of the same graph, which nobody changes."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what `pickle` makes another of, with bindings of its own constants."""
        roots = [self.graph, *(binding.constant for binding in self.bindings)]
        bare = [replace(binding, constant=None) for binding in self.bindings]
        return _restored, (take_apart(roots), bare)


def _restored(flat: Flat, bare: list[Binding]) -> SourceGraph:
    graph, *constants = restore(flat)[: 1 + len(bare)]
    bound = zip(bare, constants, strict=True)
    return SourceGraph(graph, [replace(each, constant=constant) for each, constant in bound])


def remember(module: Any, source: SourceGraph) -> None:
    """Let `module`, a GraphModule, remember what it was made of."""
    module.meta[_KEY] = source


def has_source(module: Any) -> bool:
    """Say whether `module`, a GraphModule, remembers what it was made of."""
    return _KEY in module.meta


def source_of(module: Any) -> SourceGraph:
    """Return what `module` was made of; raises ConversionError where `to_fx` did not make it."""
    found = getattr(module, "meta", {}).get(_KEY)
    if not isinstance(found, SourceGraph):
        raise ConversionError(
            f"this {type(module).__name__} was not made by planish.to_fx; trace it instead: "
            "planish.trace(module, example_inputs)"
        )
    return found


def lift_weights(graph: gs.Graph) -> None:
    """Make initializers of the Constant nodes that hold weights or quantization scales.

    Some exporters write weights so. PyTorch's writes what a formula needs so, which stays.
    """
    from_torch = graph.producer_name == "pytorch"
    uses = Uses(graph)
    kept = []
    for node in graph.nodes:
        held = _value_of(node)
        out = node.outputs[0] if node.outputs else None
        if held is None or out is None or id(out) in uses.pinned:
            kept.append(node)
            continue
        readers = uses.readers(out)
        quantizes = any(map(quantizes_or_back, readers))
        if not quantizes and (from_torch or held.size <= 1 or held.dtype.kind != "f"):
            kept.append(node)
            continue
        constant = make_constant(out.name, held)
        for reader in readers:
            for position, tensor in enumerate(reader.inputs):
                if tensor is out:
                    put_input(reader, position, constant)
    graph.nodes = kept


def _value_of(node: gs.Node) -> np.ndarray[Any, Any] | None:
    is_constant = node.op == "Constant" and is_standard(node)
    return dense_value_of_constant_node(node) if is_constant else None
