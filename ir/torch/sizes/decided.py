"""Conditions on open sizes that were answered once for all while a module was exported.

torch.export keeps such conditions as guards of its program; the ONNX exporter drops them. A graph
that was made so would be wrong, in silence, at every size that would have been answered otherwise.
"""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any

from ...core.errors import TraceError
from ...core.shown import shortened
from .askers import Asker, chooses
from .declared import ANY, Bounds

_ADVICE = (
    "trace it for one size of that axis, declare bounds or multiples that settle it, such as "
    "{bounds}, or compute it without Python's if, int and range"
)


@dataclass(frozen=True)
class Decision:
    """A condition of sympy that holds for the example; who asked for it, of what symbols."""

    symbols: Any
    condition: Any
    asker: Asker | None


_NOTED: ContextVar[list[Decision] | None] = ContextVar("noted", default=None)


@contextlib.contextmanager
def decisions(torch: Any) -> Iterator[list[Decision]]:
    """Return a list that fills with what this thread decides about sizes within the context."""
    _listen(torch)
    noted: list[Decision] = []
    token = _NOTED.set(noted)
    try:
        yield noted
    finally:
        _NOTED.reset(token)


@cache
def _listen(torch: Any) -> None:
    """Have ShapeEnv tell of each condition that it answers by the example, as it does its log."""
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    log_guard = getattr(ShapeEnv, "_log_guard", None)
    if log_guard is None:
        return  # which `warn_of_untold` says

    def log_and_note(self: Any, prefix: str, condition: Any, forcing_spec: bool) -> None:
        log_guard(self, prefix, condition, forcing_spec)
        noted = _NOTED.get()
        # "runtime_assert" is what an operator demands: PyTorch refuses what it does not hold for.
        if noted is not None and prefix == "eval":
            noted.append(Decision(self, condition, _asker(torch)))

    ShapeEnv._log_guard = log_and_note


def _asker(torch: Any) -> Asker | None:
    """Return who asked for an answer: the innermost frame outside of the machinery of symbols."""
    from torch._guards import TracingContext
    from torch.fx.experimental.symbolic_shapes import uninteresting_files

    machinery = uninteresting_files() | {__file__}
    frames = (frame for frame, _ in traceback.walk_stack(None))
    frame = next((f for f in frames if f.f_code.co_filename not in machinery), None)
    if frame is None:
        return None
    asker = Asker.of(
        traceback.FrameSummary(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name),
        torch,
    )
    if asker.within is not None and asker.within.startswith("_dynamo/"):
        stack = TracingContext.extract_stack()  # of the code that Dynamo reads
        return Asker.of(stack[-1], torch) if stack else asker
    return asker


def decisions_of(program: Any, torch: Any) -> list[Decision]:
    """Return what was decided about sizes when `program`, of torch.export, was made."""
    symbols = _symbols_of(program)
    if symbols is None:
        return []
    found = []
    for guard in symbols.guards:
        frame = guard.sloc.framework_loc
        asker = None if isinstance(frame, str | None) else Asker.of(frame, torch)
        found.append(Decision(symbols, guard.expr, asker))
    return found


def refuse_decided(
    name: str, program: Any, noted: Sequence[Decision], declared: Mapping[str, Bounds]
) -> None:
    """Raise TraceError for the first of `noted` that a graph of `program` would need and not hold.

    `program` is what the graph of the module called `name` was made of. Conditions that follow from
    `declared`, or that the graph says by giving axes one size or one symbol, are none.
    """
    symbols = _symbols_of(program)
    if symbols is None:
        return
    reached = {str(symbol): bounds for symbol, bounds in program.range_constraints.items()}
    for decision in noted:
        if not chooses(decision.condition, decision.asker):
            continue
        own = decision.symbols is symbols
        # The exporter starts anew with narrower bounds where those declared do not hold.
        if own or _holds(decision.condition, lambda s: reached.get(str(s))):
            condition = symbols.replace(decision.condition) if own else decision.condition
            sources = decision.symbols.var_to_sources
            if not _holds(condition, lambda s, of=sources: _as_range(_declared(s, of, declared))):
                _refuse(name, decision)


def _holds(condition: Any, bounds: Any) -> bool:
    """Say whether `condition` is true wherever each of its symbols s is within `bounds(s)`."""
    from torch.utils._sympy.value_ranges import bound_sympy

    if condition.is_Boolean and not condition.free_symbols:
        return bool(condition)
    ranges = {symbol: bounds(symbol) for symbol in condition.free_symbols}
    if None in ranges.values():
        return False
    found = bound_sympy(condition, ranges)
    return bool(found.is_singleton() and found.lower)


def _declared(symbol: Any, sources: Any, declared: Mapping[str, Bounds]) -> Bounds:
    names = (source.name for source in sources.get(symbol, ()))
    return next((declared[name] for name in names if name in declared), ANY)


def _as_range(bounds: Bounds) -> Any:
    from torch.utils._sympy.numbers import int_oo
    from torch.utils._sympy.value_ranges import ValueRanges

    least, most = bounds
    return ValueRanges(least, int_oo if most is None else most)


def _refuse(name: str, decision: Decision) -> None:
    condition = _shown(decision)
    asker = "" if decision.asker is None else f" ({shortened(str(decision.asker), 160)})"
    raise TraceError(
        f"cannot trace {name} for open sizes: with the example, {condition}{asker}, and the graph "
        f"would be wrong wherever this is otherwise; {_ADVICE.format(bounds=_example(decision))}"
    )


def _shown(decision: Decision) -> str:
    """Return the condition in terms of the module's arguments: `x.shape[2] > 64`."""
    from torch.fx.experimental.symbolic_shapes import ShapeGuardPythonPrinter

    sources = decision.symbols.var_to_sources
    printer = ShapeGuardPythonPrinter(sources, lambda source: source.name, sources)
    try:
        text = printer.doprint(decision.condition)
    except Exception:  # a symbol that no argument stands for
        text = str(decision.condition)
    text = re.sub(r"L\['(\w+)'\]", r"\1", text.replace("torch.sym_float", ""))
    return shortened(text.replace(".size()", ".shape"), 120)


def _example(decision: Decision) -> str:
    """Return bounds for `dynamic_shapes`: the condition's, where it is one of a size alone."""
    condition = decision.condition
    if condition.is_Relational and condition.lhs.is_Symbol and condition.rhs.is_Integer:
        limit = int(condition.rhs)
        bounds = {
            ">": f"min={limit + 1}",
            ">=": f"min={limit}",
            "<": f"max={limit - 1}",
            "<=": f"max={limit}",
        }
        if condition.rel_op in bounds:
            return f'torch.export.Dim("n", {bounds[condition.rel_op]})'
    return 'torch.export.Dim("n", min=65) or 32 * torch.export.Dim("n")'


def _symbols_of(program: Any) -> Any:
    """Return what holds the symbols of a program, a ShapeEnv; None where all sizes are known."""
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if value is not None:
            for size in (value, *getattr(value, "shape", ())):
                symbols = getattr(getattr(size, "node", None), "shape_env", None)
                if symbols is not None:
                    return symbols
    return None
