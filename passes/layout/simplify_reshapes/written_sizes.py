"""Lists of sizes that are computed in more steps than they need.

concat(gather(shape(x), 0), ..., where(equal(...), ...)) = concat(shape(x)[0 : 1], [1, 192])

What a shape, the repeats of a Tile or the ends of a Slice hold is known element by element; those
that have one name with sizes of a tensor whose Shape is taken anyway are taken from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard
from ....ir.graph.edit import Edit
from ....ir.graph.view import View
from ....ir.ops.build import build_slice
from ....ir.ops.opsets import has_attribute
from ....ir.ops.parameters import LISTS_OF_SIZES, input_of
from ...analysis.sizes.shape_arithmetic import ShapeArithmetic
from ...analysis.sizes.symbolic import ONE, SymbolicSize
from ...engine.rewrite import Rewrite

_MOST_STEPS = 64


@dataclass(frozen=True)
class _Run:
    """Some elements: sizes of `source` from an axis on, or numbers where it is None."""

    numbers: tuple[int, ...]
    source: gs.Tensor | None = None
    first: int = 0
    whole: bool = False


@dataclass(frozen=True)
class _WrittenAnew:
    """A list for all readers of `root`, or for the one at `position` of `node`."""

    node: gs.Node
    position: int
    root: gs.Tensor
    shared: bool
    runs: tuple[_Run, ...]


class FewerSteps(Rewrite[_WrittenAnew]):
    """Write a list of sizes in the fewest steps, where nothing else reads those it has now.

    In as many steps it takes the sizes of a graph input instead of an inner tensor's, so that lists
    which hold the same become the same nodes.
    """

    ops = frozenset(LISTS_OF_SIZES)

    def __init__(self, sizes: ShapeArithmetic) -> None:
        self._sizes = sizes

    def match(self, node: gs.Node, view: View) -> _WrittenAnew | None:
        """Return the runs of which the list is made, where these are fewer steps."""
        position = input_of(node.op, LISTS_OF_SIZES[node.op], view.opset)
        if not is_standard(node) or position is None or position >= len(node.inputs):
            return None
        root = node.inputs[position]
        held = None if view.producer(root) is None else self._sizes.held(root, view)
        if held is None or held.ndim != 1 or None in held:
            return None
        shared = not view.read_only_by(root, node)
        cone = _cone(root, view)
        inputs = [t for t in view.scope.inputs if isinstance(t, gs.Variable)]
        wanted = list(held) if shared else self._with_ones(node, list(held), view)
        runs = self._runs(wanted, [*inputs, *cone.asked], view)
        if runs is None:
            return None
        fewer = _steps_of(runs, view.opset) - cone.steps
        outer = {id(tensor) for tensor in inputs}
        inner = [tensor for tensor in cone.asked if id(tensor) not in outer]
        moves = inner and cone.is_private and _are_of(runs, outer)
        if fewer > 0 or (fewer == 0 and not moves):
            return None
        return _WrittenAnew(node, position, root, shared, runs)

    def _with_ones(
        self, node: gs.Node, wanted: list[SymbolicSize], view: View
    ) -> list[SymbolicSize]:
        """Return the shape of an Expand with one for each size that its input has anyway."""
        sizes = self._sizes.shape(node.inputs[0], view) if node.op == "Expand" else None
        for place in range(1, min(len(sizes or ()), len(wanted)) + 1):
            if sizes is not None and sizes[-place] == wanted[-place]:
                wanted[-place] = ONE
        return wanted

    def _runs(
        self, wanted: Sequence[SymbolicSize], sources: Sequence[gs.Tensor], view: View
    ) -> tuple[_Run, ...] | None:
        found: list[_Run] = []
        at = 0
        while at < len(wanted):
            run = self._run(wanted[at:], sources, view)
            if run is None:
                return None
            found.append(run)
            at += len(run.numbers)
        return tuple(found) or (_Run(()),)  # the sizes of a scalar are a list too

    def _run(
        self, wanted: Sequence[SymbolicSize], sources: Sequence[gs.Tensor], view: View
    ) -> _Run | None:
        """Return the longest run at the begin of `wanted`."""
        numbers = []
        for size in wanted:
            if size.number is None:
                break
            numbers.append(size.number)
        if numbers:
            return _Run(tuple(numbers))
        best: _Run | None = None
        for source in sources:
            sizes = self._sizes.shape(source, view) or ()
            for first in range(len(sizes)):
                count = _alike(sizes[first:], wanted)
                if count and (best is None or count > len(best.numbers)):
                    best = _Run((0,) * count, source, first, count == len(sizes))
        return best

    def rewrite(self, site: _WrittenAnew, edit: Edit) -> None:
        """Write the list anew; what computed it has no reader any more."""
        name = f"{site.root.name}_sizes"
        at = edit.uses.producer(site.root) if site.shared else site.node
        parts = [_written(run, name, at or site.node, edit) for run in site.runs]
        if len(parts) > 1:
            joined = edit.variable(name)
            edit.node("Concat", parts, [joined], {"axis": 0}, at=at or site.node)
            parts = [joined]
        if site.shared:
            edit.replace(site.root, parts[0])
        else:
            edit.set_input(site.node, site.position, parts[0])


def _alike(sizes: Sequence[SymbolicSize | None], wanted: Sequence[SymbolicSize]) -> int:
    count = 0
    for size, other in zip(sizes, wanted, strict=False):
        if size != other:
            break
        count += 1
    return count


@dataclass(frozen=True)
class _SameList:
    node: gs.Node
    position: int
    other: gs.Tensor


class OneList(Rewrite[_SameList]):
    """Let lists that hold the same sizes, however these are computed, be one."""

    ops = frozenset(LISTS_OF_SIZES)

    def __init__(self, sizes: ShapeArithmetic) -> None:
        self._sizes = sizes
        self._first: dict[tuple[int, tuple[SymbolicSize | None, ...]], gs.Tensor] = {}
        self._order: dict[int, dict[int, int]] = {}

    def match(self, node: gs.Node, view: View) -> _SameList | None:
        """Return the list that an earlier node reads."""
        position = input_of(node.op, LISTS_OF_SIZES[node.op], view.opset)
        if not is_standard(node) or position is None or position >= len(node.inputs):
            return None
        root = node.inputs[position]
        held = None if view.producer(root) is None else self._sizes.held(root, view)
        if held is None or held.ndim != 1 or None in held or view.dtype(root) != np.int64:
            return None
        first = self._first.setdefault((id(view.scope), tuple(held)), root)
        made = view.producer(first)
        if first is root or made is None or not self._is_before(made, node, view):
            return None
        return _SameList(node, position, first)

    def _is_before(self, node: gs.Node, other: gs.Node, view: View) -> bool:
        """Say whether one stands before another in the graph as it was; not of new nodes."""
        if id(view.scope) not in self._order:
            places = {id(node): place for place, node in enumerate(view.scope.nodes)}
            self._order[id(view.scope)] = places
        places = self._order[id(view.scope)]
        return places.get(id(node), len(places)) < places.get(id(other), -1)

    def rewrite(self, site: _SameList, edit: Edit) -> None:
        """Read the other list."""
        edit.set_input(site.node, site.position, site.other)


@dataclass(frozen=True)
class _SizeCone:
    """How many nodes compute a list and nothing else, whose Shape they take, and whether alone."""

    steps: int
    asked: Sequence[gs.Tensor]
    is_private: bool


def _cone(root: gs.Tensor, view: View) -> _SizeCone:
    private: set[int] = {id(reader) for reader in view.readers(root)}
    readers = len(private)
    shapes: dict[int, gs.Node] = {}
    pending: list[gs.Tensor] = [root]
    seen: set[int] = set()
    while pending and len(seen) < _MOST_STEPS:
        node = view.producer(pending.pop())
        if node is None or id(node) in private:
            continue
        outside = [r for t in node.outputs for r in view.readers(t) if id(r) not in private]
        if not outside and not any(map(view.is_output, node.outputs)):
            private.add(id(node))
        elif id(node) in seen:
            continue
        seen.add(id(node))
        if node.op == "Shape" and is_standard(node):
            shapes[id(node)] = node
        else:
            pending.extend(node.inputs)
    asked = {id(node.inputs[0]): node.inputs[0] for node in shapes.values()}
    return _SizeCone(len(private) - readers, list(asked.values()), shapes.keys() <= private)


def _are_of(runs: Iterable[_Run], tensors: AbstractSet[int]) -> bool:
    return all(run.source is None or id(run.source) in tensors for run in runs)


def _steps_of(runs: Iterable[_Run], opset: int) -> int:
    taken = [run for run in runs if run.source is not None]
    one = has_attribute("Shape", "start", opset)
    joins = len(list(runs)) > 1
    return sum(1 if one or run.whole else 2 for run in taken) + joins


def _written(run: _Run, name: str, at: gs.Node, edit: Edit) -> gs.Tensor:
    if run.source is None:
        return edit.constant(np.array(run.numbers, np.int64), name)
    made = edit.variable(name)
    last = run.first + len(run.numbers)
    if run.whole:
        edit.node("Shape", [run.source], [made], {}, at=at)
    elif has_attribute("Shape", "start", edit.graph.opset):
        edit.node("Shape", [run.source], [made], {"start": run.first, "end": last}, at=at)
    else:
        whole = edit.variable(f"{name}_of")
        edit.node("Shape", [run.source], [whole], {}, at=at)
        build_slice(edit, whole, made, {0: (run.first, last, 1)}, at=at)
    return made
