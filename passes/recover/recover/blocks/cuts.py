"""Where a student and its teacher can be cut into blocks that learn by themselves.

A cut lies between two nodes of the student where every tensor that is made before and read after
also exists in the teacher, with the same name and shape. Between two cuts lies a block: it reads
the tensors of the first and makes those of the second, for which the teacher has the targets.
Residual, dense and skip connections are only more tensors in a cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.core import dtypes
from .....ir.core.variables import dense_values
from .....ir.graph.backward_slice import backward_slice
from .....ir.graph.order import reads
from .....ir.graph.types import Types
from .....ir.ops.shapes.infer import infer_types
from .....ir.ops.traits.groups import LAYERS

# Linear layers of a block: with fewer, errors add up at its border before they can cancel; with
# more, it is no longer quick.
_LEAST, _MOST = 3, 6


@dataclass(frozen=True)
class Block:
    """What the student computes between two cuts: tensor names in, tensor names out.

    `nodes`: those of the student, what computes its constants included. `changed`: the teacher
    computes otherwise.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[gs.Node, ...]
    changed: bool

    @property
    def name(self) -> str:
        """What people are told of it."""
        return ", ".join(f"'{name}'" for name in self.outputs)


def find_blocks(student: gs.Graph, teacher: gs.Graph, shared: frozenset[str]) -> list[Block]:
    """Return the blocks of `student`, in order; `shared` are the tensors that both have.

    There is one alone where nothing inside can be cut.
    """
    static = _static(student)
    nodes = [n for n in student.nodes if not all(t.name in static for t in n.outputs)]
    cuts = _chosen(nodes, _cuts(student, nodes, static, shared))
    outputs = {tensor.name for tensor in student.outputs}
    blocks = []
    entries = tuple(t.name for t in student.inputs if not isinstance(t, gs.Constant))
    before = entries
    start = 0
    for end, live in [*cuts, (len(nodes), ())]:
        made = [t.name for node in nodes[start:end] for t in node.outputs if t.name]
        wanted = tuple(n for n in made if n in live or n in outputs)
        if wanted:
            given = frozenset(before)
            run = tuple(backward_slice(student, wanted, given))
            read = {tensor.name for node in run for tensor in reads(node)}
            there = backward_slice(teacher, wanted, given)
            changed = _marks(student, run) != _marks(teacher, there)
            inputs = tuple(name for name in dict.fromkeys((*before, *entries)) if name in read)
            blocks.append(Block(inputs, wanted, run, changed))
        before, start = live, end
    return blocks


def shared_tensors(student: gs.Graph, teacher: gs.Graph) -> frozenset[str]:
    """Return the names of top-level tensors that both graphs have, float and of one shape.

    Their first axis has the size of that of the graph's first input, wherever both are known.
    """
    mine, theirs = _types(student), _types(teacher)
    first = next((t for t in student.inputs if not isinstance(t, gs.Constant)), None)
    batch = None if first is None or not first.shape else first.shape[0]
    return frozenset(
        name
        for name, shape in mine.items()
        if name in theirs and _agree(shape, theirs[name], batch)
    )


def same_computation(student: gs.Graph, teacher: gs.Graph) -> bool:
    """Say whether both graphs have the same nodes with the same constants."""
    return _marks(student, student.nodes) == _marks(teacher, teacher.nodes)


def _types(graph: gs.Graph) -> dict[str, tuple[Any, ...]]:
    types: Types = infer_types(graph)
    found = {}
    made = [t for node in graph.nodes for t in node.outputs if t.name]
    for tensor in [*graph.inputs, *made]:
        known = types.of(tensor)
        if isinstance(tensor, gs.Constant) or known is None or not known.shape:
            continue
        if dtypes.is_float(known.dtype):
            found[tensor.name] = known.shape
    return found


def _agree(a: Sequence[Any], b: Sequence[Any], batch: Any) -> bool:
    def differ(x: Any, y: Any) -> bool:
        return (isinstance(x, int) or isinstance(y, int)) and x != y

    if len(a) != len(b) or any(map(differ, a, b)):
        return False
    return not (isinstance(batch, int) and isinstance(a[0], int)) or a[0] == batch


def _static(graph: gs.Graph) -> set[str]:
    """Return the names of tensors that each block computes for itself.

    They follow from constants alone, such as masked weights, or from sizes of the graph's inputs.
    """
    entries = {t.name for t in graph.inputs}
    found: set[str] = set()
    for node in graph.nodes:
        if (node.op == "Shape" and node.inputs[0].name in entries) or all(
            (isinstance(t, gs.Constant) and t.name not in entries) or t.name in found
            for t in reads(node)
        ):
            found.update(t.name for t in node.outputs if t.name)
    return found


def _cuts(
    graph: gs.Graph, nodes: Sequence[gs.Node], static: set[str], shared: frozenset[str]
) -> list[tuple[int, tuple[str, ...]]]:
    """Return every position where all live tensors are shared, with their names."""
    last: dict[str, int] = {}
    for position, node in enumerate(nodes):
        for tensor in reads(node):
            if not isinstance(tensor, gs.Constant) and tensor.name not in static:
                last[tensor.name] = position
    live = {t.name: None for t in graph.inputs if t.name in last}
    alien = {name for name in live if name not in shared}
    found = []
    for position, node in enumerate(nodes):
        for tensor in reads(node):
            if last.get(tensor.name) == position:
                live.pop(tensor.name, None)
                alien.discard(tensor.name)
        for tensor in node.outputs:
            if tensor.name in last:
                live[tensor.name] = None
                if tensor.name not in shared:
                    alien.add(tensor.name)
        if live and not alien:
            found.append((position + 1, tuple(live)))
    return found


def _chosen(
    nodes: Sequence[gs.Node], cuts: Sequence[tuple[int, tuple[str, ...]]]
) -> list[tuple[int, tuple[str, ...]]]:
    """Return some of `cuts`: few linear layers in between, few tensors each.

    After a layer the cut comes late, so that its activation is in the block.
    """
    layers = [0]
    for node in nodes:
        layers.append(layers[-1] + (node.op in LAYERS))
    chosen: list[tuple[int, tuple[str, ...]]] = []
    waiting: list[tuple[int, tuple[str, ...]]] = []
    start = 0
    for cut in [*cuts, (len(nodes), ())]:
        if waiting and layers[cut[0]] - layers[start] > _MOST:
            best = min(waiting, key=lambda c: (len(c[1]), layers[c[0]], -c[0]))
            chosen.append(best)
            start = best[0]
            waiting = [
                c for c in waiting if c[0] > start and layers[c[0]] - layers[start] >= _LEAST
            ]
        if cut[1] and layers[cut[0]] - layers[start] >= _LEAST:
            waiting.append(cut)
    rest = layers[-1] - layers[start]
    tail = [c for c in waiting if layers[-1] - layers[c[0]] >= 1]
    if rest > _LEAST and tail:
        chosen.append(min(tail, key=lambda c: (len(c[1]), layers[c[0]], -c[0])))
    return chosen


def _marks(graph: gs.Graph, nodes: Sequence[gs.Node]) -> dict[str, tuple[Any, ...]]:
    """Return what each node computes, by the names of its results."""
    return {
        ",".join(t.name for t in node.outputs): (
            node.domain or "",
            node.op,
            tuple(_tensor(tensor) for tensor in node.inputs),
            tuple((key, _attribute(value)) for key, value in sorted(node.attrs.items())),
        )
        for node in nodes
    }


def _tensor(tensor: gs.Tensor) -> tuple[Any, ...]:
    values = dense_values(tensor)
    if values is None:
        return (tensor.name,)
    data = tuple(values.flat) if values.dtype.kind == "O" else hash(values.tobytes())
    return (values.dtype.name, values.shape, data)


def _attribute(value: Any) -> Any:
    if isinstance(value, gs.Graph):
        return tuple(sorted(_marks(value, value.nodes).items()))
    if isinstance(value, gs.Tensor):
        return _tensor(value)
    if isinstance(value, np.ndarray):
        return value.tobytes()
    return repr(value)
