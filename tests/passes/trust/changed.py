"""A pass of tests that puts another graph in place of the one it is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from planish import Pass, Pipeline
from planish.ir.graph.clone import clone

from tests.helpers import graph_of


@dataclass(frozen=True)
class Become(Pass):
    """Return the graph of a text, right or wrong."""

    name: ClassVar[str] = "become"
    text: str = ""
    weights: tuple = ()

    def run(self, graph, context):
        with context.editing() as edit:
            assert edit.begin()
            edit.set_input(graph.nodes[0], 0, graph.nodes[0].inputs[0])
        return clone(graph_of(self.text, dict(self.weights)))


def become(before, after, weights=(), feeds=None, verify="end", **kwargs):
    """Run a pass over the graph of the text `before` that makes that of `after` of it."""
    weights = dict(weights)
    step = Become(after, tuple(weights.items()))
    return Pipeline((step,)).run(graph_of(before, weights), feeds, verify, **kwargs)
