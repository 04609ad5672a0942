"""How a module that was pickled is read again: PyTorch keeps its code, and traces that."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

from torch import fx

from . import functions


class Tracer(fx.Tracer):  # type: ignore[misc]  # untyped
    """Keeps calls of planish's own functions whole, as they were in the module."""

    def __init__(self) -> None:
        super().__init__(autowrap_functions=_own_functions())


@functools.cache
def _own_functions() -> tuple[Callable[..., Any], ...]:
    found = []
    for each in pkgutil.iter_modules(functions.__path__, f"{functions.__name__}."):
        module = importlib.import_module(each.name)
        found += [f for _, f in inspect.getmembers(module, inspect.isfunction)]
    return tuple(found)
