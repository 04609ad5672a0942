"""One walk over a graph at the old sizes and at the new, side by side."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard, label, node_key, subgraphs_of
from ....ir.graph.uses import scopes
from ....ir.ops.traits.groups import READ_NO_VALUES
from .copies import SizedCopy
from .factors import Factors
from .mend import Mend, Refused, Told, apply_to_copy, nodes_of, typed
from .operands import operands
from .rules import RULES
from .seen import SeenSizes, Sizes, Summed, known
from .site import Array, FixedSizeError, Guess, MisfitError, SizedSite, Taken, UndecidedPartsError
from .sums import products_of, summed


class SizeRound:
    """One walk over both copies.

    What hangs on a node that is mended is inferred on the way, or waits for the next walk.
    """

    def __init__(
        self, before: SizedCopy, after: gs.Graph, mended: Collection[int], told: Told
    ) -> None:
        self._before, self._after = before, SizedCopy(after)
        self._mended, self._told = frozenset(mended), told
        self._seen = SeenSizes()
        self._live: set[int] = set()
        self._settled: set[int] = set()
        self._summed: dict[int, frozenset[Summed]] = {}
        self._products = (_products(self._before), _products(self._after))
        self._waiting: set[int] = set()
        self._fresh: set[int] = set()  # whose types follow from nodes that are mended
        self._factors = Factors()
        self.parts_open = False
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

    def look(self) -> tuple[list[Mend], list[Refused]]:
        """Return the nodes to mend, and why others cannot be; the latter where none are mended."""
        mends: list[Mend] = []
        refused: list[Refused] = []
        pairs = zip(nodes_of(self._before.graph), nodes_of(self._after.graph), strict=True)
        for place, ((outer, was), (scope, node)) in enumerate(pairs):
            bodies = subgraphs_of(node)
            if self._waits(node, bodies, scope):
                self._wait(node, scope)
                continue
            asks = node.op in READ_NO_VALUES  # for sizes alone
            live = bool(bodies) or (not asks and any(id(t) in self._live for t in node.inputs))
            mend = None
            if is_standard(node):
                try:
                    mend = self._mend(place, (outer, was), (scope, node))
                except FixedSizeError as reason:
                    if mends:  # of what is behind them, not all is known
                        self._wait(node, scope)
                        continue
                    if isinstance(reason, UndecidedPartsError):
                        self.parts_open = True
                    if not self._told.tries:
                        refused.append(self._refused(node, scope, was, outer, str(reason)))
                        self._wait(node, scope)
                        continue
                    if not isinstance(reason, MisfitError):
                        self._told.undecided.append(str(reason))
                    elif not self._told.undecided:  # it is no other node's fault
                        return [], [self._refused(node, scope, was, outer, str(reason))]
            if mend is not None:
                mends.append(mend)
                live = True
                apply_to_copy(mend, node)
            if not self._go_on(node, scope, mend is not None):
                self._wait(node, scope)
                self._live.update(id(tensor) for tensor in node.outputs if live)
            elif live:
                for old, new in zip(was.outputs, node.outputs, strict=True):
                    self._enter(old, new, outer, scope)
                self._enter_factors(was, node, outer, scope)
        return mends, refused

    def _waits(self, node: gs.Node, bodies: Sequence[gs.Graph], scope: gs.Graph) -> bool:
        """Say whether something that `node` needs is known in the next round alone."""
        if any(id(self._after.source(t)) in self._waiting for t in node.inputs):
            return True
        fresh = any(id(t) in self._fresh for t in node.inputs)
        alone = scope is self._after.graph and not bodies and node.op not in READ_NO_VALUES
        return (fresh and not alone) or any(id(body) in self._changed for body in bodies)

    def _go_on(self, node: gs.Node, scope: gs.Graph, mended: bool) -> bool:
        """Infer what `node` gives anew behind one that is mended; say whether that is known."""
        if not mended and not any(id(t) in self._fresh for t in node.inputs):
            return True
        if scope is not self._after.graph or subgraphs_of(node):
            return False
        self._fresh.update(id(tensor) for tensor in node.outputs)

        def value(tensor: gs.Tensor) -> Array | None:
            return None if id(tensor) in self._live else self._after.value(tensor, scope)

        return self._after.learn_results(node, value)

    def _refused(
        self, node: gs.Node, scope: gs.Graph, was: gs.Node, outer: gs.Graph, reason: str
    ) -> Refused:
        """Return why a node cannot be mended, with the sizes of inputs that its own go with."""
        pairs = zip(was.inputs, node.inputs, strict=True)
        changes = [self._change(old, new, outer, scope) for old, new in pairs]
        own = next((found for found in changes if found), [])
        told = "" if "of input '" in reason else self._seen.told_of(own)
        return Refused(node_key(node), f"{label(node)}: {reason}{told}", node.op)

    def _change(
        self, was: gs.Tensor, now: gs.Tensor, outer: gs.Graph, scope: gs.Graph
    ) -> list[Summed]:
        pair = self._pair(was, now, outer, scope)
        rows = () if pair is None else zip(*pair, strict=True)
        return [Summed(a, b) for a, b in rows if a != b]

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
        self._settled.add(id(now))
        pair = self._pair(was, now, outer, scope)
        if pair is not None:
            self._seen.add(*pair)
            if given:
                self._seen.add_given(now.name, pair[0], self._final(now.name, pair[1]))

    def _enter_factors(self, was: gs.Node, node: gs.Node, outer: gs.Graph, scope: gs.Graph) -> None:
        results = zip(was.outputs, node.outputs, strict=True)
        made = [self._pair(old, new, outer, scope) for old, new in results]
        outputs = [pair for pair in made if pair is not None]
        if len(outputs) == len(made):
            given = zip(was.inputs, node.inputs, strict=True)
            inputs = [self._pair(old, new, outer, scope) for old, new in given]
            self._factors.enter(node, self._after.view(scope), inputs, outputs)

    def _pair(
        self, was: gs.Tensor, now: gs.Tensor, outer: gs.Graph, scope: gs.Graph
    ) -> tuple[Sizes, Sizes] | None:
        old = known(self._before.view(outer).shape(was))
        new = known(self._after.view(scope).shape(now))
        return None if old is None or new is None or len(old) != len(new) else (old, new)

    def _final(self, name: str, now: Sizes) -> Sizes:
        found = known(tuple(self._told.final.get(name, now)))
        return now if found is None or len(found) != len(now) else found

    def _scaled_for(self, was: gs.Node, node: gs.Node) -> frozenset[Summed]:
        """Return over how many elements the result of a node is summed with another."""
        before = self._products[0].get(id(was.outputs[0]), ())
        after = self._products[1].get(id(node.outputs[0]), ())
        if len(before) == len(after):
            return frozenset(map(Summed, before, after))
        became = {one.was: one.now for one in self._seen.changed}
        return frozenset(Summed(size, became.get(size, size)) for size in before)

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
            scaled_for=self._scaled_for(before, node),
            elsewhere=self._before.uses_elsewhere,
            uses=self._before.uses,
            is_live=lambda tensor: id(tensor) in self._live,
            is_settled=lambda tensor: id(tensor) in self._settled,
            follows=node_key(node) in self._told.follow,
            is_between=self._told.is_between,
            parts=self._told.parts,
            factors=self._factors.of,
            rolls=lambda: self._before.rolls,
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
                inputs[position] = typed(sizes, site.after.dtype(node.inputs[position]))
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
            guessed=isinstance(changes, Guess),
            taken=isinstance(changes, Taken),
            op=node.op,
        )


def _products(copy: SizedCopy) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for scope in scopes(copy.graph):
        for tensor, size in products_of(scope, copy.view(scope)):
            found.setdefault(id(tensor), []).append(size)
    return found
