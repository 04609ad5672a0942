"""`planish compare`: how far two models are apart."""

from __future__ import annotations

from typing import Annotated

import typer

from ..ir.metrics.choose import AUTOMATIC, MetricOptions
from ..ir.run.compare import compare as compare_graphs
from ..ir.run.feeds import random_feeds
from ..passes.trust.telling import reached_outputs
from .exit_codes import DIFFERENCE, VERIFICATION_FAILED
from .feeds import NO_FEEDS, FeedOptions, takes_feeds
from .files import model_file
from .given import given_model
from .judged import takes_metric
from .options import (
    InputShapeOption,
    JsonOption,
    ModelFile,
    MutableOption,
    SeedOption,
)
from .show.comparison import comparison_table, metric_lines
from .show.console import is_verbose, out, print_json, print_plain, teller, warn
from .show.run_json import metrics_json, outputs_json
from .supervise import doing


@takes_feeds
@takes_metric
def compare(
    a: ModelFile,
    b: ModelFile,
    given: FeedOptions = NO_FEEDS,
    tolerance: Annotated[
        float | None, typer.Option(min=0, help="Exit with 1 where max rel is larger.")
    ] = None,
    judged: MetricOptions = AUTOMATIC,
    input_shape: InputShapeOption = None,
    mutable_initializers: MutableOption = False,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Show how far the outputs of two models are apart."""
    say = teller(as_json=as_json)
    graph_a, graph_b = (
        given_model(path, input_shape, mutable=mutable_initializers, feeds=given.feeds, tell=say)
        for path in (a, b)
    )
    data = given.data(graph_a, seed, judged.labels, say, model_file(a))
    doing(f"compare '{a}' with '{b}'")
    found = compare_graphs(
        graph_a,
        graph_b,
        random_feeds(graph_a, seed=seed) if data is None else data,
        metric=judged.metric,
        class_axis=judged.class_axis,
        labels=judged.labels,
    )
    if as_json:
        print_json({"outputs": outputs_json(found.outputs), "metrics": metrics_json(found)})
    else:
        out.print(comparison_table(found))
        for line in metric_lines(found, every=is_verbose()):
            print_plain(line)
    reached = reached_outputs(graph_a)
    untold = [each for each in found.outputs if each.remark and each.name in reached]
    for each in untold:
        warn(f"nothing was shown: output '{each.name}' {each.remark}")
    if tolerance is not None and not found.max_rel <= tolerance:
        raise typer.Exit(DIFFERENCE)
    if tolerance is not None and untold:
        raise typer.Exit(VERIFICATION_FAILED)
