"""What another export of a network, at other sizes, says of its constants.

x [1, 3, 32, 32]: y / 16, Resize to 32   |   x [1, 3, 48, 64]: y / 16, Resize to [48, 64]

A constant that is the same in both is one of its own; one that is not goes with a size. That the
rules make the other export's constants of this one's is checked before anything is changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.errors import RefusedError
from ....ir.core.variables import label, node_key
from ....ir.files.load import load
from ....ir.graph.types import Dim
from ....ir.run.feeds import is_size
from .copies import SizedCopy
from .mend import Told, nodes_of
from .plan import OpenPartsError, plan
from .site import Array
from .splits import FIRST, LAST


def told_by(graph: gs.Graph, path: Path, shapes: Mapping[str, Sequence[Dim]], told: Told) -> Told:
    """Return `told` with the nodes of `graph` that the export at `path` says stay, or go along.

    Raises RefusedError where that is no export of the same network, does not tell of a size that
    is to change, or where its constants are not what the rules make of those of `graph`.
    """
    other = load(path)
    _need_alike(graph, other, path)
    sizes = {t.name: list(t.shape or ()) for t in other.inputs}
    _need_telling(graph, sizes, shapes, path)
    same, changed = _compared(graph, other)
    decided = replace(told, keep=told.keep | same, follow=told.follow | changed)
    asked = {n: s for n, s in sizes.items() if s != _shape(graph, n)}
    try:
        differing = _differing(plan(graph, asked, decided).sized, other)
    except OpenPartsError:
        for place in (LAST, FIRST):
            decided = replace(decided, parts=replace(decided.parts, default=place))
            differing = _differing(plan(graph, asked, decided).sized, other)
            if differing is None:
                break
    if differing is not None:
        raise RefusedError(
            f"the sizes cannot be set: {label(differing)}: what it holds follows a size, as "
            f"'{path}' shows, and not in a way that is known"
        )
    return decided


def _differing(sized: gs.Graph, other: gs.Graph) -> gs.Node | None:
    """Return the first node that holds another constant in `other`, None where none does."""
    pairs = _held_by_both(sized, other)
    return next((node for node, (mine, theirs) in pairs if not _equal(mine, theirs)), None)


def _need_alike(graph: gs.Graph, other: gs.Graph, path: Path) -> None:
    pairs = zip(nodes_of(graph), nodes_of(other), strict=False)
    for (_, mine), (_, theirs) in pairs:
        if mine.op != theirs.op or len(mine.inputs) != len(theirs.inputs):
            raise RefusedError(
                f"'{path}' is no export of the same network at another size: at {label(mine)} it "
                f"has {label(theirs)}; write both with the same exporter"
            )
    counts = [sum(1 for _ in nodes_of(one)) for one in (graph, other)]
    names = [[tensor.name for tensor in one.inputs] for one in (graph, other)]
    if counts[0] != counts[1] or names[0] != names[1]:
        raise RefusedError(
            f"'{path}' is no export of the same network at another size: it has {counts[1]} nodes "
            f"and inputs {names[1]}, where there are {counts[0]} and {names[0]}"
        )


def _need_telling(
    graph: gs.Graph,
    sizes: Mapping[str, Sequence[Dim]],
    shapes: Mapping[str, Sequence[Dim]],
    path: Path,
) -> None:
    for name, wanted in shapes.items():
        rows = zip(_shape(graph, name), sizes[name], wanted, strict=True)
        for axis, (was, there, now) in enumerate(rows):
            if was != now and (was == there or not is_size(there)):
                raise RefusedError(
                    f"'{path}' does not tell what goes with axis {axis} of '{name}', which is "
                    f"{was} in both; export it with another size there"
                )


def _shape(graph: gs.Graph, name: str) -> list[Dim]:
    return next(list(t.shape or ()) for t in graph.inputs if t.name == name)


def _compared(graph: gs.Graph, other: gs.Graph) -> tuple[frozenset[str], frozenset[str]]:
    """Return the nodes whose constants are the same in both, and those with others."""
    every = {node_key(node) for _, node in nodes_of(graph)}
    changed = {
        node_key(node)
        for node, (mine, theirs) in _held_by_both(graph, other)
        if not _equal(mine, theirs)
    }
    attrs = {
        node_key(mine)
        for (_, mine), (_, theirs) in zip(nodes_of(graph), nodes_of(other), strict=True)
        if any(not _same(mine.attrs[n], theirs.attrs.get(n)) for n in mine.attrs)
    }
    return frozenset(every - changed - attrs), frozenset(changed | attrs)


def _held_by_both(
    graph: gs.Graph, other: gs.Graph
) -> Iterator[tuple[gs.Node, tuple[Array | None, Array | None]]]:
    """Yield what nodes read that no input decides, where both have it."""
    mine, theirs = SizedCopy(graph), SizedCopy(other)
    pairs = zip(nodes_of(mine.graph), nodes_of(theirs.graph), strict=True)
    for (scope, node), (elsewhere, copy) in pairs:
        held = [
            (_value(mine, a, scope), _value(theirs, b, elsewhere))
            for a, b in zip(node.inputs, copy.inputs, strict=True)
        ]
        if any(b is None for _, b in held):  # of what inputs decide
            yield from ((node, pair) for pair in held if pair[1] is not None)


def _value(copy: SizedCopy, tensor: gs.Tensor, scope: gs.Graph) -> Array | None:
    found = copy.view(scope).constant(tensor)
    return copy.value(tensor, scope) if found is None else found


def _equal(mine: Array | None, theirs: Array | None) -> bool:
    if mine is None or theirs is None or mine.shape != theirs.shape:
        return False
    return np.array_equal(mine, theirs, equal_nan=mine.dtype.kind == "f")


def _same(mine: object, theirs: object) -> bool:
    if isinstance(mine, gs.Graph) or isinstance(theirs, gs.Graph):
        return True  # nodes of bodies are compared one by one
    if isinstance(mine, gs.Tensor) or isinstance(theirs, gs.Tensor):
        return True  # a Constant, whose readers are compared
    return bool(np.array_equal(np.asarray(mine), np.asarray(theirs)))
