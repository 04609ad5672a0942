"""What a node is to hold at other sizes, and what a person has decided of some."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.build import make_constant
from ....ir.core.variables import subgraphs_of
from ....ir.graph.types import Dim
from .site import Array
from .splits import Parts


@dataclass(frozen=True, kw_only=True)
class Told:
    """Nodes, by name, that a person has decided about: to stay as they are, or to go along.

    `tries`: what cannot be decided stays as it is, to see whether that runs, and `undecided`
    says why, where it is no value for each element. `is_between`:
    whether the graph has sizes already that are in between. `parts`: which part stays of sizes that
    are taken apart in two.
    `final`: the shapes of inputs that those of the graph are on the way to. `opens`: whether the
    sizes stand for names, which no attribute can follow. `known`: graphs of which is known what
    follows from their sizes; all that is tried on the way adds to it.
    """

    keep: frozenset[str] = frozenset()
    follow: frozenset[str] = frozenset()
    tries: bool = False
    undecided: list[str] = field(default_factory=list)
    is_between: bool = False
    parts: Parts = field(default_factory=Parts)
    final: Mapping[str, Sequence[Dim]] = field(default_factory=dict)
    opens: bool = False
    known: dict[Hashable, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class Mend:
    """What the node at `place` (of `nodes_of`) is to hold, by input position or attribute.

    `lists`: what parameters held before, and hold now; `operands`: shapes of others, by name.
    `guessed`: whether the node may hold numbers of its own instead; `taken`: whether they are taken
    for sizes of an input though it may.
    """

    place: int
    inputs: Mapping[int, Array]
    attrs: Mapping[str, list[float]]
    node: str
    label: str
    lists: Mapping[str, tuple[Sequence[float] | None, Sequence[float]]]
    operands: Mapping[str, Sequence[int]]
    guessed: bool
    taken: bool
    op: str

    @property
    def told(self) -> str:
        """What a person is told of it."""
        parts = [f"'{name}' is now {list(shape)}" for name, shape in self.operands.items()]
        for name, (was, now) in self.lists.items():
            parts.append(f"{name} {'?' if was is None else list(was)} -> {list(now)}")
        taken = ", taken for the size of an input; keep=[NODE] if it is one to keep"
        return f"{self.label}: {', '.join(parts)}{taken if self.taken else ''}"

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
            guessed=self.guessed or later.guessed,
            taken=self.taken or later.taken,
            operands={**self.operands, **later.operands},
        )


@dataclass(frozen=True)
class Refused:
    """Why a node, of the name that `keep` and `follow` take, cannot be mended."""

    node: str
    reason: str
    op: str


def nodes_of(graph: gs.Graph) -> Iterator[tuple[gs.Graph, gs.Node]]:
    """Yield all nodes with the scopes that hold them, those of a body before the one it is of."""
    for node in graph.nodes:
        for body in subgraphs_of(node):
            yield from nodes_of(body)
        yield graph, node


def node_at(graph: gs.Graph, place: int) -> gs.Node:
    """Return the node at `place` of `nodes_of`."""
    return next(itertools.islice(nodes_of(graph), place, None))[1]


def apply_to_copy(mend: Mend, node: gs.Node) -> None:
    """Give a node of a copy, which nobody else reads, what `mend` says."""
    for position, values in mend.inputs.items():
        old = node.inputs[position]
        name = f"{old.name}__sized_{mend.place}"  # others may hold the same one
        list.__setitem__(node.inputs, position, make_constant(name, values))
    node.attrs.update(mend.attrs)


def typed(sizes: Sequence[float], dtype: np.dtype[Any] | None) -> Array:
    """Return sizes as a constant of `dtype`; ends of a Slice may be beyond it."""
    dtype = dtype or np.dtype(np.int64)
    if dtype.kind not in "iu":
        return np.array(sizes, dtype)
    limits = np.iinfo(dtype)
    held = [min(max(int(size), limits.min), limits.max) for size in sizes]
    return np.array(held, dtype)
