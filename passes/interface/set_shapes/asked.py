"""Sizes as a person asks for them: by the name of an input, or of a symbolic size.

input.1=1,3,320,320     all sizes of an input; -1 or ? for one that stays as it is
batch=1                 a size that has a name, wherever it stands
input.1=N,3,H,W         a size that is a number may get a name, and be any from then on
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import onnx_graphsurgeon as gs

from ....ir.core.errors import RefusedError
from ....ir.core.nearest import nearest
from ....ir.graph.types import Dim
from ....ir.run.feeds import is_size

Sizes = tuple[int | str | None, ...]
_AS_IT_IS = ("-1", "?")


def read_sizes(items: Iterable[str]) -> dict[str, Sizes]:
    """Return the sizes that `name=1,3,320,320` asks for, by name; `name:1x3x320x320` is the same.

    Raises RefusedError where an item is neither, or a name is given twice.
    """
    found: dict[str, Sizes] = {}
    for item in items:
        name, mark, text = item.rpartition("=" if "=" in item else ":")
        parts = [part.strip() for part in text.replace("x", ",").split(",")]
        usable = all(part in _AS_IT_IS or part.isdecimal() or part.isidentifier() for part in parts)
        usable = usable and text.isascii()
        if not (name and mark and usable):
            raise RefusedError(
                f"'{item}' gives no sizes; write NAME=1,3,320,320 for an input, or batch=1 for a "
                "size that has a name"
            )
        if name in found:
            raise RefusedError(f"sizes of '{name}' are given twice; give them once")
        found[name] = tuple(_size(part) for part in parts)
    return found


def _size(part: str) -> int | str | None:
    if part in _AS_IT_IS:
        return None
    return int(part) if part.isdecimal() else part


def shapes_asked(graph: gs.Graph, asked: Mapping[str, Sizes]) -> dict[str, list[Dim]]:
    """Return the shapes that the inputs of `graph` are to have, those that change, by name.

    Raises RefusedError, with the nearest known name, where an input or a symbolic size is unknown,
    and where sizes do not fit together.
    """
    inputs = {t.name: t for t in graph.inputs if isinstance(t, gs.Variable)}
    symbols = {dim for t in inputs.values() for dim in t.shape or () if _is_named(dim)}
    bound: dict[str, int] = {}
    given: dict[str, Sequence[Dim]] = {}
    for name, sizes in asked.items():
        if name in inputs and not (name in symbols and len(sizes) == 1):
            given[name] = _given(inputs[name], sizes, bound)
        elif name in symbols:
            _bind(name, _one(name, sizes), bound)
        else:
            raise _unknown(name, graph, inputs, symbols)
    wanted = {}
    for name, tensor in inputs.items():
        shape = given.get(name, tensor.shape)
        if shape is not None:
            wanted[name] = [bound.get(dim, dim) if isinstance(dim, str) else dim for dim in shape]
    return {name: shape for name, shape in wanted.items() if shape != inputs[name].shape}


def _given(tensor: gs.Variable, sizes: Sizes, bound: dict[str, int]) -> Sequence[Dim]:
    declared = tensor.shape
    if declared is None:
        if None in sizes:
            raise RefusedError(f"input '{tensor.name}' declares no sizes to keep; give numbers")
        return sizes
    if len(declared) != len(sizes):
        raise RefusedError(
            f"input '{tensor.name}' has {len(declared)} axes, {list(declared)}, and {len(sizes)} "
            "sizes are given for it"
        )
    for dim, size in zip(declared, sizes, strict=True):
        if isinstance(size, str) and not is_size(dim) and size != dim:
            raise RefusedError(
                f"a size of input '{tensor.name}' is open already, as '{dim}'; leave it as ?"
            )
        if isinstance(size, int) and _is_named(dim):
            _bind(str(dim), size, bound)
    return [dim if size is None else size for dim, size in zip(declared, sizes, strict=True)]


def _one(name: str, sizes: Sizes) -> int:
    if len(sizes) != 1 or not isinstance(sizes[0], int):
        raise RefusedError(f"'{name}' is one size; give it one number, {name}=1")
    return sizes[0]


def _bind(name: str, size: int, bound: dict[str, int]) -> None:
    if bound.setdefault(name, size) != size:
        raise RefusedError(f"size '{name}' cannot be both {bound[name]} and {size}; give one")


def _is_named(dim: Dim) -> bool:
    return isinstance(dim, str) and dim != "?" and not is_size(dim)


def _unknown(
    name: str, graph: gs.Graph, inputs: Iterable[str], symbols: Iterable[Dim]
) -> RefusedError:
    if any(tensor.name == name for tensor in graph.inputs):
        return RefusedError(f"input '{name}' has a value of its own, whose sizes are what they are")
    known = [*inputs, *map(str, symbols)]
    return RefusedError(
        f"the model has no input and no symbolic size called '{name}'{nearest(name, known)}"
    )
