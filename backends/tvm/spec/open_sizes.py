"""Sizes that grow with the number of images, where only the feeds tell how many there are.

A tensor of n x 3 x 224 x 224 numbers is n times one of 3 x 224 x 224, and so is one of 3 * n rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def variables(expr: Any) -> list[Any]:
    """Return the variables in `expr`, each once, in order."""
    import tvm_ffi
    from tvm import tirx

    found: dict[Any, None] = {}
    tvm_ffi.structural_walk(expr, (tirx.Var, lambda one: found.setdefault(one)))
    return list(found)


def sizes_of(function: Any) -> list[Any]:
    """Return the variables in the sizes of the tensors that `function` takes, in order."""
    from tvm import tirx

    found: dict[Any, None] = {}
    for parameter in function.params:
        if isinstance(parameter.ty, tirx.BufferType):
            for size in parameter.ty.shape:
                if not isinstance(size, tirx.IntImm):
                    found.update(dict.fromkeys(variables(size)))
    return list(found)


def told_last(function: Any) -> list[Any]:
    """Return the places of those of `sizes_of` that are no parameters, of which it is not told."""
    known = list(function.params)
    return [
        place
        for place, size in enumerate(sizes_of(function))
        if not any(size.same_as(one) for one in known)
    ]


def with_values(expr: Any, values: Mapping[Any, Any]) -> Any:
    """Return `expr` with what variables stand for in their place."""
    import tvm_ffi
    from tvm import tirx

    if isinstance(expr, int) or not values:
        return expr
    return tvm_ffi.structural_map(expr, (tirx.Var, lambda one: values.get(one, one)))


def per_image(size: Any) -> int:
    """Return `size` for one image; it is a number, or grows with the one variable in it."""
    from tvm import sym, tirx

    one = tirx.const(1, "int64")
    return int(sym.Analyzer().simplify(with_values(size, dict.fromkeys(variables(size), one))))


def images_each(size: Any) -> int | None:
    """Return how many of `size` there are for one image, None where it does not grow so."""
    found = variables(size)
    return per_image(size) if len(found) == 1 and is_planned([size]) else None


def is_planned(shape: Iterable[Any]) -> bool:
    """Say whether all sizes are known, or one is not: that is a number of times a variable."""
    from tvm import sym, tirx

    sizes = [size for size in shape if not isinstance(size, int | tirx.IntImm)]
    found = [variable for size in sizes for variable in variables(size)]
    if not sizes:
        return True
    if len(sizes) > 1 or len(found) != 1:
        return False
    return bool(sym.Analyzer().can_prove_equal(sizes[0], found[0] * per_image(sizes[0])))


def sizes_given(function: Any, kinds: list[Any]) -> list[Any] | None:
    """Return what the sizes of `function` stand for where it is given tensors of `kinds`.

    Numbers that it is given are among them, as they are.
    None where that is not said, or where not all of its sizes are shown to be those of the tensors.
    """
    from tvm import sym, tirx

    wanted = sizes_of(function)
    if not wanted:
        return []
    pairs = [
        (size, given)
        for parameter, kind in zip(function.params, kinds, strict=True)
        if isinstance(parameter.ty, tirx.BufferType)
        for size, given in zip(parameter.ty.shape, kind.shape, strict=True)
    ]
    values = {
        parameter: given
        for parameter, given in zip(function.params, kinds, strict=True)
        if not isinstance(parameter.ty, tirx.BufferType)
    }
    for size, given in pairs:
        if isinstance(size, tirx.Var):
            values.setdefault(size, given)
    if not all(one in values for one in wanted):
        return None
    equal = sym.Analyzer().can_prove_equal
    if not all(equal(with_values(size, values), given) for size, given in pairs):
        return None
    return [values[one] for one in wanted]
