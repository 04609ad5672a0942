"""The module that `to_fx` returns: copies and pickles of it know the graph it was made of.

PyTorch copies the metadata of a GraphModule, and pickles its attributes alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import fx

from .source import SourceGraph, has_source, remember, source_of


class SourcedModule(fx.GraphModule):  # type: ignore[misc]  # untyped
    """A GraphModule that pickles with its `SourceGraph`."""

    def __copy__(self) -> SourcedModule:
        """Return a module of the same parts; PyTorch would make a plain GraphModule of it."""
        made = SourcedModule(self, self.graph, class_name=type(self).__name__)
        made.meta = self.meta
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what `pickle` makes another of, at any depth of copies of copies."""
        make, arguments = super().__reduce__()
        if not has_source(self):
            return make, arguments
        return _restored, (make, arguments, source_of(self))


def _restored(make: Callable[..., Any], arguments: tuple[Any, ...], source: SourceGraph) -> Any:
    """Return a module as it was pickled; its class is its own, as that of every GraphModule."""
    module = make(*arguments)
    module.__class__ = type("GraphModuleImpl", (SourcedModule,), {})
    module.__class__.__name__ = "GraphModule"
    module.recompile()  # which puts `forward` into the class
    remember(module, source)
    return module
