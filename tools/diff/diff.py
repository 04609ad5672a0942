"""Two models, of any origin: matched, and told apart."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import onnx_graphsurgeon as gs

from ...ir.core.variables import FUSED_DOMAIN, node_key
from ...ir.files.given import Model, as_graph
from ...ir.graph.types import Types
from ...ir.graph.uses import Uses
from ...ir.graph.view import View
from ...ir.ops.shapes.infer import infer_types
from .match import Matching, match
from .model_diff import BodyDiff, BodyPath, Change, Kind, ModelChange, ModelDiff, NodeRef
from .nodes import attribute_changes, input_changes, type_changes, written_type
from .regions import facing, in_order, only_reader, regions_of, taken_in, written_out
from .signatures import domain_of
from .weights import weight_changes
from .wiring import Wiring


def diff(a: Model, b: Model) -> ModelDiff:
    """Return what differs between two models, whatever their nodes and tensors are called.

    Nodes are matched by what they compute of what, by their weights, and by what stands around
    them; names count only where these do not tell. Bodies of If, Loop and Scan and functions are
    compared where the nodes that hold or call them are each other's counterparts. In time linear
    in the size of both, as far as they are alike.
    """
    return _Differ(as_graph(a), as_graph(b)).run()


@dataclass(frozen=True)
class _Scopes:
    """Two scopes that stand in the same place, and where that is."""

    before: gs.Graph
    after: gs.Graph
    path: tuple[str, ...] = ()
    at: tuple[BodyPath, BodyPath] | None = None  # None of a function


class _Differ:
    def __init__(self, a: gs.Graph, b: gs.Graph) -> None:
        self.a, self.b = a, b
        self.types_a, self.types_b = infer_types(a), infer_types(b)
        self.views = View(a, Uses(a), self.types_a.of), View(b, Uses(b), self.types_b.of)
        self.changes: list[Change] = []
        self.count_a = self.count_b = self.same = self.following = self.renamed = 0
        self.waiting = [_Scopes(a, b, at=((), ()))]
        self.bodies: list[BodyDiff] = []
        self.called: set[tuple[int, int]] = set()
        self.model = list(_model_changes(a, b, self.types_a, self.types_b))

    def run(self) -> ModelDiff:
        outermost: Matching | None = None
        while self.waiting:
            matching = self._compare(self.waiting.pop(0))
            outermost = outermost or matching
        assert outermost is not None
        return ModelDiff(
            nodes_before=self.count_a,
            nodes_after=self.count_b,
            same=self.same,
            following=self.following,
            renamed=self.renamed,
            model=tuple(self.model),
            changes=tuple(self.changes),
            pairs=tuple(sorted(outermost.forward.items())),
            bodies=tuple(self.bodies),
        )

    def _compare(self, scopes: _Scopes) -> Matching:
        a, b = Wiring(scopes.before, self.a), Wiring(scopes.after, self.b)
        self.count_a += len(a)
        self.count_b += len(b)
        matching = match(a, b)
        changed = self._changed(a, b, matching, scopes.path)
        pieces = list(self._left(a, b, matching, changed, scopes.path))
        pieces += changed.values()
        pieces.sort(key=_place)
        self.changes += pieces
        pairs = tuple(sorted(matching.forward.items()))
        if scopes.at is not None and scopes.path:
            before, after = scopes.at
            self.bodies.append(
                BodyDiff(before=before, after=after, pairs=pairs, changes=tuple(pieces))
            )
        for one, two in pairs:
            self._enter(a, one, b, two, scopes)
        return matching

    def _changed(
        self, a: Wiring, b: Wiring, matching: Matching, path: tuple[str, ...]
    ) -> dict[int, Change]:
        """Return the change of each pair that is not the same, by the node of `a`."""
        found: dict[int, Change] = {}
        retyped: set[int] = set()
        inputs = _retyped_inputs(a, b, self.types_a, self.types_b)
        for one, two in sorted(matching.forward.items()):
            before, after = a.nodes[one], b.nodes[two]
            self.renamed += node_key(before) != node_key(after)
            same = (domain_of(before), before.op) == (domain_of(after), after.op)
            change = Change(
                kind="changed" if same else "replaced",
                before=(_ref(a, one, path),),
                after=(_ref(b, two, path),),
                attributes=attribute_changes(before, after, self.a.opset, self.b.opset)
                if same
                else (),
                types=type_changes(before, after, self.types_a, self.types_b),
                weights=weight_changes(a, one, b, two, self.views),
                inputs=input_changes(a, one, b, two, matching),
            )
            if change.types:
                retyped.add(one)
            if same and not (change.attributes or change.weights or change.inputs):
                follows = any(
                    source.index in (retyped if source.kind == "node" else inputs)
                    for source in a.sources[one]
                    if source.kind in ("node", "input")
                )
                self.following += bool(change.types) and follows
                self.same += not change.types
                if follows or not change.types:
                    continue
            found[one] = change
        return found

    def _left(
        self,
        a: Wiring,
        b: Wiring,
        matching: Matching,
        changed: dict[int, Change],
        path: tuple[str, ...],
    ) -> Iterator[Change]:
        """Yield what became of nodes without counterpart; of `changed` goes what took them in."""
        old = regions_of(a, matching.forward)
        new = regions_of(b, {two: two for two in matching.backward})
        gone: dict[int, list[int]] = defaultdict(list)
        come: dict[int, list[int]] = defaultdict(list)
        for these, those in facing(old, new):
            before = tuple(_ref(a, index, path) for index in in_order(these))
            after = tuple(_ref(b, index, path) for index in in_order(those))
            into = None if after else taken_in(these[0], a, b, matching, changed)
            reader = None if before else only_reader(those[0], matching, changed)
            if reader is None and not before:
                reader = written_out(those[0], a, b, matching, changed)
            if into is not None:
                gone[into] += these[0].nodes
            elif reader is not None:
                come[reader] += those[0].nodes
            else:
                kind = _kind(before, after, a, b)
                yield Change(kind=kind, before=before, after=after)
        for pair in sorted(gone.keys() | come.keys()):
            before = tuple(_ref(a, i, path) for i in sorted([pair, *gone[pair]]))
            other = matching.forward[pair]
            after = tuple(_ref(b, i, path) for i in sorted([other, *come[pair]]))
            holds = _may_hold(a, [pair, *gone[pair]], b, [other])
            kind = "fused" if holds and not come[pair] else "replaced"
            yield replace(changed.pop(pair), kind=kind, before=before, after=after)

    def _enter(self, a: Wiring, one: int, b: Wiring, two: int, scopes: _Scopes) -> None:
        """Have the bodies and functions of a pair compared."""
        before, after = a.nodes[one], b.nodes[two]
        inside = (*scopes.path, node_key(before))
        for name, body in before.attrs.items():
            other = after.attrs.get(name)
            if isinstance(body, gs.Graph) and isinstance(other, gs.Graph):
                at = scopes.at and (
                    (*scopes.at[0], (one, name)),
                    (*scopes.at[1], (two, name)),
                )
                self.waiting.append(_Scopes(body, other, inside, at))
        called = a.function(one), b.function(two)
        if called[0] is not None and called[1] is not None:
            key = id(called[0]), id(called[1])
            if key not in self.called:
                self.called.add(key)
                self.waiting.append(_Scopes(*called, inside))


def _ref(wiring: Wiring, index: int, path: tuple[str, ...]) -> NodeRef:
    node = wiring.nodes[index]
    return NodeRef(index, node_key(node), str(node.op), path)


def _kind(before: tuple[NodeRef, ...], after: tuple[NodeRef, ...], a: Wiring, b: Wiring) -> Kind:
    if not after:
        return "removed"
    if not before:
        return "added"
    own = any(b.nodes[node.index].domain == FUSED_DOMAIN for node in after)
    if len(after) >= len(before) or not (own or len(after) == 1):
        return "replaced"
    old, new = ([node.index for node in nodes] for nodes in (before, after))
    return "fused" if _may_hold(a, old, b, new) else "replaced"


def _may_hold(a: Wiring, old: Sequence[int], b: Wiring, new: Sequence[int]) -> bool:
    """Say whether the weights of `new` can be those of `old` with what the others of these hold.

    They are as large; and where only one of `old` has constants, they are the same.
    """
    holders = [list(held) for index in old if (held := [h for _, h in a.constants(index)])]
    known = {held.digest for each in holders for held in each}
    sizes = {math.prod(held.shape) for each in holders for held in each}
    weights = [h for index in new for _, h in b.constants(index) if len(h.shape) > 1]
    if len(holders) > 1:
        return all(math.prod(held.shape) in sizes for held in weights)
    return all(held.digest in known for held in weights)


def _place(change: Change) -> tuple[int, int]:
    """Return where a change stands: by its last node in the first model, then in the second."""
    before = change.before[-1].index if change.before else -1
    after = change.after[-1].index if change.after else -1
    return (before if change.before else after, after)


def _retyped_inputs(a: Wiring, b: Wiring, types_a: Types, types_b: Types) -> set[int]:
    pairs = zip(a.scope.inputs, b.scope.inputs, strict=False)
    return {place for place, (one, two) in enumerate(pairs) if types_a.of(one) != types_b.of(two)}


def _model_changes(
    a: gs.Graph, b: gs.Graph, types_a: Types, types_b: Types
) -> Iterator[ModelChange]:
    for what in sorted(_versions(a).keys() | _versions(b).keys()):
        old, new = (_versions(graph).get(what, "none") for graph in (a, b))
        if old != new:
            yield ModelChange(what, old, new)
    for kind in ("inputs", "outputs"):
        before, after = getattr(a, kind), getattr(b, kind)
        for place in range(max(len(before), len(after))):
            old = _port(before[place], types_a) if place < len(before) else "none"
            new = _port(after[place], types_b) if place < len(after) else "none"
            if old != new:
                yield ModelChange(f"{kind.removesuffix('s')} {place}", old, new)


def _versions(graph: gs.Graph) -> dict[str, str]:
    """Return the opset of the standard and those of other domains that nodes use."""
    used = {domain_of(node) for node in graph.nodes} - {"", FUSED_DOMAIN}
    others = {
        f"opset of '{entry.domain}'": str(entry.version)
        for entry in graph.import_domains or ()
        if entry.domain in used
    }
    return {"opset": str(graph.opset), **others}


def _port(tensor: gs.Tensor, types: Types) -> str:
    return f"{tensor.name} {written_type(types.of(tensor))}"
