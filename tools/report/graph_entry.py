"""A graph as a report has it."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.variables import node_key
from ...ir.graph.types import Types
from ...ir.ops.shapes.infer import infer_types
from ..diff.nodes import shown_attribute, written_type
from ..diff.signatures import domain_of
from ..diff.wiring import HeldConstant, Wiring
from .document import ConstantEntry, GraphEntry, GroupEntry, NodeEntry

_MOST_TEXT = 120  # letters of an attribute


def graph_entry(
    graph: gs.Graph,
    *,
    role: str,
    file: str,
    size: int | None,
    groups: tuple[GroupEntry, ...] = (),
) -> GraphEntry:
    """Return what a report shows of `graph`, its outermost scope; `size` in bytes."""
    wiring, types = Wiring(graph, graph), infer_types(graph)
    nodes = tuple(node_entry(wiring, index, types) for index in range(len(wiring)))
    made_by = {place: index for index, shown in enumerate(wiring.shown) for place in shown}
    return GraphEntry(
        role=role,
        file=file,
        bytes=size,
        opset=int(graph.opset),
        inputs=tuple((t.name, written_type(types.of(t))) for t in graph.inputs),
        outputs=tuple(
            (t.name, written_type(types.of(t)), made_by.get(place, -1))
            for place, t in enumerate(graph.outputs)
        ),
        nodes=nodes,
        groups=groups,
    )


def node_entry(wiring: Wiring, index: int, types: Types) -> NodeEntry:
    """Return what a report shows of node `index`."""
    node = wiring.nodes[index]
    sources = dict.fromkeys(
        source.index if source.kind == "node" else -1 - source.index
        for source in wiring.sources[index]
        if source.kind in ("node", "input")
    )
    return NodeEntry(
        name=node_key(node),
        op=str(node.op),
        domain=domain_of(node),
        inputs=tuple(sources),
        outputs=tuple(tensor.name for tensor in node.outputs if tensor.name),
        types=tuple(written_type(types.of(t)) for t in node.outputs if t.name),
        attributes={name: _text(value) for name, value in sorted(node.attrs.items())},
        constants=tuple(constant_entry(at, held) for at, held in wiring.constants(index)),
    )


def constant_entry(position: int, held: HeldConstant) -> ConstantEntry:
    """Return what is known of a constant at an input of a node."""
    name, kind = held.name, f"{held.type}{list(held.shape)}"
    values = held.values
    if values is None or values.dtype.kind in "OUSc" or not values.size:
        return ConstantEntry(input=position, name=name, type=kind)
    wide = values if values.dtype.kind in "biuf" else values.astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):  # of NaN and infinity, which are shown
        return ConstantEntry(
            input=position,
            name=name,
            type=kind,
            least=float(wide.min()),
            largest=float(wide.max()),
            mean=float(wide.mean(dtype=np.float64)),
            zeros=float(1 - np.count_nonzero(wide) / wide.size),
        )


def _text(value: object) -> str:
    if isinstance(value, gs.Graph):
        return f"a body of {len(value.nodes)} nodes"
    text = str(shown_attribute(value))
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}..."
