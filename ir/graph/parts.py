"""What became one call: the names and documentation of the nodes that it stands for.

A call that is written out is spelled with them again, so that a portable file has the names of the
model it came from, and the same ones after it was loaded and optimized once more. Each such node
carries the property `planish.function`, by which fusing it again is no edit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import onnx_graphsurgeon as gs

from ..proto.metadata import (
    MARK,
    NodeMetadata,
    Part,
    node_metadata,
    set_node_metadata,
    tensor_metadata,
)

_RESTORED = "planish_restored"


def parts_of(nodes: Sequence[gs.Node]) -> tuple[Part, ...]:
    """Return `nodes` as parts, in topological order; of a call, its own parts."""
    found: list[Part] = []
    for node in _in_order(nodes):
        metadata = node_metadata(node)
        if metadata is not None and metadata.parts:
            found += metadata.parts
            continue
        result = node.outputs[0]
        part = Part(
            op=str(node.op),
            name=str(node.name),
            arity=max((at for at, t in enumerate(node.inputs, 1) if t.name), default=0),
            metadata=metadata,
            result=str(result.name),
            tensor=tensor_metadata(result),
        )
        found.append(part)
    return tuple(found)


def is_written_out(node: gs.Node) -> bool:
    """Say whether `node` was part of a fused operator in the file that it came from."""
    metadata = node_metadata(node)
    if metadata is None:
        return False
    return all(map(_is_marked, metadata.parts)) if metadata.parts else _has_mark(metadata)


def set_restored(made: gs.Function | gs.Constant) -> None:
    """Note that a function or constant came only with calls that a portable file spells out."""
    made.__dict__[_RESTORED] = True


def is_restored(made: gs.Function | gs.Tensor) -> bool:
    """Say whether `set_restored` was called: to take it away again is no edit."""
    return bool(made.__dict__.get(_RESTORED))


def mark(node: gs.Node, function: str, part: Part | None) -> None:
    """Note that `node` spells a part of `function` out, and give it the metadata of that part."""
    known = (part.metadata if part else node_metadata(node)) or NodeMetadata()
    said = tuple(pair for pair in known.properties if pair[0] != MARK)
    set_node_metadata(node, replace(known, properties=(*said, (MARK, function)), parts=()))


def match_parts(nodes: Sequence[gs.Node], parts: Iterable[Part]) -> list[Part | None]:
    """Return the part that each of the `nodes` of a body has, by operators in their order.

    Operators of which there are more or fewer than parts have none.
    """
    by_op: dict[str, list[Part]] = {}
    for part in parts:
        by_op.setdefault(part.op, []).append(part)
    counts = {op: sum(node.op == op for node in nodes) for op in by_op}
    fitting = {op: iter(each) for op, each in by_op.items() if len(each) == counts[op]}
    return [next(fitting[node.op]) if node.op in fitting else None for node in nodes]


def is_spelled_out(node: gs.Node) -> bool:
    """Say whether `node` is a part of a fused operator that a file has written out."""
    metadata = node_metadata(node)
    return metadata is not None and _has_mark(metadata)


def written_out_of(node: gs.Node) -> str | None:
    """Return the fused operator that a file has written `node` out of, None for any other."""
    metadata = node_metadata(node)
    pairs = () if metadata is None else metadata.properties
    return next((value for key, value in pairs if key == MARK), None)


def _is_marked(part: Part) -> bool:
    return part.metadata is not None and _has_mark(part.metadata)


def _has_mark(metadata: NodeMetadata) -> bool:
    return any(key == MARK for key, _ in metadata.properties)


def _in_order(nodes: Sequence[gs.Node]) -> list[gs.Node]:
    """Return `nodes` with each behind those whose results it reads."""
    made = {id(t): node for node in nodes for t in node.outputs if t.name}
    found: dict[int, gs.Node] = {}

    def visit(node: gs.Node) -> None:
        for tensor in node.inputs:
            producer = made.get(id(tensor))
            if producer is not None and id(producer) not in found and producer is not node:
                visit(producer)
        found.setdefault(id(node), node)

    for node in nodes:
        visit(node)
    return list(found.values())
