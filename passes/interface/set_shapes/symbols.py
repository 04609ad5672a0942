"""Sizes that were numbers get names: what follows from them is computed where the graph runs.

x [1, 3, 32, 32], Reshape to [1, 3072]   ->   x [N, 3, H, W], Reshape to [N, -1]

The graph is planned at two sets of sizes. A list that is the same at both stays a constant; an
entry that is not is taken from a tensor before that has it at both, or is what the others leave.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.errors import ExecutionError, FeedError, RefusedError
from ....ir.graph.edit import Edit
from ....ir.graph.types import Dim
from ....ir.run.feeds import is_size, random_feeds
from ....ir.run.reference import Reference
from .copies import SizedCopy, tried_as
from .mend import Mend, Told, nodes_of
from .plan import Plan, plan
from .seen import known
from .site import Array

# How many times as large, of each name; the second set is larger in all, so that no product of some
# is the same at both.
_PROBES = ((2, 3), (3, 5), (4, 7), (5, 8))
Shapes = Mapping[str, Sequence[Dim]]


@dataclass(frozen=True)
class _ListEntry:
    """An entry of a list: a number, or the size of a tensor on `axis`, that of output `tensor`."""

    number: int
    tensor: gs.Tensor | None = None
    axis: int = 0


def new_names(graph: gs.Graph, shapes: Shapes) -> dict[str, int]:
    """Return the names that sizes of inputs are to have which are numbers, each with its size."""
    found: dict[str, int] = {}
    for tensor in graph.inputs:
        wanted = shapes.get(tensor.name, ())
        for was, now in zip(tensor.shape or (), wanted, strict=False):
            if not is_size(was) or not isinstance(now, str) or is_size(now):
                continue
            if found.setdefault(now, int(was)) != int(was):
                raise RefusedError(
                    f"the sizes cannot be set: '{now}' would be both {found[now]} and {was}, of "
                    "which one network says nothing; give two names"
                )
    return found


def open_sizes(graph: gs.Graph, shapes: Shapes, told: Told, edit: Edit) -> list[str]:
    """Give sizes of inputs the names of `shapes`; return what a person is told of lists.

    Raises RefusedError, naming nodes, where a constant holds a size and no tensor before has it.
    """
    names = new_names(graph, shapes)
    if len(names) > len(_PROBES):
        raise RefusedError(f"the sizes cannot be set: at most {len(_PROBES)} get names at once")
    plans = [_planned(graph, shapes, told, _tried(names, turn)) for turn in (0, 1)]
    tensors = _Sizes(graph, plans)
    nodes = [node for _, node in nodes_of(graph)]
    lines = []
    for mend, other in _pairs(plans):
        node = nodes[mend.place]
        for position, values in mend.inputs.items():
            held = other.inputs.get(position)
            made = _constant(values, held) if held is not None else None
            if made is None and held is not None and values.ndim == 1:
                entries = [
                    tensors.entry(node, pair)
                    for pair in zip(values.tolist(), held.tolist(), strict=True)
                ]
                made = _list(entries, node, values.dtype, edit)
            if made is None:
                raise _closed(mend)
            is_array = isinstance(made, np.ndarray)
            tensor = (
                edit.constant(made, f"{node.inputs[position].name}_sized") if is_array else made
            )
            edit.set_input(node, position, tensor)
        lines.append(f"{mend.label}: computed from the sizes that there are")
    for tensor in graph.inputs:
        if tensor.name in shapes:
            edit.declare(tensor, tensor.dtype, shapes[tensor.name])
    edit.commit()
    for planned in plans:
        _need_same(graph, planned.sized)
    return lines


def _tried(names: Mapping[str, int], turn: int) -> dict[str, int]:
    pairs = zip(names.items(), _PROBES, strict=False)
    return {name: old * factors[turn] for (name, old), factors in pairs}


def _planned(graph: gs.Graph, shapes: Shapes, told: Told, tried: Mapping[str, int]) -> Plan:
    """Return the plan with sizes of these numbers; what it is refused for says whose they are."""
    probe = {
        name: [tried.get(dim, dim) if isinstance(dim, str) else dim for dim in shape]
        for name, shape in shapes.items()
    }
    try:
        return plan(graph, probe, replace(told, opens=True))
    except RefusedError as reason:
        raise type(reason)(f"{reason}{tried_as(tried)}") from reason


def _pairs(plans: Sequence[Plan]) -> Iterator[tuple[Mend, Mend]]:
    first, second = ({mend.place: mend for mend in planned.mends} for planned in plans)
    for place in sorted(first.keys() | second.keys()):
        mend, other = first.get(place), second.get(place)
        if mend is None or other is None or mend.attrs or other.attrs:
            raise _closed(mend or second[place])
        yield mend, other


def _closed(mend: Mend) -> RefusedError:
    return RefusedError(
        f"the sizes cannot be set: {mend.label}: what it holds follows a size, and cannot be "
        "computed where the graph runs; give that size as a number"
    )


def _constant(values: Array, other: Array) -> Array | None:
    return values if np.array_equal(values, other) else None


class _Sizes:
    """Which tensors of a graph have which sizes at both sets."""

    def __init__(self, graph: gs.Graph, plans: Sequence[Plan]) -> None:
        self._found: dict[tuple[int, int], list[_ListEntry]] = {}
        self._order: dict[int, int] = {}
        copies = [SizedCopy(planned.sized) for planned in plans]
        rows = zip(graph.inputs, *(copy.graph.inputs for copy in copies), strict=True)
        for row in rows:
            self._add(-1, row, copies)
        all_nodes = zip(graph.nodes, *(copy.graph.nodes for copy in copies), strict=True)
        for place, (node, *others) in enumerate(all_nodes):
            self._order[id(node)] = place
            for row in zip(node.outputs, *(other.outputs for other in others), strict=True):
                self._add(place, row, copies)

    def _add(self, place: int, row: Sequence[gs.Tensor], copies: Sequence[SizedCopy]) -> None:
        tensor, *others = row
        pairs = zip(others, copies, strict=True)
        shapes = [known(copy.view(copy.graph).shape(other)) for other, copy in pairs]
        self._order[id(tensor)] = place
        first, second = shapes[0] or (), shapes[1] or ()
        for axis, pair in enumerate(zip(first, second, strict=False)):
            self._found.setdefault(pair, []).append(_ListEntry(pair[0], tensor, axis))

    def entry(self, node: gs.Node, pair: tuple[int, int]) -> _ListEntry | None:
        """Return where an entry of a list of `node` comes from, None where nothing has it."""
        if pair[0] == pair[1]:
            return _ListEntry(pair[0])
        place = self._order.get(id(node), -1)
        before = [e for e in self._found.get(pair, ()) if self._order[id(e.tensor)] < place]
        own = [e for e in before if e.tensor is node.inputs[0]]
        return next(iter(own or before[::-1]), None)


def _list(
    entries: Sequence[_ListEntry | None], node: gs.Node, dtype: np.dtype[Any], edit: Edit
) -> Array | gs.Tensor | None:
    """Return a list for `node`: a constant where one entry is what the others leave."""
    moving = [place for place, e in enumerate(entries) if e is None or e.tensor is not None]
    numbers = [-1 if e is None or e.tensor is not None else e.number for e in entries]
    if node.op == "Reshape" and len(moving) == 1 and -1 not in _fixed(entries):
        return np.array(numbers, dtype)
    if None in entries:
        rest = [place for place, e in enumerate(entries) if e is None]
        if node.op != "Reshape" or len(rest) > 1 or -1 in _fixed(entries):
            return None
    parts = [_part(e, dtype, node, edit) for e in entries]
    made = edit.variable(f"{node.inputs[0].name}_sizes")
    edit.node("Concat", parts, [made], {"axis": 0}, at=node)
    return made


def _fixed(entries: Sequence[_ListEntry | None]) -> list[int]:
    return [e.number for e in entries if e is not None and e.tensor is None]


def _part(entry: _ListEntry | None, dtype: np.dtype[Any], node: gs.Node, edit: Edit) -> gs.Tensor:
    if entry is None or entry.tensor is None:
        return edit.constant(np.array([-1 if entry is None else entry.number], dtype), "size")
    shape, size = edit.variable("shape"), edit.variable("size")
    edit.node("Shape", [entry.tensor], [shape], at=node)
    edit.node("Gather", [shape, edit.constant(np.array([entry.axis]), "axis")], [size], at=node)
    return size


def _need_same(graph: gs.Graph, sized: gs.Graph) -> None:
    """Raise RefusedError where `graph` does not give what one of fixed sizes gives."""
    try:
        feeds = random_feeds(sized)[0]
        wanted = Reference(sized)(feeds)
    except (ExecutionError, FeedError):
        return
    try:
        found = Reference(graph)(feeds)
    except (ExecutionError, FeedError) as error:
        raise RefusedError(
            f"the sizes cannot be set: with names it does not run: {error}"
        ) from error
    for name, values in wanted.items():
        same = values.shape == found[name].shape
        if not same or not np.allclose(values, found[name], 1e-4, 1e-5, equal_nan=True):
            raise RefusedError(
                f"the sizes cannot be set: with names, output '{name}' is another than at "
                f"{[list(t.shape or ()) for t in sized.inputs]}"
            )
