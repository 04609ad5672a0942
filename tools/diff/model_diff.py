"""What two models differ in, as plain data."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from ...ir.core.counted import counted
from ...ir.core.shown import Shown, Summary, in_short

Kind = Literal["changed", "fused", "replaced", "removed", "added"]
KINDS: tuple[Kind, ...] = ("fused", "replaced", "changed", "removed", "added")


@dataclass(frozen=True)
class NodeRef:
    """A node of one of the models: its place among the scope's nodes, what it is called, and where.

    `scope`: the names of the nodes in whose bodies it stands, outermost first.
    """

    index: int
    name: str
    op: str
    scope: tuple[str, ...] = ()


@dataclass(frozen=True)
class AttributeChange:
    """An attribute of a node; None where one of them has it not, not even by default."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True)
class TypeChange:
    """Element type and sizes of a result, such as `float32[1, 64, 56, 56]`; by output position."""

    output: int
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class WeightChange:
    """A constant at one input of a node; the type is None where it is not a constant.

    `max_abs` is the largest |after - before|, `relative` the norm of the difference by that of
    `before`; both are None where the shapes differ, or where one of them holds no numbers.
    `not_finite`: how many values are infinite or NaN on one side, or otherwise on the other;
    distances are of the rest.
    """

    input: int
    before: str | None
    after: str | None
    max_abs: float | None = None
    relative: float | None = None
    not_finite: int = 0

    @property
    def distance(self) -> str:
        """What is told of the distance, in words; empty where there is none to tell."""
        if self.max_abs is None or self.relative is None:
            return ""
        told = f"at most {self.max_abs:.3g} apart, {self.relative:.3g} of the norm"
        if not self.not_finite:
            return told
        values = counted(self.not_finite, "value is", "values are")
        return f"{values} infinite or NaN on one side only, the others {told}"


@dataclass(frozen=True)
class InputChange:
    """An input of a node that reads another tensor, named by what makes it."""

    input: int
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Change:
    """One thing that differs: what nodes became.

    - `fused`: several nodes became one, or fewer, which computes what they did.
    - `replaced`: others stand in their place.
    - `changed`: one node of the same operator, and what is different of it.
    - `removed`, `added`: nodes without a counterpart.
    """

    kind: Kind
    before: tuple[NodeRef, ...] = ()
    after: tuple[NodeRef, ...] = ()
    attributes: tuple[AttributeChange, ...] = ()
    types: tuple[TypeChange, ...] = ()
    weights: tuple[WeightChange, ...] = ()
    inputs: tuple[InputChange, ...] = ()


@dataclass(frozen=True)
class ModelChange:
    """A fact about the whole model, such as its opset or an input."""

    what: str
    before: str
    after: str


# Where a body stands: the places of the nodes that hold it, and their attributes, outermost first.
BodyPath = tuple[tuple[int, str], ...]


@dataclass(frozen=True, kw_only=True)
class BodyDiff:
    """Two bodies that stand for one another: where, `pairs` of nodes by place, and what differs."""

    before: BodyPath
    after: BodyPath
    pairs: tuple[tuple[int, int], ...]
    changes: tuple[Change, ...]


@dataclass(frozen=True, kw_only=True, repr=False)
class ModelDiff(Shown):
    """Two models matched: `pairs` of nodes by place, in the outermost graph, and what differs.

    `same`: nodes that are equal but for names; `following`: those of which only the type or sizes
    of results differ, since those of what they read do; `renamed`: those of all pairs that are
    called otherwise. `nodes_before` and `nodes_after` count those of all scopes, without Constant
    nodes. `bodies`: those of If, Loop and Scan, whose changes are among `changes` too.
    """

    nodes_before: int
    nodes_after: int
    same: int
    following: int
    renamed: int
    model: tuple[ModelChange, ...]
    changes: tuple[Change, ...]
    pairs: tuple[tuple[int, int], ...] = field(default=(), repr=False)
    bodies: tuple[BodyDiff, ...] = field(default=(), repr=False)

    @property
    def is_empty(self) -> bool:
        """Whether both models compute the same by the same nodes, whatever these are called."""
        return not (self.model or self.changes)

    @property
    def counts(self) -> dict[Kind, int]:
        """How many changes of each kind there are, without those that there are none of."""
        found = Counter(change.kind for change in self.changes)
        return {kind: found[kind] for kind in KINDS if found[kind]}

    @property
    def tallies(self) -> list[str]:
        """How many nodes changed, by kind, in words; of both models where these are not as many."""
        found = []
        for kind in self.counts:
            changes = [change for change in self.changes if change.kind == kind]
            before = sum(len(change.before) for change in changes)
            after = sum(len(change.after) for change in changes)
            into = "into" if kind == "fused" else "by"
            both = before and after and before != after
            found.append(f"{before or after} {kind}" + (f" {into} {after}" if both else ""))
        return found

    def _summary(self) -> Summary:
        parts = [counted(self.same, "node is the same", "nodes are the same")]
        parts += self.tallies
        line = f"{self.nodes_before} -> {self.nodes_after} nodes: {', '.join(parts)}"
        rows = [(c.kind, listed(c.before), listed(c.after)) for c in self.changes]
        return Summary(line, rows, ("change", "before", "after"))


def listed(nodes: tuple[NodeRef, ...], most: int = 4) -> str:
    """Name nodes in a line: each with its operator, or how many there are beyond `most`."""
    named = [
        f"{node.op} '{in_short(node.name)}'" if node.name else node.op for node in nodes[:most]
    ]
    rest = len(nodes) - most
    return " + ".join(named + ([f"{rest} more"] if rest > 0 else []))
