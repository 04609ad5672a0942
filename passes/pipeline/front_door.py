"""The two lines that most people look for: a model made faster, and a model in 8-bit integers."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_graphsurgeon as gs

from ...ir.core.seed import require_seed
from ...ir.files.given import Model, as_graph
from ...ir.graph.clone import clone
from ...ir.graph.freeze import freeze_initializers, frozen_line, list_initializers
from ...ir.metrics.labels import label_names
from ...ir.metrics.user import metric_text
from ...ir.run.feed_files import load_feeds, names_in
from ...ir.run.preprocessing import Preprocessing
from ..engine.context import Feeds
from ..engine.records import Progress, Result
from ..engine.targets import require_target
from ..interface.set_shapes import set_shapes
from .asked import options_of, pipeline_of, shapes_of
from .pipeline import Pipeline
from .run.options import Verify

Given = Feeds | str | os.PathLike[str] | None
Metric = str | Callable[..., Any]


def optimize(
    model: Model,
    pipeline: str | Pipeline = "exact",
    feeds: Given = None,
    *,
    verify: Verify = "end",
    target: str = "cpu",
    seed: int = 0,
    strict: bool | None = None,
    progress: Callable[[Progress], None] | None = None,
    input_shape: str | Sequence[str] | Mapping[str, Sequence[int]] = (),
    preprocessing: Preprocessing | None = None,
    mutable_initializers: bool = False,
    metric: Metric | None = None,
    labels: str | Sequence[str] = (),
    **options: Any,
) -> Result:
    """Return what the passes of `pipeline` make of `model`, verified: `Result.graph` and how.

        planish.save(planish.optimize("model.onnx").graph, "fast.onnx")

    `model`: a graph, which is left untouched, or the path of an ONNX file. `feeds`: samples as
    dicts of arrays, the path of an `.npz` file, or that of a folder of images, scaled to 0..1 or as
    `preprocessing` says. `input_shape`: other sizes, `["x=1,3,320,320"]`, one such
    text (`"batch=1"`) or a dict, `{"x": (1, 3, 320, 320)}`. Weights that are also graph inputs
    become constants, but those that `feeds` name; `mutable_initializers` keeps all of them.
    `metric`: a name, or a function `f(run, feeds) -> float`, higher is better;
    `labels`: the entry of the feeds with what is right, or several.
    Other options are set on every pass that has them: `max_drop=0.01`, which may be `"1%"`.

    The rest is as for `Pipeline.run`. Raises PipelineError for an option that no pass has,
    BackendError for a target that this machine has not, and what `load`, `load_feeds` and
    `Pipeline.run` raise.
    """
    steps, shapes = pipeline_of(pipeline), shapes_of(input_shape)
    require_seed(seed)
    require_target(target)
    graph, remarks = _frozen(as_graph(model), feeds, mutable_initializers)
    if shapes:
        graph, told = set_shapes(graph, shapes)
        remarks += told
    steps = steps.with_options(
        metric=None if metric is None else metric_text(metric),
        labels=label_names(labels) or None,
        **options_of(options),
    )
    if options:
        steps = Pipeline.parse(str(steps))  # which refuses values of another type
    data = _loaded(feeds, steps.behind_interface(graph), steps, preprocessing)
    found = steps.run(
        graph, data, verify, target=target, seed=seed, progress=progress, strict=strict
    )
    return replace(found, remarks=(*remarks, *found.remarks))


def quantize(model: Model, feeds: Given = None, **options: Any) -> Result:
    """Return `model` with its layers on 8-bit integers, where that is worth it: preset `int8`.

        result = planish.quantize("model.onnx", "images/", metric=accuracy, max_drop=0.01)

    `feeds`: samples that ranges are taken from, some tens; without any they are of random numbers.
    `metric` and `max_drop`: layers stay float until no more than that is lost on the feeds. All
    options are those of `optimize`, and of the pass `quantize` with underscores; `Result.records`
    and their remarks say what was decided, and why.
    """
    return optimize(model, "int8", feeds, **options)


def _frozen(graph: gs.Graph, feeds: Given, mutable: bool) -> tuple[gs.Graph, tuple[str, ...]]:
    copy = clone(graph)
    old = list_initializers(copy)
    if not any(isinstance(tensor, gs.Constant) for tensor in copy.inputs):
        return graph, ()
    if mutable:
        return copy, ()
    frozen = freeze_initializers(copy, _names(feeds))
    if not frozen:
        return copy, ()
    return copy, (frozen_line(len(frozen), "mutable_initializers=True", old=old),)


def _names(feeds: Given) -> Collection[str]:
    """Return the names that feeds have, as far as they can be read more than once."""
    if isinstance(feeds, str | os.PathLike):
        return names_in(Path(feeds))
    first = feeds[0] if isinstance(feeds, Sequence) and feeds else None
    return [*first] if isinstance(first, Mapping) else ()


def _loaded(
    feeds: Given, graph: gs.Graph, steps: Pipeline, preprocessing: Preprocessing | None
) -> Feeds | None:
    if isinstance(feeds, str | os.PathLike):
        extra = steps.extra_feeds()
        return load_feeds(Path(feeds), graph, extra=extra, preprocessing=preprocessing)
    return feeds
