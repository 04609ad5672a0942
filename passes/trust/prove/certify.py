"""The certificate of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx_graphsurgeon as gs

from ....ir.proof.certificate import Certificate
from ....ir.proof.claims import OpenOutput, WindowClaim
from ....ir.proof.digests import Digests
from ....ir.proof.sides import Side
from ....ir.proof.windows import cone
from .attribution import Edited, WindowPlaces, attributed, tensors_of_nodes
from .search import WindowSearch

Ranges = Callable[[Sequence[str]], Mapping[str, float]]


class Origin:
    """What nodes and tensors of `graph`, a fresh copy of `original`, are called there."""

    def __init__(self, original: gs.Graph, graph: gs.Graph) -> None:
        pairs = list(zip(original.nodes, graph.nodes, strict=True))
        self.nodes = [(copy, node) for node, copy in pairs]
        self.tensors = {
            id(made): tensor.name
            for node, copy in pairs
            for tensor, made in zip(node.outputs, copy.outputs, strict=True)
        }
        self._held = list(graph.nodes)


def certify(
    original: gs.Graph,
    graph: gs.Graph,
    origin: Origin,
    edits: Sequence[Edited],
    ranges: Ranges | None = None,
) -> Certificate:
    """Return what can be shown of `graph`, which `edits` have made of a copy of `original`.

    `ranges`: returns how large tensors of `original` are, of names; those that it leaves out, or
    all, are taken to be 1 at most.
    """
    digests = Digests()
    before, after = Side(original, digests), Side(graph, digests)
    stands_for = {
        tensor.name: origin.tensors[id(tensor)]
        for node in graph.nodes
        for tensor in node.outputs
        if id(tensor) in origin.tensors
    }
    search = WindowSearch(before, after, stands_for)
    left = search.run()
    begins = {a.name for shown in search.shown for a, _ in shown.window.inputs}
    known = {} if ranges is None else ranges(sorted(begins))
    windows = tuple(
        WindowClaim.of(
            shown.window,
            shown.proof,
            (before, after),
            [known.get(a.name, 1.0) for a, _ in shown.window.inputs],
        )
        for shown in search.shown
    )
    first = tensors_of_nodes([node for _, node in origin.nodes], before)
    claims = attributed(
        edits,
        {id(copy): first[id(node)] for copy, node in origin.nodes},
        tensors_of_nodes(graph.nodes, after),
        windows,
        _places(search, [each.name for each in left]),
    )
    return Certificate(
        before=before.digest,
        after=after.digest,
        windows=windows,
        edits=claims,
        open_outputs=tuple(OpenOutput(name=each.name, reason=each.reason) for each in left),
        sizes=tuple(search.sizes.tried),
    )


def _places(search: WindowSearch, left: Sequence[str]) -> WindowPlaces:
    before: dict[str, set[int]] = {}
    after: dict[str, set[int]] = {}
    for place, shown in enumerate(search.shown):
        for nodes, found in ((shown.window.before, before), (shown.window.after, after)):
            for name in _given(nodes):
                found.setdefault(name, set()).add(place)
    late, early = set[str](), set[str]()
    for name in left:
        behind = cone(search.after, search.after.tensors[name], search.equal.keys())
        late.update(_given(() if behind is None else behind.nodes))
        stops = search.equal.values()
        ahead = cone(search.before, search.before.tensors[name], set(stops))
        early.update(_given(() if ahead is None else ahead.nodes))
    return WindowPlaces(
        _frozen(before), _frozen(after), frozenset(late), frozenset(early), bool(left)
    )


def _given(nodes: Sequence[gs.Node]) -> list[str]:
    return [tensor.name for node in nodes for tensor in node.outputs if tensor.name]


def _frozen(found: Mapping[str, set[int]]) -> dict[str, frozenset[int]]:
    return {name: frozenset(places) for name, places in found.items()}
