"""Which windows show which edits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ....ir.core.disjoint_sets import DisjointSets
from ....ir.core.variables import FUSED_DOMAIN
from ....ir.proof.claims import SAMPLED, EditClaim, WindowClaim, weakest
from ....ir.proof.sides import Side
from ....ir.proof.windows import cone


@dataclass(frozen=True)
class Edited:
    """One edit: its pass, and the nodes that it touched; None where that is not known."""

    pass_name: str
    nodes: tuple[gs.Node, ...] | None


@dataclass(frozen=True)
class WindowPlaces:
    """Where tensors are computed: the windows, by position, and whether an open output needs them.

    `before`, `after`: by the name of a tensor of either graph. `is_open`: whether an output is.
    """

    before: Mapping[str, frozenset[int]]
    after: Mapping[str, frozenset[int]]
    open_after: frozenset[str]
    open_before: frozenset[str]
    is_open: bool


def attributed(
    edits: Sequence[Edited],
    first: Mapping[int, Sequence[str]],
    last: Mapping[int, Sequence[str]],
    windows: Sequence[WindowClaim],
    places: WindowPlaces,
) -> tuple[EditClaim, ...]:
    """Return what holds of each edit.

    `first`, `last`: the tensors that nodes of the graphs before and after give, by the node. An
    edit of nodes of which none is in either belongs with those that touched the same.
    """
    groups = _joined(edits, first.keys() | last.keys())
    claims: dict[int, tuple[tuple[int, ...], str]] = {}
    members: dict[int, list[Edited]] = {}
    for place, edit in enumerate(edits):
        members.setdefault(groups.find(place), []).append(edit)
    for root, group in members.items():
        claims[root] = _claim(group, first, last, windows, places)
    return tuple(
        EditClaim(pass_name=edit.pass_name, windows=found[0], claim=found[1])
        for place, edit in enumerate(edits)
        for found in (claims[groups.find(place)],)
    )


def _joined(edits: Sequence[Edited], known: Iterable[int]) -> DisjointSets:
    groups, lasting = DisjointSets(len(edits)), set(known)
    touched: dict[int, int] = {}
    for place, edit in enumerate(edits):
        for node in edit.nodes or ():
            if id(node) not in lasting:
                groups.unite(touched.setdefault(id(node), place), place)
    return groups


def _claim(
    group: Sequence[Edited],
    first: Mapping[int, Sequence[str]],
    last: Mapping[int, Sequence[str]],
    windows: Sequence[WindowClaim],
    places: WindowPlaces,
) -> tuple[tuple[int, ...], str]:
    nodes = [id(node) for edit in group for node in edit.nodes or ()]
    before = [name for key in nodes for name in first.get(key, ())]
    after = [name for key in nodes for name in last.get(key, ())]
    opened = not (places.open_after.isdisjoint(after) and places.open_before.isdisjoint(before))
    unknown = any(edit.nodes is None for edit in group)
    if opened or (unknown and places.open_after):
        return (), SAMPLED
    if unknown:
        found = set(range(len(windows)))
    else:
        found = {i for name in before for i in places.before.get(name, ())}
        found |= {i for name in after for i in places.after.get(name, ())}
    if places.is_open and not found:  # it may be what the output differs by
        return (), SAMPLED
    return tuple(sorted(found)), weakest(windows[i].claim for i in found)


def tensors_of_nodes(nodes: Sequence[gs.Node], side: Side) -> dict[int, tuple[str, ...]]:
    """Return the tensors that each node gives, those inside a fused operator among them."""
    found: dict[int, tuple[str, ...]] = {}
    for node in nodes:
        names = [
            t.name if t.name not in side.tensors else side.tensors[t.name].name
            for t in node.outputs
            if t.name
        ]
        if node.domain == FUSED_DOMAIN:
            read = {tensor.name for tensor in node.inputs}
            for name in tuple(names):
                inner = cone(side, side.tensors[name], read) if name in side.tensors else None
                if inner is not None:
                    names += [t.name for each in inner.nodes for t in each.outputs]
        found[id(node)] = tuple(names)
    return found
