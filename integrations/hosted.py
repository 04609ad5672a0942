"""A pipeline inside another program: what it is run with, and what the host is told."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ..ir.core.counted import counted
from ..ir.core.shown import shortened
from ..ir.files.detached import detach
from ..passes.engine.context import Feeds
from ..passes.engine.records import Result
from ..passes.pipeline.asked import pipeline_of
from ..passes.pipeline.pipeline import Pipeline
from ..passes.pipeline.run.options import Verify


class RolledBackWarning(UserWarning):
    """A pass or a site was left out of a run because it failed; the graph is as without it."""


@dataclass(frozen=True, kw_only=True)
class Hosted:
    """A pipeline with the options of `Pipeline.run` that hosts pass on.

    `report` is called with the `Result` of every run: its records, what it verified.
    """

    pipeline: Pipeline
    feeds: Feeds | None = None
    verify: Verify = "end"
    target: str = "cpu"
    seed: int = 0
    strict: bool | None = None
    report: Callable[[Result], object] | None = None

    def run(self, graph: gs.Graph) -> gs.Graph | None:
        """Return what the pipeline makes of `graph`, which is left untouched; None for the same.

        What failed and was rolled back is told by a RolledBackWarning. Raises what `Pipeline.run`
        raises.
        """
        result = self.pipeline.run(
            graph,
            self.feeds,
            self.verify,
            target=self.target,
            seed=self.seed,
            strict=self.strict,
        )
        if self.report is not None:
            self.report(result)
        if result.failures:
            first = result.failures[0]
            warnings.warn(
                f"{counted(len(result.failures), 'failure')} of "
                f"'{shortened(str(self.pipeline))}' rolled back, such as {first}",
                RolledBackWarning,
                stacklevel=2,
            )
        return result.graph if result.edits or _differ(graph, result.graph) else None


def hosted(
    pipeline: str | Pipeline,
    *,
    feeds: Feeds | None = None,
    verify: Verify = "end",
    target: str = "cpu",
    seed: int = 0,
    strict: bool | None = None,
    report: Callable[[Result], object] | None = None,
) -> Hosted:
    """Return `pipeline`, parsed where it is text, with what `Hosted` is run with."""
    return Hosted(
        pipeline=pipeline_of(pipeline),
        feeds=feeds,
        verify=verify,
        target=target,
        seed=seed,
        strict=strict,
        report=report,
    )


def _differ(before: gs.Graph, after: gs.Graph) -> bool:
    """Say whether anything but the values of weights differs: declared sizes and types do."""
    return _described(before) != _described(after)


def _described(graph: gs.Graph) -> bytes:
    return bytes(detach(graph)[0].SerializeToString(deterministic=True))
