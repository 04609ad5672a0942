"""The registry of passes: built in, registered by a script, or found through entry points."""

from __future__ import annotations

import difflib
import functools
import importlib.metadata
import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import field, make_dataclass
from typing import Any, TypeVar

import onnx_graphsurgeon as gs

from ..ir.errors import PassError, PipelineError
from .contract import Pass
from .context import Context

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_ENTRY_POINTS = "planish.passes"
_registered: dict[str, type[Pass]] = {}

PassType = type[Pass]
C = TypeVar("C", bound=PassType | Callable[..., Any])


def register_pass(
    item: C | None = None, /, *, name: str | None = None, exact: bool = False
) -> Any:
    """Register a pass under its kebab-case name; usable as a decorator.

    `item` is a `Pass` subclass, or a function `f(graph, **options)` that edits a GraphSurgeon graph
    in place or returns another one: then `name` defaults to the function's name with dashes, its
    keyword parameters with annotations and defaults become the options, and `exact` says whether
    verification holds it to the tolerance of exact passes. Returns `item`. Raises PassError for a
    name that is not kebab-case or belongs to another pass.
    """
    if item is None:
        return functools.partial(register_pass, name=name, exact=exact)
    made: PassType
    if isinstance(item, type) and issubclass(item, Pass):
        made = item
    elif callable(item):
        made = _from_function(item, name or item.__name__.replace("_", "-"), exact)
    else:
        raise PassError(f"{item!r} is neither a Pass subclass nor a function of a graph")
    if not _NAME.fullmatch(made.name):
        raise PassError(f"pass name '{made.name}' is not kebab-case, such as 'fold-batchnorm'")
    existing = _registered.get(made.name)
    if existing is not None and existing is not made:
        raise PassError(f"a pass named '{made.name}' is registered already; choose another name")
    _registered[made.name] = made
    return item


def get_pass(name: str) -> PassType:
    """Return the pass called `name`; raises PipelineError with the nearest known name."""
    passes = all_passes()
    if name not in passes:
        raise PipelineError(f"unknown pass '{name}'{nearest(name, passes)}")
    return passes[name]


def all_passes() -> dict[str, PassType]:
    """Return every known pass by name, in order of name."""
    _load_builtin()
    _load_entry_points()
    return dict(sorted(_registered.items()))


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean ...?)` with the closest of `known`, or a list of them all."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f" (did you mean '{close[0]}'?)"
    return f"; known are {', '.join(known)}" if known else ""


@functools.cache
def _load_builtin() -> None:
    from . import builtin

    for item in builtin.PASSES:
        register_pass(item)


@functools.cache
def _load_entry_points() -> None:
    for entry in importlib.metadata.entry_points(group=_ENTRY_POINTS):
        try:
            register_pass(entry.load())
        except Exception as error:  # another distribution's code may fail in any way
            raise PassError(
                f"entry point '{entry.name}' = '{entry.value}' of group {_ENTRY_POINTS} cannot be "
                f"loaded: {error}; fix or uninstall that package"
            ) from error


def _from_function(function: Callable[..., Any], name: str, exact: bool) -> PassType:
    parameters = list(inspect.signature(function, eval_str=True).parameters.values())
    options = []
    for parameter in parameters[1:]:
        if parameter.annotation is parameter.empty or parameter.default is parameter.empty:
            raise PassError(
                f"option '{parameter.name}' of pass '{name}' needs an annotation and a default"
            )
        options.append(
            (parameter.name, parameter.annotation, field(default=parameter.default))
        )

    def run(self: Pass, graph: gs.Graph, context: Context) -> gs.Graph | None:
        found = function(graph, **{name: getattr(self, name) for name, *_ in options})
        return found if isinstance(found, gs.Graph) else None

    namespace = {"name": name, "exact": exact, "run": run, "__doc__": function.__doc__}
    made = make_dataclass(
        function.__name__, options, bases=(Pass,), namespace=namespace, frozen=True
    )
    return made
