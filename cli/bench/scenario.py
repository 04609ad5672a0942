"""`planish bench --scenario`: what is asked of MLPerf's LoadGen, model by model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx_graphsurgeon as gs

from ...backends.contract.backend import Compiled
from ...backends.timing.loadgen import Feed, LoadResult, Scenario, rows, run_loadgen
from ...ir.core.errors import BackendError
from ...ir.run.feeds import batch_size, random_feeds
from ..feeds import FeedOptions, with_batch
from ..show.console import err, out, print_json, tell
from ..show.progress import progress_bar
from ..show.timings import loadgen_table

Loads = list[tuple[str, int, LoadResult]]

_DRAWN = 16  # random samples; more would only take memory
_SECONDS, _QUERIES = 10.0, 100


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """The options of `planish bench` that only LoadGen reads."""

    seconds: float | None
    min_queries: int | None
    log_dir: Path | None
    given: FeedOptions

    def need_none(self) -> None:
        """Raise BackendError where one is given without --scenario."""
        read = {"seconds": self.seconds, "min_queries": self.min_queries, "log_dir": self.log_dir}
        feeds = {name: value for name, value in asdict(self.given).items() if name != "shape"}
        for name, value in (read | feeds).items():
            if value not in (None, False):
                option = "--" + name.replace("_", "-")
                raise BackendError(f"{option} is for LoadGen; add --scenario or leave it out")


def run_scenario(
    scenario: Scenario,
    models: Iterable[tuple[str, gs.Graph, Compiled]],
    options: LoadOptions,
    *,
    batches: Sequence[int] | None,
    shape: Sequence[str] | None,
    seed: int,
) -> Loads:
    """Run LoadGen for every model and batch; returns label, batch and result of each run."""
    with progress_bar(err, "LoadGen") as update:
        return _runs(
            scenario,
            models,
            options,
            batches=batches,
            shape=shape,
            seed=seed,
            progress=lambda label: update(0, f"LoadGen: {label}"),
        )


def show_loads(loads: Loads, setting: Mapping[str, Any], as_json: bool) -> None:
    """Print the runs as a table, or as JSON with the `setting` they were made in."""
    if not as_json:
        out.print(loadgen_table(loads))
        return
    found = [{"label": label, "batch": size, **asdict(r)} for label, size, r in loads]
    print_json({**setting, "loadgen": found})


def _runs(
    scenario: Scenario,
    models: Iterable[tuple[str, gs.Graph, Compiled]],
    options: LoadOptions,
    *,
    batches: Sequence[int] | None,
    shape: Sequence[str] | None,
    seed: int,
    progress: Callable[[str], None],
) -> Loads:
    found: Loads = []
    for label, graph, compiled in models:
        own = batch_size(graph)
        samples = _samples(graph, own or 1, options, shape, seed)
        for size in batches or [own or 1]:
            progress(label)
            folder = None if options.log_dir is None else options.log_dir / f"{len(found) + 1}"
            result = run_loadgen(
                compiled,
                samples,
                scenario,
                batch=size,
                seconds=_SECONDS if options.seconds is None else options.seconds,
                min_queries=options.min_queries or _QUERIES,
                seed=seed,
                log_dir=folder,
            )
            found.append((label, size, result))
    return found


def _samples(
    graph: gs.Graph, own: int, options: LoadOptions, shape: Sequence[str] | None, seed: int
) -> list[Feed]:
    options.given.refuse_ignored(graph)
    feeds = None
    if options.given.feeds is not None:
        feeds = options.given.data(graph, seed, tell=tell)
    if feeds is None:
        shapes = with_batch(graph, own, shape)
        feeds = random_feeds(graph, samples=-(-_DRAWN // own), seed=seed, shapes=shapes)
    return [sample for feed in feeds for sample in rows(feed)]
