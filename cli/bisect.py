"""`planish bisect`: the first edit of a pipeline that breaks the result."""

from __future__ import annotations

from dataclasses import asdict

import typer

from ..passes.pipeline.pipeline import Pipeline
from ..passes.trust.bisect import Culprit
from ..passes.trust.bisect import bisect as find_culprit
from .exit_codes import DIFFERENCE
from .feeds import NO_FEEDS, FeedOptions, takes_feeds
from .given import given_for
from .options import (
    InputShapeOption,
    JsonOption,
    ModelFile,
    MutableOption,
    PipelineOption,
    SeedOption,
)
from .show.console import err, print_json, print_plain, teller
from .show.progress import status_line


@takes_feeds
def bisect(
    model: ModelFile,
    pipeline: PipelineOption = "exact",
    given: FeedOptions = NO_FEEDS,
    input_shape: InputShapeOption = None,
    mutable_initializers: MutableOption = False,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Find the first edit of a pipeline that breaks the result; exit with 1 where there is one."""
    steps = Pipeline.parse(pipeline)
    graph, data = given_for(
        steps,
        model,
        given,
        input_shape,
        mutable=mutable_initializers,
        seed=seed,
        tell=teller(as_json=as_json),
    )
    with status_line(err, "searching") as update:
        found = find_culprit(
            steps,
            graph,
            data,
            seed=seed,
            progress=lambda low, high: update(f"searching edits {low} to {high}"),
        )
    if as_json:
        print_json({"culprit": None if found is None else asdict(found)})
    else:
        print_plain(_told(found))
    if found is not None:
        raise typer.Exit(DIFFERENCE)


def _told(found: Culprit | None) -> str:
    if found is None:
        return "every edit keeps the result"
    where = f", which made {', '.join(found.nodes)}" if found.nodes else ""
    return (
        f"edit {found.edit}: edit {found.edit_in_pass} of pass {found.pass_index + 1}, "
        f"'{found.pass_name}'{where}\n{found.message}"
    )
