"""A pass made from a function of a graph, such as a GraphSurgeon script."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import Field, field, make_dataclass
from typing import Any

import onnx_graphsurgeon as gs

from ...ir.core.errors import PassError
from ..engine.context import Context
from ..engine.contract import Pass

# Where a pass keeps the function, and the names its options cannot have.
_SOURCE = "_planish_source"
_TAKEN = frozenset(
    {"name", "exact", "keeps_outputs", "keeps_interface", "run", "summary", "extra_feeds"}
    | {"self", "graph", "context"}
)

Option = tuple[str, Any, Field[Any]]


def pass_from_function(function: Callable[..., Any], name: str, exact: bool) -> type[Pass]:
    """Return a pass called `name` that runs `function(graph, **options)`.

    The keyword parameters of `function`, with annotations and defaults, are its options. Raises
    PassError where they cannot be.
    """
    options = _options(function, name)

    def run(self: Pass, graph: gs.Graph, context: Context) -> gs.Graph | None:
        found = function(graph, **{name: getattr(self, name) for name, *_ in options})
        return found if isinstance(found, gs.Graph) else None

    namespace = {
        "name": name,
        "exact": exact,
        "run": run,
        "__doc__": function.__doc__,
        _SOURCE: function,
    }
    own = getattr(function, "__name__", "")
    kind = own if own.isidentifier() else "Registered"
    try:
        made = make_dataclass(kind, options, bases=(Pass,), namespace=namespace, frozen=True)
    except (TypeError, ValueError) as error:
        raise PassError(f"the options of pass '{name}' cannot be used: {error}") from error
    made.__module__ = function.__module__  # since Python 3.12 make_dataclass says who called it
    return made


def source_of(kind: type[Pass]) -> Any:
    """Return the function that a pass was made from, or the class itself."""
    return kind.__dict__.get(_SOURCE, kind)


def _options(function: Callable[..., Any], name: str) -> list[Option]:
    try:
        parameters = list(inspect.signature(function, eval_str=True).parameters.values())
    except (NameError, TypeError, ValueError) as error:
        raise PassError(f"the parameters of pass '{name}' cannot be read: {error}") from error
    if not parameters:
        raise PassError(f"pass '{name}' takes no parameter; its first one is the graph")
    return [_option(parameter, name) for parameter in parameters[1:]]


def _option(parameter: inspect.Parameter, name: str) -> Option:
    if parameter.name in _TAKEN:
        raise PassError(f"pass '{name}' cannot have an option '{parameter.name}'; rename it")
    if parameter.annotation is parameter.empty or parameter.default is parameter.empty:
        raise PassError(
            f"option '{parameter.name}' of pass '{name}' needs an annotation and a default"
        )
    return parameter.name, parameter.annotation, field(default=parameter.default)
