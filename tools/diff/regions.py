"""Nodes without a counterpart, put together to what became of them."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Container, Hashable, Iterator, Sequence
from dataclasses import dataclass, field

from ...ir.core.disjoint_sets import DisjointSets
from .match import Matching
from .wiring import Wiring


@dataclass(eq=False)
class Region:
    """Connected nodes of one model that are in no pair, and where they end.

    `entries` and `exits` are wires from and to pairs, by the name that the pair has in both models;
    `before` and `after` the nodes of those pairs in the model itself.
    """

    nodes: list[int] = field(default_factory=list)
    entries: set[Hashable] = field(default_factory=set)
    exits: set[Hashable] = field(default_factory=set)
    before: dict[int, None] = field(default_factory=dict)
    after: dict[int, None] = field(default_factory=dict)


def regions_of(wiring: Wiring, paired: dict[int, int]) -> list[Region]:
    """Return the regions of nodes that are not in `paired`, which gives pairs their name."""
    free = [index for index in range(len(wiring)) if index not in paired]
    sets = DisjointSets(len(wiring))
    for index in free:
        for producer in wiring.producers(index):
            if producer not in paired:
                sets.unite(index, producer)
    found: dict[int, Region] = defaultdict(Region)
    for index in free:
        region = found[sets.find(index)]
        region.nodes.append(index)
        for source in wiring.sources[index]:
            if source.kind == "node" and source.index in paired:
                region.entries.add((paired[source.index], source.port))
                region.before[source.index] = None
            elif source.kind == "input":
                region.entries.add(("input", source.index))
        for reader, position, _ in wiring.readers[index]:
            if reader in paired:
                region.exits.add((paired[reader], position))
                region.after[reader] = None
        region.exits.update(("output", place) for place in wiring.shown[index])
    return list(found.values())


def facing(old: list[Region], new: list[Region]) -> list[tuple[list[Region], list[Region]]]:
    """Return the regions that stand in each other's place; each of either model is in one result.

    They share an exit, or alone have all entries in common.
    """
    sets = DisjointSets(len(old) + len(new))
    numbers = {id(region): place for place, region in enumerate((*old, *new))}
    exits: dict[Hashable, list[int]] = defaultdict(list)
    entries: dict[Hashable, list[int]] = defaultdict(list)
    for region in (*old, *new):
        for end in region.exits:
            exits[end].append(numbers[id(region)])
        if region.entries:
            entries[frozenset(region.entries)].append(numbers[id(region)])
    alone = (sharing for sharing in entries.values() if len(sharing) == 2)
    for sharing in (*exits.values(), *alone):
        if len({place < len(old) for place in sharing}) == 2:
            for place in sharing[1:]:
                sets.unite(sharing[0], place)
    groups: dict[int, tuple[list[Region], list[Region]]] = defaultdict(lambda: ([], []))
    for place, region in enumerate((*old, *new)):
        groups[sets.find(place)][place >= len(old)].append(region)
    return list(groups.values())


def taken_in(
    region: Region, a: Wiring, b: Wiring, matching: Matching, changed: Container[int]
) -> int | None:
    """Return the node of `a` into whose counterpart a removed region went, or None.

    That is a call whose body has the region's operators in their order, else a reader that became
    another operator, else a neighbour of other constants: each now stands where the region
    stood, between what it read and what reads it.
    """
    around = [each for each in (*region.before, *region.after) if each in changed]
    near = [each for each in around if _bridges(each, region, b, matching)]
    operators = [a.nodes[index].op for index in sorted(region.nodes)]
    for neighbour in near:
        own = [a.nodes[neighbour].op]
        whole = own + operators if neighbour in region.before else operators + own
        function = b.function(matching.forward[neighbour])
        if function is not None and _is_part(whole, [node.op for node in function.nodes]):
            return neighbour
    others = (each for each in region.after if each in changed and _is_other(each, a, b, matching))
    return next(itertools.chain(others, near), None)


def _is_part(operators: list[str], parts: Sequence[str]) -> bool:
    """Say whether `operators` are among `parts` in that order."""
    left = iter(parts)
    return all(operator in left for operator in operators)


def _is_other(index: int, a: Wiring, b: Wiring, matching: Matching) -> bool:
    return bool(a.nodes[index].op != b.nodes[matching.forward[index]].op)


def _bridges(neighbour: int, region: Region, b: Wiring, matching: Matching) -> bool:
    """Say whether the counterpart of `neighbour` is wired to that of the region's other side."""
    here = matching.forward[neighbour]
    if neighbour in region.before:
        readers = {reader for reader, _, _ in b.readers[here]}
        after = {matching.forward[each] for each in region.after}
        return not after or not readers.isdisjoint(after) or bool(b.shown[here])
    before = {matching.forward[each] for each in region.before}
    return not before or not set(b.producers(here)).isdisjoint(before)


def only_reader(region: Region, matching: Matching, changed: Container[int]) -> int | None:
    """Return the node whose counterpart alone reads an added region that no value enters, or None.

    Such a region prepares constants, as a DequantizeLinear of weights does.
    """
    if region.entries or len(region.after) != 1:
        return None
    reader = matching.backward[next(iter(region.after))]
    return reader if reader in changed else None


def written_out(
    region: Region, a: Wiring, b: Wiring, matching: Matching, changed: Container[int]
) -> int | None:
    """Return the call of `a` whose body has an added region's operators beside its counterpart's.

    What the call stood for are nodes of their own then; None where there is none.
    """
    operators = [b.nodes[index].op for index in sorted(region.nodes)]
    for neighbour in (*region.before, *region.after):
        call, own = matching.backward[neighbour], [b.nodes[neighbour].op]
        whole = own + operators if neighbour in region.before else operators + own
        function = a.function(call) if call in changed else None
        if function is not None and _is_part(whole, [node.op for node in function.nodes]):
            return call
    return None


def in_order(regions: list[Region]) -> Iterator[int]:
    """Yield the nodes of regions in the order of the graph."""
    yield from sorted(node for region in regions for node in region.nodes)
