"""Open sizes of a program: as torch.export takes them, and whether they are kept."""

from __future__ import annotations

from typing import Any

import sympy
import torch
from torch.export import Dim

from ...ir.core.errors import ConversionError
from .examples import by_argument, noted_value, placeholders

_Bounds = tuple[int | None, int | None]


def sizes_of(program: torch.export.ExportedProgram, module: torch.fx.GraphModule) -> Any:
    """Return the open sizes of `program`, whose module is `module`, as `dynamic_shapes`.

    A symbol is one Dim in all inputs, with its bounds; what follows from it, such as 2 * n, is
    said of the same Dim where it is linear.
    """
    dims = {s: Dim(f"_{s}", **_given(bounds)) for s, bounds in _bounds(program).items()}
    flat = [
        {
            axis: _dim(size.node.expr, dims)
            for axis, size in enumerate(value.shape)
            if isinstance(size, torch.SymInt)
        }
        if isinstance(value := noted_value(node), torch.Tensor)
        else None
        for node in placeholders(module)
    ]
    args, kwargs = by_argument(module, flat)
    return (*args, *kwargs.values())


def check_sizes(before: torch.export.ExportedProgram, after: torch.export.ExportedProgram) -> None:
    """Raise ConversionError naming an input and axis whose size is not open as it was."""
    was, now = _by_axis(before), _by_axis(after)
    for (name, axis), size in was.items():
        found = now.get((name, axis), "one size alone")
        if found != size:
            raise ConversionError(
                f"axis {axis} of input '{name}' takes {size} and would take {found}; export the "
                "program with that size given, or leave out the pass that needs it so"
            )


def _by_axis(program: torch.export.ExportedProgram) -> dict[tuple[str, int], str]:
    """Return what each open size may be, in words that do not depend on names of symbols."""
    known, called = _bounds(program), dict[sympy.Symbol, sympy.Symbol]()
    found = {}
    for node in placeholders(program.module()):
        value = noted_value(node)
        if not isinstance(value, torch.Tensor):
            continue
        for axis, size in enumerate(value.shape):
            if isinstance(size, torch.SymInt):
                free = sorted(size.node.expr.free_symbols, key=str)
                for symbol in free:
                    called.setdefault(symbol, sympy.Symbol(f"n{len(called)}"))
                bounds = "".join(f", {called[s]} {_shown(known.get(s))}" for s in free)
                found[str(node.target), axis] = f"{size.node.expr.subs(called)}{bounds}"
    return found


def _dim(expression: Any, dims: dict[Any, Any]) -> Any:
    """Return `expression`, a * n + b of one symbol, of its Dim; one that is found out elsewhere."""
    free = list(expression.free_symbols)
    if len(free) != 1 or free[0] not in dims or not _is_linear(expression):
        return Dim.AUTO
    factor, rest = sympy.Poly(expression, free[0]).all_coeffs()
    scaled = dims[free[0]] if factor == 1 else int(factor) * dims[free[0]]
    return scaled + int(rest) if rest else scaled


def _is_linear(expression: Any) -> bool:
    return bool(expression.is_polynomial() and sympy.degree(expression) == 1)


def _bounds(program: torch.export.ExportedProgram) -> dict[Any, _Bounds]:
    """Return the least and the largest value of each symbol, None where there is no limit."""
    return {
        symbol: (_number(bounds.lower), _number(bounds.upper))
        for symbol, bounds in program.range_constraints.items()
        if symbol.is_Symbol
    }


def _number(limit: Any) -> int | None:
    return int(limit) if limit.is_Integer else None


def _given(bounds: _Bounds) -> dict[str, int]:
    least, most = bounds
    limits = {"min": least, "max": most}
    return {name: limit for name, limit in limits.items() if limit is not None}


def _shown(bounds: _Bounds | None) -> str:
    least, most = bounds or (None, None)
    return f"from {least or 0}" + ("" if most is None else f" to {most}")
