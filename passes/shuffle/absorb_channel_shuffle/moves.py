"""What is left to move once every root has its order: pieces of roots, joined, or gathered.

A run of neighbouring channels is one output of a Split (or a Slice); channels that lie scattered in
a root are one Gather along axis 1. Both copy whole H x W planes, as Transpose does.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.ops.build import build_slice, build_split
from ..roles import Array
from .flow import ChannelFlow
from .orders import Orders

# More pieces than this are gathered: the table of a Concat costs more than its copies.
_MOST_PIECES = 16

Run = tuple[int, int, int]  # root, first channel, channel after the last


@dataclass(frozen=True)
class RootPortion:
    """Channels of one root, `at` their places in it."""

    root: int
    at: Array

    def run(self) -> Run | None:
        """Return the run that they are, or None."""
        first, last = int(self.at[0]), int(self.at[-1])
        straight = last - first + 1 == len(self.at) and bool((np.diff(self.at) == 1).all())
        return (self.root, first, last + 1) if straight else None


@dataclass
class MoveCost:
    """Elements copied, and nodes."""

    copied: int = 0
    nodes: int = 0

    def add(self, copied: int, nodes: int = 1) -> None:
        """Count `nodes` that copy `copied` elements together."""
        self.copied += copied
        self.nodes += nodes

    def better_than(self, other: MoveCost) -> bool:
        """Say whether nothing is worse and something better."""
        mine, its = (self.copied, self.nodes), (other.copied, other.nodes)
        return self.copied <= other.copied and mine < its


@dataclass
class Moves:
    """The arrangements that the requests of a solution need, by the bytes of their slots."""

    orders: Orders
    portions: dict[bytes, list[RootPortion]] = field(default_factory=dict)
    _runs: dict[int, set[Run]] = field(default_factory=lambda: defaultdict(set))
    _made: dict[object, gs.Tensor] = field(default_factory=dict)

    @property
    def flow(self) -> ChannelFlow:
        """The channels that are moved."""
        return self.orders.flow

    def is_whole(self, run: Run | None) -> bool:
        """Say whether a run is a whole root."""
        return run is not None and run[2] - run[1] == self.flow.channels(run[0])

    def whole_root(self, slots: Array) -> int | None:
        """Return the root that an arrangement is, as it lies, or None."""
        found = self.portions[slots.tobytes()]
        return found[0].root if self.is_whole(found[0].run()) and len(found) == 1 else None

    def plan(self, arrangements: Iterable[Array]) -> None:
        """Take note of arrangements, each an array of slots."""
        for slots in arrangements:
            if slots.tobytes() in self.portions:
                continue
            roots = np.searchsorted(self.orders.starts, slots, side="right") - 1
            cuts = np.flatnonzero(np.diff(roots)) + 1
            found = [
                RootPortion(int(part[0]), piece - self.orders.starts[part[0]])
                for part, piece in zip(np.split(roots, cuts), np.split(slots, cuts), strict=True)
            ]
            self.portions[slots.tobytes()] = found
            for run in (portion.run() for portion in found):
                if len(found) <= _MOST_PIECES and run is not None and not self.is_whole(run):
                    self._runs[run[0]].add(run)

    def costs(self) -> dict[int, MoveCost]:
        """Return what the moves of each region cost."""
        costs: dict[int, MoveCost] = defaultdict(MoveCost)
        gathered: set[tuple[int, bytes]] = set()
        for found in self.portions.values():
            weight = self.flow.weight(found[0].root)
            cost = costs[self.flow.region(found[0].root)]
            total = sum(len(portion.at) for portion in found)
            if len(found) > _MOST_PIECES:
                whole = {portion.root for portion in found}
                if len(whole) > 1:
                    cost.add(weight * sum(map(self.flow.channels, whole)))
                cost.add(weight * total)
                continue
            if len(found) > 1:
                cost.add(weight * total)
            for portion in found:
                name = (portion.root, portion.at.tobytes())
                if portion.run() is None and name not in gathered:
                    gathered.add(name)
                    cost.add(weight * len(portion.at))
        for root, runs in self._runs.items():
            cost = costs[self.flow.region(root)]
            lengths = self._split(root)
            copied = sum(lengths) if lengths else sum(b - a for _, a, b in runs)
            cost.add(self.flow.weight(root) * copied, 1 if lengths else len(runs))
        return costs

    def _split(self, root: int) -> list[int] | None:
        """Return the lengths of a Split that gives all runs of a root, or None."""
        runs = sorted(self._runs[root])
        cuts = sorted({0, self.flow.channels(root), *(c for _, a, b in runs for c in (a, b))})
        disjoint = all(a[2] <= b[1] for a, b in itertools.pairwise(runs))
        return np.diff(cuts).tolist() if disjoint and len(runs) > 1 else None

    def tensor(self, slots: Array, edit: Edit, at: gs.Node, result: gs.Tensor | None) -> gs.Tensor:
        """Return the tensor of an arrangement, made at `at` where it is not there yet.

        `result` is a tensor without a producer that it must be, if given.
        """
        key = slots.tobytes()
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self._arranged(self.portions[key], edit, at, result)
        if result is not None and made is not result:
            edit.node("Identity", [made], [result], at=at)
        return made

    def replace_root(self, root: int, tensor: gs.Tensor) -> None:
        """Let `tensor` stand for a root from now on."""
        self._made[root] = tensor

    def root(self, root: int) -> gs.Tensor:
        """Return the tensor that holds a root now."""
        return self._made.get(root, self.flow.roots[root])

    def _arranged(
        self, found: list[RootPortion], edit: Edit, at: gs.Node, result: gs.Tensor | None
    ) -> gs.Tensor:
        if len(found) == 1:
            return self._piece(found[0], edit, at, result)
        total = sum(len(portion.at) for portion in found)
        if len(found) <= _MOST_PIECES:
            pieces = [self._piece(portion, edit, at, None) for portion in found]
            made = result or self._variable(found[0].root, total, edit)
            edit.node("Concat", pieces, [made], {"axis": 1}, at=at)
            return made
        roots = sorted({portion.root for portion in found})
        starts = dict(zip(roots, np.cumsum([0, *map(self.flow.channels, roots)]), strict=False))
        whole = self.root(roots[0])
        if len(roots) > 1:
            whole = self._variable(roots[0], sum(map(self.flow.channels, roots)), edit)
            edit.node("Concat", [self.root(r) for r in roots], [whole], {"axis": 1}, at=at)
        indices = np.concatenate([portion.at + starts[portion.root] for portion in found])
        made = result or self._variable(roots[0], total, edit)
        self._gather(whole, indices, made, edit, at)
        return made

    def _piece(
        self, portion: RootPortion, edit: Edit, at: gs.Node, result: gs.Tensor | None
    ) -> gs.Tensor:
        run = portion.run()
        if self.is_whole(run):
            return self.root(portion.root)
        key = run or (portion.root, portion.at.tobytes())
        if key in self._made:
            return self._made[key]
        source = self.root(portion.root)
        lengths = self._split(portion.root) if run else None
        if lengths is not None:
            self._cut(portion.root, lengths, edit, at)
            return self._made[key]
        made = self._made[key] = result or self._variable(portion.root, len(portion.at), edit)
        if run is None:
            self._gather(source, portion.at, made, edit, at)
        else:
            build_slice(edit, source, made, {1: (run[1], run[2], 1)}, at=at)
        return made

    def _cut(self, root: int, lengths: list[int], edit: Edit, at: gs.Node) -> None:
        source = self.root(root)
        made = [self._variable(root, length, edit) for length in lengths]
        for piece, first, after in zip(
            made, np.cumsum([0, *lengths]), np.cumsum(lengths), strict=False
        ):
            self._made[root, int(first), int(after)] = piece
        build_split(edit, source, made, 1, lengths, at=at)

    def _gather(
        self, source: gs.Tensor, indices: Array, made: gs.Tensor, edit: Edit, at: gs.Node
    ) -> None:
        order = edit.constant(indices.astype(np.int64), f"{made.name}_channels")
        edit.node("Gather", [source, order], [made], {"axis": 1}, at=at)

    def _variable(self, root: int, channels: int, edit: Edit) -> gs.Variable:
        tensor = self.flow.roots[root]
        known = self.flow.view.type(tensor)
        like = None
        if known is not None and known.shape is not None:
            like = TensorType(known.dtype, (known.shape[0], channels, *known.shape[2:]))
        return edit.variable(f"{tensor.name}_channels", like)
