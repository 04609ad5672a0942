"""Finding the first edit of a pipeline that breaks the result (after LLVM's opt-bisect-limit)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import onnx_graphsurgeon as gs

from ...ir.core.errors import PassError, PipelineError, VerificationError
from ...ir.core.variables import label
from ...ir.files.given import Model, as_graph
from ...ir.run.given_feeds import require_feeds
from ...ir.run.replay import replayable
from ..engine.context import Feeds
from ..engine.fingerprint import node_mark
from ..engine.records import Result


class Runs(Protocol):
    """What is searched: a pipeline."""

    def run(
        self,
        graph: gs.Graph,
        feeds: Feeds | None = None,
        verify: Literal["each", "end", "off"] = "end",
        *,
        seed: int = 0,
        reproducer: Path | str | None = None,
        limit: int | None = None,
        strict: bool | None = None,
    ) -> Result:
        """Run the passes over a copy of `graph`; see `Pipeline.run`."""


@dataclass(frozen=True, kw_only=True)
class Culprit:
    """The first edit that breaks the result: its number over the whole run, its pass, and why.

    `nodes`: those that the edit made or changed, in words.
    """

    edit: int
    pass_name: str
    pass_index: int
    edit_in_pass: int
    message: str
    nodes: tuple[str, ...] = ()


def bisect(
    pipeline: Runs,
    graph: Model,
    feeds: Feeds | None = None,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda low, high: None,
) -> Culprit | None:
    """Return the first edit after which the outputs of `graph` are wrong, or None if all is well.

    Edits are numbered in the order in which the passes make them. Takes about log2(edits) runs;
    `progress` is told the interval that is left. Raises FeedError where the feeds do not fit, and
    PassError where the original graph cannot be run, or comparing shows nothing: its outputs are
    NaN, constant or what rounding leaves for these feeds.
    """
    graph = as_graph(graph)
    if isinstance(pipeline, str):
        raise PipelineError(f"a pipeline is needed; write planish.Pipeline.parse({pipeline!r})")
    require_feeds(feeds, graph)
    with replayable(feeds) as kept:
        whole = pipeline.run(graph, kept, verify="off", seed=seed, strict=False)
        trial = _Trial(pipeline, graph, kept, seed)
        found = _search(trial, whole.edits, progress)
        return None if found is None else _locate(whole, *found, trial.nodes_of(found[0]))


@dataclass(frozen=True)
class _Trial:
    pipeline: Runs
    graph: gs.Graph
    feeds: Feeds | None
    seed: int

    def problem(self, limit: int, *, must_tell: bool = False) -> str | None:
        """Run with so many edits; return what verification says against them, or None.

        Raises PassError where it `must_tell` something of every output, and does not.
        """
        try:
            with tempfile.TemporaryDirectory(prefix="planish-bisect-") as folder:
                result = self.pipeline.run(
                    self.graph,
                    self.feeds,
                    verify="end",
                    seed=self.seed,
                    limit=limit,
                    reproducer=folder,
                    strict=False,
                )
        except VerificationError as error:
            return str(error).partition(";")[0]
        if must_tell and not result.verified:
            raise PassError(f"cannot bisect: {result.note}")
        return None

    def nodes_of(self, edit: int) -> tuple[str, ...]:
        """Return the nodes that are there, or as they are, only since that edit."""
        before, after = (self._graph_after(limit) for limit in (edit - 1, edit))
        old = set(map(node_mark, before.nodes))
        return tuple(label(node) for node in after.nodes if node_mark(node) not in old)

    def _graph_after(self, limit: int) -> gs.Graph:
        found = self.pipeline.run(
            self.graph, self.feeds, verify="off", seed=self.seed, limit=limit, strict=False
        )
        return found.graph


def _search(
    trial: _Trial, edits: int, progress: Callable[[int, int], None]
) -> tuple[int, str] | None:
    """Return the first edit that breaks the result, and how, or None where all of them do not."""
    low, high = 0, edits
    message = trial.problem(high, must_tell=True)
    if message is None:
        return None
    while high - low > 1:
        progress(low, high)
        middle = (low + high) // 2
        problem = trial.problem(middle)
        if problem is None:
            low = middle
        else:
            high, message = middle, problem
    return high, message


def _locate(whole: Result, edit: int, message: str, nodes: tuple[str, ...]) -> Culprit:
    before = 0
    for index, record in enumerate(whole.records):
        if before + record.edits >= edit:
            return Culprit(
                edit=edit,
                pass_name=record.name,
                pass_index=index,
                edit_in_pass=edit - before,
                message=message,
                nodes=nodes,
            )
        before += record.edits
    raise PassError(f"edit {edit} is beyond the {before} edits of the run")
