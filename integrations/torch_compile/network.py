"""A graph of Dynamo's that runs on a runtime of planish's, or where that cannot be on PyTorch."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx_graphsurgeon as gs
import torch
from torch._dynamo.convert_frame import compile_lock

from ...backends.contract.backend import Compiled
from ...backends.contract.registry import lower
from ...ir.core.counted import counted
from ...ir.core.errors import FeedError, PlanishError
from ...ir.core.kind import kind_of
from ...ir.run.feeds import Feed
from ...ir.torch.trace import trace
from ...passes.pipeline.pipeline import Pipeline
from .arrays import memory_format, to_array, to_tensor
from .eager import check, eager_outputs
from .exported import exported, may_draw
from .frozen import Frozen, freeze, plain
from .options import CompileOptions
from .watched import Watched

# A network whose weights change more often than that is being trained.
_MOST_CHANGES = 3


class EagerWarning(UserWarning):
    """A network that planish was to compile runs as PyTorch runs it, for the reason told."""


class _Ready(NamedTuple):
    """A network with what it was made of; `formats` are how outputs lie in memory."""

    frozen: Frozen
    compiled: Compiled
    watched: Watched
    formats: tuple[torch.memory_format, ...]


class Network:
    """What Dynamo calls in place of `module`, with what it calls that with.

    It compiles in the first call: what Dynamo has not finished tracing is no place to trace in.
    """

    def __init__(self, module: torch.fx.GraphModule, options: CompileOptions) -> None:
        self._module = module
        self._options = options
        self._ready: _Ready | None = None
        self._changes = -1
        self._eager = False

    def __call__(self, *inputs: Any) -> Any:
        """Return what the module does."""
        if not self._eager and torch.is_grad_enabled() and _wants_gradients(inputs):
            self._stay("gradients are asked for: call it under torch.no_grad()")
        ready = None if self._eager else self._current(inputs)
        if ready is None:
            return self._module(*inputs)
        taken = [inputs[i] for i in ready.frozen.taken]
        feeds = {p.name: to_array(t) for p, t in zip(ready.compiled.inputs, taken, strict=True)}
        try:
            found = ready.compiled(feeds)
        except FeedError as error:  # a size that the network has only one of
            self._stay(str(error))
            return self._module(*inputs)
        return tuple(
            to_tensor(found[port.name]).contiguous(memory_format=order)
            for port, order in zip(ready.compiled.outputs, ready.formats, strict=True)
        )

    def _current(self, inputs: Sequence[Any]) -> _Ready | None:
        """Return what runs it with the weights as they are now; None where PyTorch has to."""
        ready = self._ready
        if ready is not None and ready.watched.same(inputs):
            return ready
        # torch.export and Dynamo share what they keep while they trace.
        with compile_lock:
            if self._eager:
                return None
            if self._ready is not None and self._ready.watched.same(inputs):
                return self._ready
            self._changes += 1
            if self._changes > _MOST_CHANGES:
                self._stay(f"its weights have changed {self._changes} times")
                return None
            try:
                with torch.inference_mode(False), torch.no_grad():
                    self._ready = self._compile(inputs)
            except PlanishError as error:
                self._stay(str(error))
            return self._ready

    def _compile(self, inputs: Sequence[Any]) -> _Ready:
        frozen = freeze(self._module, inputs)
        watched = Watched(inputs, frozen.weights, frozen.numbers)
        tensors = [plain(inputs[i]) for i in frozen.taken]
        program = exported(frozen, tensors)
        outputs = eager_outputs(self._module, inputs, may_draw=may_draw(program))
        graph = trace(program)
        names = [tensor.name for tensor in graph.inputs]
        given = self._options.feeds
        pipeline = Pipeline.parse(self._options.pipeline)
        drawn = [dict(zip(names, map(to_array, tensors), strict=True))]
        feeds = _feeds(names, given) if given is not None else drawn if pipeline.is_exact else None
        compiled = self._lowered(pipeline.run(graph, feeds=feeds).graph)
        if self._options.check and pipeline.is_exact:
            check(outputs, compiled(drawn[0]), compiled.outputs)
        formats = tuple(map(memory_format, outputs))
        return _Ready(frozen, compiled, watched, formats)

    def _lowered(self, graph: gs.Graph) -> Compiled:
        threads = self._options.threads or torch.get_num_threads()
        return lower(graph, self._options.runtime, threads=threads, **self._options.lower)

    def _stay(self, reason: str) -> None:
        self._eager = True
        self._ready = None
        warnings.warn(
            f"planish leaves a graph of {len(self._module.graph.nodes)} nodes to PyTorch: {reason}",
            EagerWarning,
            stacklevel=2,
        )


def _wants_gradients(inputs: Iterable[Any]) -> bool:
    return any(isinstance(each, torch.Tensor) and each.requires_grad for each in inputs)


def _feeds(names: Sequence[str], samples: Iterable[Sequence[Any]]) -> list[Feed]:
    return [
        {
            name: to_array(value) if isinstance(value, torch.Tensor) else np.asarray(value)
            for name, value in zip(names, _sample(sample, names), strict=True)
        }
        for sample in samples
    ]


def _sample(sample: Sequence[Any], names: Sequence[str]) -> Sequence[Any]:
    if not isinstance(sample, tuple | list) or len(sample) != len(names):
        raise FeedError(
            f"a sample of the option 'feeds' is {kind_of(sample)}; give a tuple of "
            f"{counted(len(names), 'tensor')} each"
        )
    return sample
