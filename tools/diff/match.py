"""Which node of one graph is which of the other, whatever both are called.

    down(n) = number(own(n), down(producers of n))      up(n) = number(own(n), up(readers of n))

Two nodes with the same `down` compute the same of the same inputs, and two with the same `up` are
used for the same. Anchors are nodes that share both, then one of them, then large weights, then
names; and all that with less and less of a node in `own` (`signatures.LEVELS`). From anchors the
matching grows along the wires, and what is left between them is aligned as sequences. Every step is
linear in nodes and wires, but for the alignment of what is left, which is bounded.

After Cobena, Abiteboul and Marian 2002, "Detecting Changes in XML Documents" (signatures from below
and above, heaviest first), on graphs.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Container, Hashable, Mapping, Sequence

import onnx_graphsurgeon as gs

from ...ir.core.variables import FUSED_DOMAIN
from .signatures import LEVELS, Interned, Signatures, domain_of
from .wiring import Wiring

_LARGE = 16  # elements from which on the content of a constant says which layer it is
_MOST_ALIGNED = 1_000_000  # comparisons
_Keys = Sequence[Hashable | None]


class Matching:
    """Pairs of node indices, each node in one at most."""

    def __init__(self) -> None:
        self.forward: dict[int, int] = {}
        self.backward: dict[int, int] = {}

    def free(self, a: int, b: int) -> bool:
        """Say whether neither is in a pair yet."""
        return a not in self.forward and b not in self.backward

    def add(self, a: int, b: int) -> None:
        """Make a pair."""
        self.forward[a] = b
        self.backward[b] = a

    def by_key(self, keys_a: _Keys, keys_b: _Keys, *, single: bool = False) -> int:
        """Pair free nodes with equal keys in order, where both graphs have as many of them.

        None is no key. `single`: where both have one. Returns the number of pairs.
        """
        groups_a = _groups(keys_a, self.forward)
        groups_b = _groups(keys_b, self.backward)
        made = 0
        for key, these in groups_a.items():
            those = groups_b.get(key, [])
            if len(these) != len(those) or (single and len(these) > 1):
                continue
            for a, b in zip(these, those, strict=True):
                self.add(a, b)
            made += len(these)
        return made


def _groups(keys: _Keys, taken: dict[int, int]) -> dict[Hashable, list[int]]:
    found: dict[Hashable, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        if key is not None and index not in taken:
            found[key].append(index)
    return found


def match(a: Wiring, b: Wiring) -> Matching:
    """Return the pairs of nodes of `a` and `b`."""
    return _StagedMatcher(a, b).run()


class _StagedMatcher:
    def __init__(self, a: Wiring, b: Wiring) -> None:
        self.a, self.b = a, b
        self.matching = Matching()
        interned = Interned()
        signatures = Signatures(interned)
        self.interned = interned
        self.own = {level: (signatures.of(a, level), signatures.of(b, level)) for level in LEVELS}

    def run(self) -> Matching:
        self._structure("same")
        self._weights()
        self._names(same_operator=True)
        for level in LEVELS[1:]:
            self._structure(level)
        self._grow()
        for level in LEVELS[2:]:
            self._align(level)
            self._grow()
        self._names(same_operator=False)
        return self.matching

    def _structure(self, level: str) -> None:
        """Pair by `down` and `up`, then by either."""
        own_a, own_b = self.own[level]
        down_a, down_b = (_down(w, own, self.interned) for w, own in self._both(own_a, own_b))
        up_a, up_b = (_up(w, own, self.interned) for w, own in self._both(own_a, own_b))
        both_a, both_b = list(zip(down_a, up_a, strict=True)), list(zip(down_b, up_b, strict=True))
        self.matching.by_key(both_a, both_b)
        self.matching.by_key(down_a, down_b)
        self.matching.by_key(up_a, up_b)

    def _both(
        self, own_a: Sequence[int], own_b: Sequence[int]
    ) -> tuple[tuple[Wiring, Sequence[int]], tuple[Wiring, Sequence[int]]]:
        return (self.a, own_a), (self.b, own_b)

    def _weights(self) -> None:
        """Pair layers by the content of their weights, then fused ones with what they hold."""
        own_a, own_b = self.own["same"]
        keys_a = [own if _large(self.a, i) else None for i, own in enumerate(own_a)]
        keys_b = [own if _large(self.b, i) else None for i, own in enumerate(own_b)]
        self.matching.by_key(keys_a, keys_b, single=True)
        held_a, held_b = _holders(self.a), _holders(self.b)
        for digest, these in held_a.items():
            those = held_b.get(digest, [])
            if len(these) != 1 or len(those) != 1 or not self.matching.free(these[0], those[0]):
                continue
            nodes = self.a.nodes[these[0]], self.b.nodes[those[0]]
            if nodes[0].op == nodes[1].op or any(domain_of(n) == FUSED_DOMAIN for n in nodes):
                self.matching.add(these[0], those[0])

    def _names(self, *, same_operator: bool) -> None:
        """Pair by the name of a node, and by that of its first result."""
        for name_of in (_node_name, _result_name):
            keys = [
                [(name_of(n), n.op if same_operator else "") if name_of(n) else None for n in nodes]
                for nodes in (self.a.nodes, self.b.nodes)
            ]
            self.matching.by_key(keys[0], keys[1], single=True)

    def _grow(self) -> None:
        """Pair neighbours of pairs, those that are more alike first."""
        for level in LEVELS:
            waiting = list(self.matching.forward.items())
            while waiting:
                made = self._around(*waiting.pop(), level)
                for pair in made:
                    self.matching.add(*pair)
                waiting += made

    def _around(self, a: int, b: int, level: str) -> list[tuple[int, int]]:
        """Return pairs of free neighbours of a pair that are alike and stand at the same places."""
        own_a, own_b = self.own[level]
        found: dict[int, int] = {}
        used: set[int] = set()

        def take(this: int, that: int) -> None:
            if self.matching.free(this, that) and this not in found and that not in used:
                found[this] = that
                used.add(that)

        for source_a, source_b in zip(self.a.sources[a], self.b.sources[b], strict=False):
            made = source_a.kind == source_b.kind == "node" and source_a.port == source_b.port
            if made and own_a[source_a.index] == own_b[source_b.index]:
                take(source_a.index, source_b.index)
        after_a = _readers(self.a, a, own_a, self.matching.forward)
        after_b = _readers(self.b, b, own_b, self.matching.backward)
        for key, these in after_a.items():
            those = after_b.get(key, [])
            if len(these) == len(those):
                for this, that in zip(these, those, strict=True):
                    take(this, that)
        return list(found.items())

    def _align(self, level: str) -> None:
        """Pair what is left behind the same anchor as sequences."""
        own_a, own_b = self.own[level]
        forward, backward = self.matching.forward, self.matching.backward
        behind_a, behind_b = _behind(self.a, forward), _behind(self.b, {b: b for b in backward})
        for anchor, these in behind_a.items():
            those = behind_b.get(anchor, [])
            if not those or len(these) * len(those) > _MOST_ALIGNED:
                continue
            keys_a, keys_b = [own_a[i] for i in these], [own_b[i] for i in those]
            blocks = difflib.SequenceMatcher(None, keys_a, keys_b, autojunk=False)
            for block in blocks.get_matching_blocks():
                for step in range(block.size):
                    self.matching.add(these[block.a + step], those[block.b + step])


def _down(wiring: Wiring, own: Sequence[int], interned: Interned) -> list[int]:
    found: list[int] = []
    for index, number in enumerate(own):
        sources = [
            (s.kind, found[s.index] if s.kind == "node" else s.index, s.port)
            for s in wiring.sources[index]
        ]
        if wiring.commutes[index]:
            sources.sort()
        found.append(interned.of(("down", number, tuple(sources))))
    return found


def _up(wiring: Wiring, own: Sequence[int], interned: Interned) -> list[int]:
    found = [0] * len(own)
    for index in reversed(range(len(own))):
        readers = sorted((found[r], position, port) for r, position, port in wiring.readers[index])
        key = ("up", own[index], tuple(readers), tuple(wiring.shown[index]))
        found[index] = interned.of(key)
    return found


def _large(wiring: Wiring, index: int) -> bool:
    return any(
        held.values is not None and held.values.size >= _LARGE
        for _, held in wiring.constants(index)
    )


def _holders(wiring: Wiring) -> dict[bytes, list[int]]:
    found: dict[bytes, list[int]] = defaultdict(list)
    for index in range(len(wiring)):
        for _, held in wiring.constants(index):
            if held.values is not None and held.values.size >= _LARGE:
                found[held.digest].append(index)
    return found


def _readers(
    wiring: Wiring, index: int, own: Sequence[int], taken: Container[int]
) -> dict[Hashable, list[int]]:
    """Return the free readers of a node, by what they are and where they read it."""
    found: dict[Hashable, dict[int, None]] = defaultdict(dict)
    for reader, position, port in wiring.readers[index]:
        if reader not in taken:
            found[own[reader], position, port][reader] = None
    return {key: list(readers) for key, readers in found.items()}


def _behind(wiring: Wiring, anchors: Mapping[int, int]) -> dict[int, list[int]]:
    """Return the nodes that are in no pair by the last pair in front of them, in order.

    `anchors`: what nodes in pairs are called there; -1 stands for the inputs.
    """
    last: list[int] = []
    found: dict[int, list[int]] = defaultdict(list)
    for index in range(len(wiring)):
        first = next(wiring.producers(index), None)
        anchor = anchors.get(index, -1 if first is None else last[first])
        last.append(anchor)
        if index not in anchors:
            found[anchor].append(index)
    return found


def _node_name(node: gs.Node) -> str:
    return str(node.name or "")


def _result_name(node: gs.Node) -> str:
    return next((tensor.name for tensor in node.outputs if tensor.name), "")
