"""What each candidate does to the outputs, one at a time.

    noise[site, candidate] = |f(x) - f'(x)|^2 / |f(x)|^2 over the feeds

Errors of several sites add up where they are small and have nothing to do with one another; how far
that holds is measured with joint candidates later, and corrected (`foresight`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.option_text.options import show_value
from ...ir.core.variables import node_key
from ...ir.files.load import load
from ...passes.analysis.channels.find_groups import channel_groups
from ...passes.engine.context import Context
from ...passes.engine.node_names import NodeSelection
from ...passes.opset.convert_opset import ensure_opset
from ...passes.pipeline.pipeline import Pipeline
from ...passes.prune.prune.channel_units import channel_units, masks_of
from ...passes.prune.prune.masked_copy import masked_copy
from ...passes.quantize.calibration_feeds import calibration_feeds
from ...passes.quantize.grids.formats import read_format
from ...passes.quantize.quantize.calibration.calibrate import calibrate
from ...passes.quantize.quantize.mixed_precision.evaluator import ChoiceEvaluator
from ...passes.quantize.quantize.scheme import QuantizationScheme
from ...passes.quantize.quantize.units import read_units, tensors_of
from ...passes.quantize.quantize.variants import QuantizedVariants
from ...passes.quantize.quantize_weights.linear_weights import WEIGHTED, find_weights
from ..tasks.task import Task, TaskCall
from ..trials.judge import NamedGraphs
from ..trials.stored_feeds import StoredFeeds
from .chains import substitutes_in, tensors_made, with_substitute
from .sites import Sites

Array = np.ndarray[Any, Any]


def pruned_alone(job: TaskCall) -> list[float]:
    """Return the noise of each group of the sites when its channels alone are masked.

    Which these are, the masks of the model `masked` say.
    """
    sites = Sites.from_json(job.options["sites"])
    graph = load(job.files["model"])
    gone = _gone(load(job.files["masked"]), sites)
    view = Context(graph).view()
    groups = [g for g in channel_groups(graph) if g.name in gone]
    by_site: dict[str, list[tuple[Any, Array]]] = {}
    of_layer = {layer: group.name for group in sites.groups for layer in group.layers}
    for group in groups:
        if gone[group.name].any():
            by_site.setdefault(of_layer[group.name], []).append((group, gone[group.name]))

    def without(members: Sequence[tuple[Any, Array]]) -> Callable[[], gs.Graph]:
        rows = [channel_units(group, view) for group, _ in members]
        return lambda: masked_copy(graph, masks_of(rows, [out for _, out in members], view))

    made = {name: without(members) for name, members in by_site.items()}
    noise = _noise(NamedGraphs(graph, made), list(made), job)
    return [noise.get(group.name, 0.0) for group in sites.groups]


def _gone(masked: gs.Graph, sites: Sites) -> dict[str, Array]:
    """Return which channels the masks of a graph silence, by the name of their group."""
    context = Context(masked)
    view = context.view()
    return {g.name: channel_units(g, view).gone for g in channel_groups(masked, context)}


def quantized_alone(job: TaskCall) -> list[float]:
    """Return the noise of each layer of the sites when it alone runs on integers.

    Infinity for one that cannot.
    """
    sites = Sites.from_json(job.options["sites"])
    graph = load(job.files["model"])
    feeds = _feeds(job)
    context = Context(graph, feeds)
    scheme = QuantizationScheme(
        read_format("int8", "weights", 8, narrow=True),
        read_format("uint8", "activations", 16, stored=8),
        True,
        False,
    )
    if not ensure_opset(graph, context, scheme.opset):
        return [math.inf] * len(sites.layers)
    context = Context(graph, feeds)
    units = read_units(graph, context)
    ranges = calibrate(
        graph,
        [tensor.name for tensor in tensors_of(units)],
        calibration_feeds(graph, context),
        method="min-max",
        form=scheme.activations,
        symmetric=False,
        percentile=99.99,
    )
    variants = QuantizedVariants(graph=graph, ranges=ranges, scheme=scheme)
    known = {node_key(unit.node) for unit in units if unit.is_linear}
    made = {
        site.name: lambda name=site.name: variants.build({name})
        for site in sites.layers
        if site.name in known
    }
    noise = _noise(NamedGraphs(graph, made), list(made), job)
    return [noise.get(site.name, math.inf) for site in sites.layers]


def weights_alone(job: TaskCall) -> list[float]:
    """Return the noise of each layer of the sites when it alone has weights of 4 bits."""
    sites = Sites.from_json(job.options["sites"])
    graph = load(job.files["model"])
    view = Context(graph).view()
    selection = NodeSelection(only=tuple(site.name for site in sites.layers))
    found, _ = find_weights(view, WEIGHTED, selection)
    known = {node_key(node) for weight in found for node in weight.nodes}

    def four(name: str) -> gs.Graph:
        text = f"quantize-weights{{bits=4,only={show_value([name])}}}"
        return Pipeline.parse(text).run(graph, verify="off").graph

    made = {site.name: partial(four, site.name) for site in sites.layers if site.name in known}
    noise = _noise(NamedGraphs(graph, made), list(made), job)
    # What is too small to save space stays as it is, without noise.
    return [noise.get(site.name) or math.inf for site in sites.layers]


def substituted_alone(job: TaskCall) -> list[float]:
    """Return the noise of each layer when it alone is as in the model `substituted`."""
    sites = Sites.from_json(job.options["sites"])
    graph = load(job.files["model"])
    other = load(job.files["substituted"])
    chains = substitutes_in(other, sites.layers, tensors_made(graph))
    made = {
        site.name: partial(with_substitute, graph, site, chains[site.name])
        for site in sites.layers
        if site.name in chains
    }
    noise = _noise(NamedGraphs(graph, made), list(made), job)
    return [noise.get(site.name, math.inf) for site in sites.layers]


def alone_task(
    function: Callable[[TaskCall], list[float]],
    sites: Sites,
    files: Mapping[str, Path],
    labels: Sequence[str],
    most_feeds: int,
    what: str,
) -> Task:
    """Return the task that measures one kind of candidate at all sites, one after the other."""
    return Task(
        function=f"{__name__}:{function.__name__}",
        options={"sites": sites.to_json(), "labels": list(labels), "most_feeds": most_feeds},
        files=files,
        what=what,
    )


def _feeds(job: TaskCall) -> list[Mapping[str, Array]]:
    return StoredFeeds(job.files["feeds"], job.options["labels"]).first(job.options["most_feeds"])


def _noise(graphs: NamedGraphs, names: Sequence[str], job: TaskCall) -> dict[str, float]:
    feeds = _feeds(job)
    evaluator = ChoiceEvaluator(graphs, feeds)
    return {name: evaluator.noise_alone(name, len(feeds)) for name in names}
