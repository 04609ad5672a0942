"""The sizes that a graph leaves open, as the inputs of a window have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from ...graph.types import MADE_UP, Dim, TensorType
from ..windows import ProofWindow
from .classes import Axis
from .node import Types, is_open

Name = tuple[int, str]  # of a size: one that inference made up is of a side


def named(dim: str, side: int) -> Name:
    """Return the name of an open size of a side."""
    return (side + 1 if dim.startswith(MADE_UP) else 0, dim)


@dataclass(frozen=True)
class Look:
    """Sizes that a window is looked at with.

    `shapes`: of its inputs, by their names before. `sizes`: those that are open, by name; None
    where the types know all. `types`: before and after.
    """

    shapes: Mapping[str, tuple[int, ...]]
    sizes: Mapping[Name, int] | None
    types: tuple[Types, Types]

    def type_of(self, before: gs.Tensor, after: gs.Tensor) -> TensorType | None:
        """Return the type of an input, which is one tensor of either side."""
        return self.types[0].get(before.name) or self.types[1].get(after.name)

    def size(self, dim: Dim, side: int) -> int | None:
        """Return a size of a tensor of a side, None where it is not known."""
        if isinstance(dim, int):
            return dim
        return None if self.sizes is None or dim is None else self.sizes.get(named(dim, side))


@dataclass
class OpenSize:
    """An open size of inputs of a window.

    `axes`: those that have it, by name; `members`: the same by id. `names`: what it is called.
    `own`: what it is at the sizes that were chosen. `roots`: of the classes of its axes.
    """

    axes: list[tuple[str, int]]
    members: set[Axis]
    names: set[Name]
    own: set[int]
    roots: set[Axis] = field(default_factory=set)


def open_sizes(
    window: ProofWindow, own: Mapping[str, tuple[int, ...]], opened: tuple[Types, Types]
) -> list[OpenSize]:
    """Return the open sizes of the inputs; axes with one name have one.

    `own`: their shapes at sizes that were chosen.
    """
    found = []
    for a, b in window.inputs:
        for axis, size in enumerate(own.get(a.name, ())):
            dims = [_dim(types, t, axis) for types, t in zip(opened, (a, b), strict=True)]
            if all(map(is_open, dims)):
                names = {named(d, at) for at, d in enumerate(dims) if isinstance(d, str)}
                found.append(OpenSize([(a.name, axis)], {(id(a), axis)}, names, {size}))
    return merged((each, set()) for each in found)


def merged(sizes: Iterable[tuple[OpenSize, set[Axis]]]) -> list[OpenSize]:
    """Return sizes, each with its roots, those with a name or a root in common as one."""
    groups: list[OpenSize] = []
    for each, roots in sizes:
        each.roots |= roots
        for other in [g for g in groups if g.names & each.names or g.roots & each.roots]:
            groups.remove(other)
            each.axes += other.axes
            each.members |= other.members
            each.names |= other.names
            each.own |= other.own
            each.roots |= other.roots
        groups.append(each)
    return groups


def look_at(
    groups: Sequence[OpenSize],
    sizes: Sequence[int],
    given: Mapping[str, tuple[int, ...]],
    opened: tuple[Types, Types],
) -> Look:
    """Return the look at which each open size is one of `sizes`, and all else as `given`."""
    shapes = {name: list(shape) for name, shape in given.items()}
    names: dict[Name, int] = {}
    for group, size in zip(groups, sizes, strict=True):
        for name, axis in group.axes:
            shapes[name][axis] = size
        names.update(dict.fromkeys(group.names, size))
    return Look({name: tuple(shape) for name, shape in shapes.items()}, names, opened)


def _dim(types: Types, tensor: gs.Tensor, axis: int) -> Dim:
    found = types.get(tensor.name)
    return None if found is None or found.shape is None else found.shape[axis]
