"""What has to change in a graph for inputs of other sizes, found on copies of it.

One copy has the sizes that the graph was exported at, one those that it is to have. Where a node
holds a size that has changed, it is mended in the second, and what follows from there is inferred
anew, until nothing is left. Sizes that stay open are large primes in both, so that none of them is
taken for another. Where some sizes grow and others shrink, it is done by way of larger ones
(`between`), so that no product is the same by chance.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.build import make_constant
from ....ir.core.errors import ExecutionError, FeedError, RefusedError
from ....ir.core.variables import is_standard, label, node_key, subgraphs_of
from ....ir.graph.clone import clone
from ....ir.graph.types import Dim
from ....ir.graph.uses import Uses
from ....ir.graph.view import View
from ....ir.ops.shapes.infer import infer_types
from ....ir.ops.traits.groups import READ_NO_VALUES
from ....ir.run.feeds import is_size, random_feeds
from ....ir.run.reference import Reference
from ...analysis.constants.evaluation import constant_values
from .between import between
from .counts import summed
from .operands import operands
from .rules import RULES
from .site import Array, FixedSizeError, SeenSizes, SizedSite, known

# Of spatial axes multiples of them, which strided layers halve.
_PRIMES = (1009, 1013, 1019, 1021, 1031, 1033, 1039, 1049, 1051, 1061)
_SPATIAL = 32
_MOST_ROUNDS = 8  # of lists that are computed from the sizes of what others give


@dataclass(frozen=True, kw_only=True)
class Mend:
    """What the node at `place` (of `nodes_of`) is to hold, by input position or attribute.

    `lists`: what parameters held before, and hold now; `operands`: shapes of others, by name.
    """

    place: int
    inputs: Mapping[int, Array]
    attrs: Mapping[str, list[float]]
    node: str
    label: str
    lists: Mapping[str, tuple[Sequence[float] | None, Sequence[float]]]
    operands: Mapping[str, Sequence[int]]

    @property
    def told(self) -> str:
        """What a person is told of it."""
        parts = [f"'{name}' is now {list(shape)}" for name, shape in self.operands.items()]
        for name, (was, now) in self.lists.items():
            parts.append(f"{name} {'?' if was is None else list(was)} -> {list(now)}")
        return f"{self.label}: {', '.join(parts)}"

    @property
    def changes(self) -> bool:
        """Whether anything is another than it was."""
        return bool(self.operands) or any(was != list(now) for was, now in self.lists.values())

    def then(self, later: Mend) -> Mend:
        """Return both in one, of the same node."""
        lists = dict(self.lists)
        for name, (was, now) in later.lists.items():
            lists[name] = (lists[name][0] if name in lists else was, now)
        return replace(
            later,
            inputs={**self.inputs, **later.inputs},
            attrs={**self.attrs, **later.attrs},
            lists=lists,
            operands={**self.operands, **later.operands},
        )


@dataclass(frozen=True)
class Told:
    """Nodes, by name, that a person has decided about: to stay as they are, or to go along."""

    keep: frozenset[str] = frozenset()
    follow: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Plan:
    """What has to change, in order, and the sizes of outputs that are known then, by name.

    `sized`: a copy in which it has.
    """

    mends: Sequence[Mend]
    outputs: Mapping[str, Sequence[int]]
    sized: gs.Graph


def nodes_of(graph: gs.Graph) -> Iterator[tuple[gs.Graph, gs.Node]]:
    """Yield all nodes with the scopes that hold them, those of a body before the one it is of."""
    for node in graph.nodes:
        for body in subgraphs_of(node):
            yield from nodes_of(body)
        yield graph, node


def plan(graph: gs.Graph, shapes: Mapping[str, Sequence[Dim]], told: Told) -> Plan:
    """Return what has to change in `graph` for inputs of `shapes`, by name, in order.

    Raises RefusedError, naming each node, where a size that has changed is held by a constant that
    cannot be told; and where windows may be of a size or over everything, and both would run.
    """
    found = _planned(graph, shapes, told)
    pools = {m.node: m.told for m in found.mends if "kernel_shape" in m.attrs}
    guessed = pools.keys() - told.follow
    if guessed and _runs_with(graph, shapes, replace(told, keep=told.keep | guessed)):
        names = "; ".join(pools[name] for name in sorted(guessed))
        raise RefusedError(_refusal([f"{names} would pool as at the old size, or slide as it is"]))
    return found


def _runs_with(graph: gs.Graph, shapes: Mapping[str, Sequence[Dim]], told: Told) -> bool:
    try:
        sized = _planned(graph, shapes, told).sized
        Reference(sized)(random_feeds(sized)[0])
    except (RefusedError, ExecutionError, FeedError):
        return False
    return True


def _planned(graph: gs.Graph, shapes: Mapping[str, Sequence[Dim]], told: Told) -> Plan:
    opened = _opened(graph, shapes)
    way = between(opened, shapes)
    if not way:
        mends, outputs, sized = _step(_copy(graph, opened, {}), _copy(graph, opened, shapes), told)
        return Plan(mends, outputs if _is_static(graph, shapes) else {}, sized)
    through = ", ".join(f"{name}={list(sizes)}" for name, sizes in way.items())
    try:
        first, _, middle = _step(_copy(graph, opened, {}), _copy(graph, opened, way), told)
        _need_inferred(middle, graph)
        second, outputs, sized = _step(middle, _copy(middle, opened, shapes), told)
    except RefusedError as reason:
        raise RefusedError(
            f"{reason} (some sizes grow and others shrink, so they are changed by way of {through})"
        ) from reason
    found = {mend.place: mend for mend in first}
    for mend in second:
        held = found.get(mend.place)
        found[mend.place] = mend if held is None else held.then(mend)
    mends = [found[place] for place in sorted(found) if found[place].changes]
    return Plan(mends, outputs if _is_static(graph, shapes) else {}, sized)


def _need_inferred(middle: gs.Graph, graph: gs.Graph) -> None:
    problem = infer_types(middle).problem
    if problem and not infer_types(graph).problem:
        raise RefusedError(f"the sizes cannot be set: {problem}")


def _step(
    graph: gs.Graph, after: gs.Graph, told: Told
) -> tuple[list[Mend], dict[str, Sequence[int]], gs.Graph]:
    """Mend `after`, a copy of `graph` with other inputs; return how, and its outputs' sizes."""
    before = _SizesOfCopy(graph)
    found: dict[int, Mend] = {}
    while True:
        round_ = _SizeRound(before, after, found.keys(), told)
        mends, refused = round_.look()
        if refused:
            raise RefusedError(_refusal(refused))
        if not mends:
            return [found[place] for place in sorted(found)], round_.outputs(), after
        for mend in mends:
            found[mend.place] = mend
            _apply(mend, _at(after, mend.place))


def _is_static(graph: gs.Graph, shapes: Mapping[str, Sequence[Dim]]) -> bool:
    given = [shapes.get(t.name, t.shape) for t in graph.inputs if isinstance(t, gs.Variable)]
    return all(shape is not None and all(map(is_size, shape)) for shape in given)


def _refusal(refused: Sequence[str]) -> str:
    return (
        f"the sizes cannot be set: {'; '.join(refused)}. In a pipeline, set-shapes{{...}} takes "
        "keep=[NODE] for what is to stay as it is, and follow=[NODE] for what goes along"
    )


def _opened(graph: gs.Graph, shapes: Mapping[str, Sequence[Dim]]) -> dict[str, list[Dim]]:
    """Return the shapes of the inputs before, what has a name or none as the number it becomes."""
    primes = itertools.cycle(_PRIMES)
    named: dict[str, int] = {}
    found: dict[str, list[Dim]] = {}
    for tensor in graph.inputs:
        wanted = shapes.get(tensor.name, tensor.shape)
        if isinstance(tensor, gs.Constant) or wanted is None:
            continue
        sizes: list[Dim] = []
        for axis, (dim, now) in enumerate(zip(tensor.shape or wanted, wanted, strict=True)):
            prime = next(primes) * (_SPATIAL if axis > 1 else 1)
            if is_size(dim):
                size = int(dim)
            elif is_size(now):
                size = int(now)
            else:
                size = named.setdefault(dim, prime) if isinstance(dim, str) else prime
            sizes.append(size)
        found[tensor.name] = sizes
    return found


def _copy(
    graph: gs.Graph, opened: Mapping[str, list[Dim]], shapes: Mapping[str, Sequence[Dim]]
) -> gs.Graph:
    made = clone(graph)
    for tensor in made.inputs:
        if tensor.name in opened:
            wanted = shapes.get(tensor.name, opened[tensor.name])
            pairs = zip(wanted, opened[tensor.name], strict=True)
            tensor.shape = [now if is_size(now) else was for now, was in pairs]
    return made


def _at(graph: gs.Graph, place: int) -> gs.Node:
    return next(itertools.islice(nodes_of(graph), place, None))[1]


def _apply(mend: Mend, node: gs.Node) -> None:
    for position, values in mend.inputs.items():
        old = node.inputs[position]
        list.__setitem__(node.inputs, position, make_constant(f"{old.name}__sized", values))
    node.attrs.update(mend.attrs)


class _SizesOfCopy:
    """What is known of a copy of `graph`, in which lists of sizes are written out.

    Inference does not follow all arithmetic that exporters write; what it computes at given sizes
    is known.
    """

    def __init__(self, graph: gs.Graph) -> None:
        self.graph = clone(graph)
        self._know()
        for _ in range(_MOST_ROUNDS):
            if not self._write_lists():
                break
            self._know()

    def _know(self) -> None:
        self._types = infer_types(self.graph)
        self._uses = Uses(self.graph)
        self._views: dict[int, View] = {}
        self._values: dict[int, dict[int, Array]] = {}

    def _write_lists(self) -> bool:
        """Write out the lists of nodes whose results are unknown; say whether there were any."""
        written = False
        for scope, node in nodes_of(self.graph):
            if node.op not in RULES or known(self.view(scope).shape(node.outputs[0])) is not None:
                continue
            for position, tensor in enumerate(node.inputs):
                if position in _lists_of(node) and self.view(scope).constant(tensor) is None:
                    values = self.value(tensor, scope)
                    if values is not None:
                        made = make_constant(f"{tensor.name}__written", values)
                        list.__setitem__(node.inputs, position, made)
                        written = True
        return written

    def view(self, scope: gs.Graph) -> View:
        if id(scope) not in self._views:
            self._views[id(scope)] = View(scope, self._uses, self._types.of)
        return self._views[id(scope)]

    def value(self, tensor: gs.Tensor, scope: gs.Graph) -> Array | None:
        """Return what a list of sizes, or an operand, holds where that follows without inputs."""
        if id(scope) not in self._values:
            sized = [node for node in scope.nodes if node.op in RULES]
            lists = [n.inputs[p] for n in sized for p in _lists_of(n) if n.inputs[p].name]
            self._values[id(scope)] = constant_values(lists, self.view(scope))
        held = self._values[id(scope)]
        if id(tensor) not in held:
            held.update(constant_values([tensor], self.view(scope)))
        return held.get(id(tensor))


def _lists_of(node: gs.Node) -> range:
    """Return the positions of what may be lists of sizes."""
    return range(0 if len(node.inputs) == 1 else 1, len(node.inputs))


class _SizeRound:
    """One walk over both copies; what hangs on a node that is mended waits for the next."""

    def __init__(
        self, before: _SizesOfCopy, after: gs.Graph, mended: Collection[int], told: Told
    ) -> None:
        self._before, self._after = before, _SizesOfCopy(after)
        self._mended, self._told = frozenset(mended), told
        self._seen = SeenSizes()
        self._live: set[int] = set()
        self._summed: dict[int, frozenset[int]] = {}
        self._waiting: set[int] = set()
        self._changed: set[int] = set()  # scopes
        outer, scope = self._before.graph, self._after.graph
        for was, now in zip(outer.inputs, scope.inputs, strict=True):
            if isinstance(now, gs.Variable):
                self._enter(was, now, outer, scope, given=True)

    def outputs(self) -> dict[str, Sequence[int]]:
        """Return the sizes of the outputs, those that are known."""
        scope = self._after.graph
        sizes = {t.name: known(self._after.view(scope).shape(t)) for t in scope.outputs}
        return {name: found for name, found in sizes.items() if found is not None}

    def look(self) -> tuple[list[Mend], list[str]]:
        """Return the nodes to mend, and why others cannot be."""
        mends: list[Mend] = []
        refused: list[str] = []
        pairs = zip(nodes_of(self._before.graph), nodes_of(self._after.graph), strict=True)
        for place, ((outer, was), (scope, node)) in enumerate(pairs):
            bodies = subgraphs_of(node)
            waits = any(id(t) in self._waiting for t in node.inputs)
            if waits or any(id(body) in self._changed for body in bodies):
                self._wait(node, scope)
                continue
            asks = node.op in READ_NO_VALUES  # for sizes alone
            live = bool(bodies) or (not asks and any(id(t) in self._live for t in node.inputs))
            if is_standard(node):
                try:
                    mend = self._mend(place, (outer, was), (scope, node))
                except FixedSizeError as reason:
                    refused.append(f"{label(node)}: {reason}")
                    self._wait(node, scope)
                    continue
                if mend is not None:
                    mends.append(mend)
                    self._wait(node, scope)
                    live = True
            if live:
                for old, new in zip(was.outputs, node.outputs, strict=True):
                    if id(new) not in self._waiting:
                        self._enter(old, new, outer, scope)
                    self._live.add(id(new))
        return mends, refused

    def _wait(self, node: gs.Node, scope: gs.Graph) -> None:
        self._waiting.update(id(tensor) for tensor in node.outputs)
        self._changed.add(id(scope))

    def _enter(
        self,
        was: gs.Tensor,
        now: gs.Tensor,
        outer: gs.Graph,
        scope: gs.Graph,
        given: bool = False,
    ) -> None:
        self._live.add(id(now))
        before = known(self._before.view(outer).shape(was))
        after = known(self._after.view(scope).shape(now))
        if before is not None and after is not None and len(before) == len(after):
            self._seen.add(before, after)
            if given:
                self._seen.add_given(before, after)

    def _mend(
        self, place: int, was: tuple[gs.Graph, gs.Node], now: tuple[gs.Graph, gs.Node]
    ) -> Mend | None:
        (outer, before), (scope, node) = was, now
        rule = RULES.get(node.op)
        site = SizedSite(
            was=before,
            node=node,
            before=self._before.view(outer),
            after=self._after.view(scope),
            values_before=lambda tensor: self._before.value(tensor, outer),
            values_after=lambda tensor: self._after.value(tensor, scope),
            seen=self._seen,
            summed=frozenset().union(*(self._summed.get(id(t), ()) for t in node.inputs)),
            is_live=lambda tensor: id(tensor) in self._live,
            follows=node_key(node) in self._told.follow,
        )
        over = summed(site)
        self._summed.update((id(tensor), over) for tensor in node.outputs)
        if place in self._mended or node_key(node) in self._told.keep:
            return None
        changes = (rule(site) if rule is not None else None) or {}
        inputs: dict[int, Array] = dict(operands(site))
        attrs: dict[str, list[float]] = {}
        shapes = {node.inputs[p].name: v.shape for p, v in inputs.items()}
        lists: dict[str, tuple[Sequence[float] | None, Sequence[float]]] = {}
        for name, sizes in changes.items():
            position = site.position(name)
            asked = site.asked(name)
            lists[name] = (None if asked is None else asked[0], list(sizes))
            if position is None:
                attrs[name] = list(sizes)
            else:
                inputs[position] = _typed(sizes, site.after.dtype(node.inputs[position]))
        if not inputs and not attrs:
            return None
        return Mend(
            place=place,
            inputs=inputs,
            attrs=attrs,
            node=node_key(node),
            label=label(node),
            lists=lists,
            operands=shapes,
        )


def _typed(sizes: Sequence[float], dtype: np.dtype[Any] | None) -> Array:
    """Return sizes as a constant of `dtype`; ends of a Slice may be beyond it."""
    dtype = dtype or np.dtype(np.int64)
    if dtype.kind not in "iu":
        return np.array(sizes, dtype)
    limits = np.iinfo(dtype)
    held = [min(max(int(size), limits.min), limits.max) for size in sizes]
    return np.array(held, dtype)
