"""`planish bisect`: the first edit of a pipeline that breaks the result."""

from __future__ import annotations

from dataclasses import asdict

import onnx_graphsurgeon as gs
import typer

from ..passes.engine.context import Feeds
from ..passes.pipeline.pipeline import Pipeline
from ..passes.trust.bisect import Culprit
from ..passes.trust.bisect import bisect as find_culprit
from .exit_codes import DIFFERENCE
from .feeds import NO_FEEDS, FeedOptions, takes_feeds
from .given import given_for
from .options import (
    InputModels,
    InputShapeOption,
    JsonOption,
    MutableOption,
    PipelineOption,
    SeedOption,
)
from .show.console import err, is_verbose, print_plain, tell, teller
from .show.models_json import models_json
from .show.progress import status_line


@takes_feeds
def bisect(
    models: InputModels,
    pipeline: PipelineOption = "exact",
    given: FeedOptions = NO_FEEDS,
    input_shape: InputShapeOption = None,
    mutable_initializers: MutableOption = False,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Find the first edit of a pipeline that breaks the result; exit with 1 where there is one."""
    steps = Pipeline.parse(pipeline)
    broken = False
    with models_json(shown=as_json, alone=len(models) == 1) as shown:
        for model in models:
            if len(models) > 1 and not as_json:
                print_plain(f"{model}:")
            graph, data, _ = given_for(
                steps,
                model,
                given,
                input_shape,
                mutable=mutable_initializers,
                seed=seed,
                tell=teller(as_json=as_json),
            )
            found = _searched(steps, graph, data, seed)
            broken = broken or found is not None
            if as_json:
                culprit = None if found is None else asdict(found)
                shown.append({"model": str(model), "culprit": culprit})
            else:
                print_plain(_told(found))
    if broken:
        raise typer.Exit(DIFFERENCE)


def _searched(steps: Pipeline, graph: gs.Graph, data: Feeds | None, seed: int) -> Culprit | None:
    """Search under a status line; with -v, each range of edits that was searched stays there."""
    with status_line(err, "searching") as update:

        def show(low: int, high: int) -> None:
            update(f"searching edits {low} to {high}")
            if is_verbose():
                tell(f"searching edits {low} to {high}")

        return find_culprit(steps, graph, data, seed=seed, progress=show)


def _told(found: Culprit | None) -> str:
    if found is None:
        return "every edit keeps the result"
    where = f", which made {', '.join(found.nodes)}" if found.nodes else ""
    return (
        f"edit {found.edit}: edit {found.edit_in_pass} of pass {found.pass_index + 1}, "
        f"'{found.pass_name}'{where}\n  {found.message}"
    )
