"""The registry of passes: built in, registered by a script, or found through entry points."""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import re
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, overload

from ...ir.core.errors import PassError, PipelineError, in_words
from ...ir.core.nearest import nearest
from ..engine.contract import Pass
from .builtin import BUILTIN, is_builtin, load_builtin
from .from_function import pass_from_function, source_of
from .presets import GROUPS, PRESETS

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_ENTRY_POINTS = "planish.passes"
# Those that were registered or asked for; the others of the table follow when they are.
REGISTERED: dict[str, type[Pass]] = {}
_INSTALLED: set[str] = set()  # those of other distributions

PassType = type[Pass]
C = TypeVar("C", bound=PassType | Callable[..., Any])


@overload
def register_pass(item: C, /, *, name: str | None = None, exact: bool = False) -> C: ...


@overload
def register_pass(*, name: str | None = None, exact: bool = False) -> Callable[[C], C]: ...


def register_pass(item: Any = None, /, *, name: str | None = None, exact: bool = False) -> Any:
    """Register a pass under its kebab-case name; usable as a decorator.

    `item` is a `Pass` subclass, or a function `f(graph, **options)` that edits a GraphSurgeon graph
    in place or returns another one: then `name` defaults to the function's name with dashes, its
    keyword parameters with annotations and defaults become the options, and `exact` says whether
    verification holds it to the tolerance of exact passes. Returns `item`. Raises PassError for a
    name that is not kebab-case or belongs to another pass or preset.
    """
    if item is None:
        return functools.partial(register_pass, name=name, exact=exact)
    if isinstance(item, type) and issubclass(item, Pass):
        if name is not None or exact:
            raise PassError(
                f"class {item.__name__} says its name and whether it is exact itself; set them as "
                "class variables, not in register_pass"
            )
        _add(item)
    elif callable(item) and not isinstance(item, type):
        own = getattr(item, "__name__", type(item).__name__)
        _add(pass_from_function(item, name or own.replace("_", "-"), exact))
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
    if name in GROUPS:
        raise PassError(f"'{name}' is the word for a group of passes; choose another name")
    if not _may_have(made, name):
        raise PassError(f"a pass named '{name}' is registered already; choose another name")
    REGISTERED[name] = made


def _may_have(made: PassType, name: str) -> bool:
    """Say whether the name is free, or belongs to `made`, registered twice."""
    if name in BUILTIN:
        return is_builtin(made)
    other = REGISTERED.get(name)
    if other is None or other is made:
        return True
    source = source_of(made)
    return source is not made and source is source_of(other) and made.exact == other.exact


def find_pass(name: str) -> PassType | None:
    """Return the pass called `name`, or None; others are not imported for it."""
    if name not in REGISTERED:
        if name in BUILTIN:
            REGISTERED[name] = load_builtin(name)
        else:
            _load_entry_points()
    return REGISTERED.get(name)


def is_installed(kind: PassType) -> bool:
    """Say whether a pass was found through an entry point, as any process finds it."""
    return kind.name in _INSTALLED


def get_pass(name: str) -> PassType:
    """Return the pass called `name`; raises PipelineError with the nearest known name."""
    found = find_pass(name)
    if found is None:
        raise PipelineError(f"unknown pass '{name}'{nearest(name, pass_names())}")
    return found


def pass_names() -> list[str]:
    """Return the names of all known passes, in order."""
    _load_entry_points()
    return sorted(BUILTIN.keys() | REGISTERED.keys())


def all_passes() -> dict[str, PassType]:
    """Return every known pass by name, in order of name."""
    return {name: get_pass(name) for name in pass_names()}


@functools.cache
def _load_entry_points() -> None:
    for entry in importlib.metadata.entry_points(group=_ENTRY_POINTS):
        try:
            before = set(REGISTERED)
            item = entry.load()
            # Loading the module may have registered it: `@register_pass` on the entry itself.
            if all(source_of(made) is not item for made in REGISTERED.values()):
                register_pass(item)
            _INSTALLED.update(REGISTERED.keys() - before)
        except (Exception, SystemExit) as error:  # another distribution's code may fail in any way
            warnings.warn(
                f"entry point '{entry.name}' = '{entry.value}' of group {_ENTRY_POINTS} cannot be "
                f"loaded and is left out: {in_words(error)}; fix or uninstall that package",
                stacklevel=2,
            )
