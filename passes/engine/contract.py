"""The contract of passes and rewrites.

A pass is a frozen dataclass whose fields are its options. A `RewritePass` is a set of local
rewrites run by the shared driver; any other pass implements `run` over the whole graph.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.errors import PlanishError
from ...ir.graph.edit import Edit
from ...ir.graph.view import View
from .context import Context

Site = TypeVar("Site")
T = TypeVar("T")


class DeclinedError(PlanishError):
    """Raised by `need`: this site must be left alone, for the reason given."""


def need(condition: T | None, reason: str) -> T:
    """Return `condition` if it holds; otherwise decline the site with `reason`.

    None and False (numpy's too) do not hold; any other value does and is returned, so that one line
    both checks and narrows: `weight = need(view.constant(node.inputs[1]), "it is not constant")`.
    """
    if condition is None or (isinstance(condition, bool | np.bool_) and not condition):
        raise DeclinedError(reason)
    return condition


@dataclass(frozen=True)
class Pass(ABC):
    """A named transformation of a graph; its options are the fields of the dataclass.

    `exact` passes compute the same function up to floating-point rounding, which verification
    holds them to; the error of others is measured and reported. Where a pass does not even keep
    what the outputs mean (`keeps_outputs`), such as their number of classes, nothing is compared
    across it. A pass holds no state between runs, and run twice makes no edit the second time.
    """

    name: ClassVar[str]
    exact: ClassVar[bool] = True
    keeps_outputs: ClassVar[bool] = True

    def extra_feeds(self) -> tuple[str, ...]:
        """Return the names of entries of the feeds, such as labels, that only this pass reads."""
        return ()

    @abstractmethod
    def run(self, graph: gs.Graph, context: Context) -> gs.Graph | None:
        """Transform `graph` in place, through `context.edit()`; or return another graph."""

    @classmethod
    def summary(cls) -> str:
        """Return the first sentence of the pass's documentation."""
        text = " ".join((cls.__doc__ or "").split())
        return text.partition(". ")[0].removesuffix(".")


class Rewrite(ABC, Generic[Site]):
    """One local match-and-replace, rooted at a node whose operator is in `ops`.

    `match` is pure: it asks `view`, declines through `need`, and returns None for a node that is no
    candidate at all. `rewrite` makes the change it was promised and cannot refuse.
    """

    ops: ClassVar[frozenset[str]]

    @abstractmethod
    def match(self, node: gs.Node, view: View) -> Site | None:
        """Return what was found at `node`, or None; raise through `need` to decline."""

    @abstractmethod
    def rewrite(self, site: Site, edit: Edit) -> None:
        """Replace what `match` found."""


@dataclass(frozen=True)
class RewritePass(Pass):
    """A pass that is a set of rewrites, tried at every node until none applies."""

    @abstractmethod
    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the rewrites, in the order in which they are tried at a node."""

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Run the rewrites over `graph` and its subgraphs with the shared driver."""
        from .driver import drive

        drive(graph, self.rewrites(), context)
