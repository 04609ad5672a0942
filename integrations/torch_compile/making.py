"""A graph of Dynamo's made ready to run on a runtime: from the cache, or traced and lowered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import torch

from ...backends.contract.backend import Compiled
from ...backends.contract.backend_text import BackendText
from ...backends.contract.registry import is_builtin, lower
from ...ir.core.counted import counted
from ...ir.core.errors import FeedError, TraceError
from ...ir.core.kind import kind_of
from ...ir.run.feeds import Feed
from ...ir.torch.trace import trace
from ...passes.pipeline.pipeline import Pipeline
from .arrays import memory_format, to_array
from .cache import NetworkCache, cache_in
from .eager import check, eager_outputs
from .exported import exported, may_draw
from .frozen import Frozen, freeze, placeholder_name, plain
from .identity import (
    UnknownContentError,
    digest_of_feeds,
    digest_of_graph,
    digest_of_tensors,
    joined,
    state_of_torch,
    surroundings,
    told_of_lowering,
)
from .options import CompileOptions
from .watched import Watched


@dataclass(frozen=True)
class Ready:
    """A network that runs, and what it was made of.

    `feeds`: the names of its inputs, each with the place among Dynamo's; `results`: those of its
    outputs, each with the order in memory that PyTorch gives it. `watched`: whether it still is
    what Dynamo asks for.
    """

    compiled: Compiled
    feeds: tuple[tuple[str, int], ...]
    results: tuple[tuple[str, torch.memory_format], ...]
    watched: Watched


def make_ready(
    module: torch.fx.GraphModule, inputs: Sequence[Any], options: CompileOptions
) -> Ready:
    """Return `module`, called with `inputs`, made ready.

    Raises TraceError where PyTorch has to run it, and what passes and backends raise.
    """
    frozen = freeze(module, inputs)
    watched = Watched(inputs, frozen.weights if options.watch else (), frozen.numbers)
    cache = cache_in(options.cache)
    key = None if cache is None else _key(module, inputs, frozen, options)
    found = None
    if cache is not None and key is not None:
        found = _from_cache(cache, key, module, inputs, options)
    if found is None:
        found = _made(module, frozen, inputs, options)
        if cache is not None and key is not None:
            _keep(cache, key, found, options)
    compiled, outputs, feeds = found
    names = [port.name for port in compiled.outputs]
    results = tuple(zip(names, map(memory_format, outputs), strict=True))
    return Ready(compiled, feeds, results, watched)


_Made = tuple[Compiled, list[torch.Tensor], tuple[tuple[str, int], ...]]


def _made(
    module: torch.fx.GraphModule, frozen: Frozen, inputs: Sequence[Any], options: CompileOptions
) -> _Made:
    tensors = [plain(inputs[i]) for i in frozen.taken]
    program = exported(frozen, tensors)
    outputs = eager_outputs(module, inputs, may_draw=may_draw(program))
    graph = trace(program)
    feeds = _places(graph, frozen.taken)
    pipeline = Pipeline.parse(options.pipeline)
    drawn = {name: to_array(plain(inputs[i])) for name, i in feeds}
    given = options.feeds
    if given is not None:
        samples: list[Feed] | None = list(_samples(feeds, frozen.taken, given))
    else:
        samples = [drawn] if pipeline.is_exact else None
    result = pipeline.run(graph, feeds=samples)
    compiled = lowered(result.graph, options, drawn)
    if options.check and pipeline.is_exact:
        check(outputs, compiled(drawn), compiled.outputs)
    return compiled, outputs, feeds


def lowered(graph: gs.Graph, options: CompileOptions, feed: Feed) -> Compiled:
    """Return `graph` on the runtime that is asked for; `feed` is what it is measured on."""
    threads = options.threads or torch.get_num_threads()
    return lower(graph, options.runtime, threads=threads, feeds=[feed], **options.lower)


def _from_cache(
    cache: NetworkCache,
    key: str,
    module: torch.fx.GraphModule,
    inputs: Sequence[Any],
    options: CompileOptions,
) -> _Made | None:
    held = cache.get(key, options.threads or torch.get_num_threads())
    if held is None:
        return None
    compiled, told = held
    feeds = tuple((str(name), int(i)) for name, i in told["feeds"])
    # What draws random numbers was never kept.
    outputs = eager_outputs(module, inputs, may_draw=False)
    if options.check and Pipeline.parse(options.pipeline).is_exact:
        drawn = {name: to_array(plain(inputs[i])) for name, i in feeds}
        check(outputs, compiled(drawn), compiled.outputs)
    return compiled, outputs, feeds


def _keep(cache: NetworkCache, key: str, found: _Made, options: CompileOptions) -> None:
    compiled, _, feeds = found
    backend = BackendText.parse(options.runtime).name
    chosen = BackendText.parse(compiled.backend or options.runtime).name
    if is_builtin(chosen):
        cache.put(key, backend, compiled, {"feeds": feeds})


def _key(
    module: torch.fx.GraphModule,
    inputs: Sequence[Any],
    frozen: Frozen,
    options: CompileOptions,
) -> str | None:
    """Return what the network is called in the cache; None where it cannot be said what it is."""
    threads = options.threads or torch.get_num_threads()
    feeds = options.feeds
    try:
        return joined(
            told_of_lowering(options.pipeline, options.runtime, options.lower),
            repr((threads, options.check, frozen.taken, frozen.weights, frozen.numbers)),
            surroundings(),
            state_of_torch(),
            digest_of_graph(module, inputs),
            digest_of_tensors(_constants(inputs, frozen)),
            digest_of_feeds(
                None if feeds is None else _samples(_named(frozen.taken), frozen.taken, feeds)
            ),
        )
    except UnknownContentError:
        return None


def _constants(inputs: Sequence[Any], frozen: Frozen) -> list[torch.Tensor]:
    """Return the tensors whose values the network has taken in."""
    places = (*frozen.weights, *frozen.numbers)
    return [inputs[i] for i in places if isinstance(inputs[i], torch.Tensor)]


def _named(taken: Sequence[int]) -> tuple[tuple[str, int], ...]:
    return tuple((placeholder_name(i), i) for i in taken)


def _places(graph: gs.Graph, taken: Sequence[int]) -> tuple[tuple[str, int], ...]:
    """Return the inputs of a traced `graph`, which need not take all that it is given."""
    known = dict(_named(taken))
    for tensor in graph.inputs:
        if tensor.name not in known:
            raise TraceError(f"PyTorch's exporter has made an input '{tensor.name}' of its own")
    return tuple((tensor.name, known[tensor.name]) for tensor in graph.inputs)


def _samples(
    feeds: Sequence[tuple[str, int]], taken: Sequence[int], given: Iterable[Sequence[Any]]
) -> Iterable[Feed]:
    """Yield samples, given in the order of `taken`, by the names of `feeds`."""
    order = {i: place for place, i in enumerate(taken)}
    for sample in given:
        if not isinstance(sample, tuple | list) or len(sample) != len(taken):
            raise FeedError(
                f"a sample of the option 'feeds' is {kind_of(sample)}; give a tuple of "
                f"{counted(len(taken), 'tensor')} each"
            )
        yield {name: _array(sample[order[i]]) for name, i in feeds}


def _array(value: Any) -> np.ndarray[Any, Any]:
    return to_array(value) if isinstance(value, torch.Tensor) else np.asarray(value)
