"""The registry of passes: built in, registered by a script, or found through entry points."""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import re
from collections.abc import Callable
from dataclasses import field, make_dataclass
from typing import Any, TypeVar

import onnx_graphsurgeon as gs

from ...ir.core.errors import PassError, PipelineError
from ...ir.core.nearest import nearest
from ..engine.context import Context
from ..engine.contract import Pass
from .presets import PRESETS, REPEAT

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_ENTRY_POINTS = "planish.passes"
# Where a pass made from a function keeps it, and the names its options cannot have.
_SOURCE = "_planish_source"
_TAKEN = frozenset(
    {"name", "exact", "keeps_outputs", "run", "summary", "extra_feeds", "self", "graph", "context"}
)
_registered: dict[str, type[Pass]] = {}

PassType = type[Pass]
C = TypeVar("C", bound=PassType | Callable[..., Any])


def register_pass(item: C | None = None, /, *, name: str | None = None, exact: bool = False) -> Any:
    """Register a pass under its kebab-case name; usable as a decorator.

    `item` is a `Pass` subclass, or a function `f(graph, **options)` that edits a GraphSurgeon graph
    in place or returns another one: then `name` defaults to the function's name with dashes, its
    keyword parameters with annotations and defaults become the options, and `exact` says whether
    verification holds it to the tolerance of exact passes. Returns `item`. Raises PassError for a
    name that is not kebab-case or belongs to another pass or preset.
    """
    if item is None:
        return functools.partial(register_pass, name=name, exact=exact)
    _load_builtin()
    if isinstance(item, type) and issubclass(item, Pass):
        if name is not None or exact:
            raise PassError(
                f"class {item.__name__} says its name and whether it is exact itself; set them as "
                "class variables, not in register_pass"
            )
        _add(item)
    elif callable(item) and not isinstance(item, type):
        own = getattr(item, "__name__", type(item).__name__)
        _add(_from_function(item, name or own.replace("_", "-"), exact))
    else:
        raise PassError(f"{item!r} is neither a Pass subclass nor a function of a graph")
    return item


def _add(made: PassType) -> None:
    name = getattr(made, "name", None)
    if name is None or inspect.isabstract(made):
        lacking = "name" if name is None else ", ".join(sorted(made.__abstractmethods__))
        raise PassError(f"pass class {made.__name__} does not define {lacking}; add it")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise PassError(f"pass name '{name}' is not kebab-case, such as 'fold-batchnorm'")
    if name in PRESETS:
        raise PassError(f"'{name}' is the name of a preset; choose another name for the pass")
    if name == REPEAT:
        raise PassError(f"'{name}' is the word for a group of passes; choose another name")
    existing = _registered.get(name)
    if existing is not None and existing is not made and not _is_same(existing, made):
        raise PassError(f"a pass named '{name}' is registered already; choose another name")
    _registered[name] = made


def _is_same(a: PassType, b: PassType) -> bool:
    """Say whether both were made from one function, registered twice."""
    source = a.__dict__.get(_SOURCE)
    return source is not None and source is b.__dict__.get(_SOURCE) and a.exact == b.exact


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


@functools.cache
def _load_builtin() -> None:
    from . import builtin

    for item in builtin.PASSES:
        _add(item)


@functools.cache
def _load_entry_points() -> None:
    for entry in importlib.metadata.entry_points(group=_ENTRY_POINTS):
        try:
            item = entry.load()
            # Loading the module may have registered it: `@register_pass` on the entry itself.
            if all(made.__dict__.get(_SOURCE, made) is not item for made in _registered.values()):
                register_pass(item)
        except Exception as error:  # another distribution's code may fail in any way
            raise PassError(
                f"entry point '{entry.name}' = '{entry.value}' of group {_ENTRY_POINTS} cannot be "
                f"loaded: {error}; fix or uninstall that package"
            ) from error


def _from_function(function: Callable[..., Any], name: str, exact: bool) -> PassType:
    try:
        parameters = list(inspect.signature(function, eval_str=True).parameters.values())
    except (NameError, TypeError, ValueError) as error:
        raise PassError(f"the parameters of pass '{name}' cannot be read: {error}") from error
    if not parameters:
        raise PassError(f"pass '{name}' takes no parameter; its first one is the graph")
    options = []
    for parameter in parameters[1:]:
        if parameter.name in _TAKEN:
            raise PassError(f"pass '{name}' cannot have an option '{parameter.name}'; rename it")
        if parameter.annotation is parameter.empty or parameter.default is parameter.empty:
            raise PassError(
                f"option '{parameter.name}' of pass '{name}' needs an annotation and a default"
            )
        options.append((parameter.name, parameter.annotation, field(default=parameter.default)))

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
