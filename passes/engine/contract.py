"""The contract of passes.

A pass is a frozen dataclass whose fields are its options. A `RewritePass` (`rewrite`) is a set of
local rewrites run by the shared driver; any other pass implements `run` over the whole graph.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from ...ir.core.option_text.options import show_options
from .context import Context


@dataclass(frozen=True)
class Pass(ABC):
    """A named transformation of a graph; its options are the fields of the dataclass.

    What people are told of it is read from its docstrings: the module's opens with the law the pass
    rests on, that of the class with a summary in one sentence, and lists the options, each as
    "- `an-option`: what it means.".

    `exact` passes compute the same function up to floating-point rounding, which verification
    holds them to; the error of others is measured and reported. Where a pass does not even keep
    what the outputs mean (`keeps_outputs`), such as their number of classes, nothing is compared
    across it. Nor is anything where it changes the inputs of the graph, or which outputs there are
    (`keeps_interface`): feeds that do not fit the graph before it are for the one behind it. A pass
    holds no state between runs, and run twice makes no edit the second time.

    A pass that `prepares` changes numbers for the sake of one behind it that `settles`: rounded
    weights are for integers. Where the latter declines as a whole (`Context.go_back`), or fails,
    the preparation is undone.
    """

    name: ClassVar[str]
    exact: ClassVar[bool] = True
    keeps_outputs: ClassVar[bool] = True
    keeps_interface: ClassVar[bool] = True
    prepares: ClassVar[bool] = False
    settles: ClassVar[bool] = False

    @property
    def is_exact(self) -> bool:
        """Whether the pass is exact with the options it has: one may give that up."""
        return self.exact

    def extra_feeds(self) -> tuple[str, ...]:
        """Return the names of entries of the feeds, such as labels, that only this pass reads."""
        return ()

    def starts_at(self) -> frozenset[str] | None:
        """Return operators without any of which there is nothing to do; None: always look."""
        return None

    @abstractmethod
    def run(self, graph: gs.Graph, context: Context) -> gs.Graph | None:
        """Transform `graph` in place, through `context.editing()`; or return another graph.

        Raises PassError where the graph or an option does not allow what was asked for, FeedError
        where the feeds do not.
        """

    def finish(self, graph: gs.Graph, context: Context) -> None:  # noqa: B027  (most do nothing)
        """Change the types of inputs and outputs, as the last thing of a run.

        Everything before was run and verified with the inputs that callers gave; what is done here
        must compute the same from the same values.
        """

    @classmethod
    def summary(cls) -> str:
        """Return the first sentence of the pass's documentation."""
        text = " ".join((cls.__doc__ or "").split())
        return text.partition(". ")[0].removesuffix(".")

    def __str__(self) -> str:
        """Write the pass with the options that differ from their defaults, as pipelines have it."""
        return f"{self.name}{show_options(self)}"
