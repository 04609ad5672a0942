"""A graph of Dynamo's that runs on a runtime of planish's, or where that cannot be on PyTorch."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import torch

from ...backends.contract.backend import Compiled
from ...backends.contract.registry import lower
from ...ir.core.errors import FeedError, PlanishError
from ...ir.run.feeds import Feed
from ...ir.torch.trace import trace
from ...passes.pipeline.attempt import members
from ...passes.pipeline.pipeline import Pipeline
from .arrays import to_array, to_tensor
from .eager import check, eager_outputs
from .exported import exported
from .frozen import Frozen, freeze
from .options import CompileOptions

# A network whose weights change more often than that is being trained.
_MOST_CHANGES = 3


class EagerWarning(UserWarning):
    """A network that planish was to compile runs as PyTorch runs it, for the reason told."""


class Network:
    """What Dynamo calls in place of `module`, with what it calls that with.

    It compiles in the first call: what Dynamo has not finished tracing is no place to trace in.
    """

    def __init__(self, module: torch.fx.GraphModule, options: CompileOptions) -> None:
        self._module = module
        self._options = options
        self._lock = threading.Lock()
        self._frozen: Frozen | None = None
        self._compiled: Compiled | None = None
        self._state: tuple[Any, ...] = ()
        self._changes = -1
        self._eager = False

    def __call__(self, *inputs: Any) -> Any:
        """Return what the module does."""
        if self._eager or (torch.is_grad_enabled() and _wants_gradients(inputs)):
            return self._by_pytorch(inputs)
        compiled = self._current(inputs)
        if compiled is None or self._frozen is None:
            return self._module(*inputs)
        taken = [inputs[i] for i in self._frozen.taken]
        feeds = {p.name: to_array(t) for p, t in zip(compiled.inputs, taken, strict=True)}
        try:
            found = compiled(feeds)
        except FeedError as error:  # a size that the network has only one of
            self._stay(str(error))
            return self._module(*inputs)
        return tuple(to_tensor(found[port.name]) for port in compiled.outputs)

    def _by_pytorch(self, inputs: Sequence[Any]) -> Any:
        if not self._eager:
            self._stay("gradients are asked for: call it under torch.no_grad()")
        return self._module(*inputs)

    def _current(self, inputs: Sequence[Any]) -> Compiled | None:
        """Return what runs it with the weights as they are now; None where PyTorch has to."""
        if self._frozen is not None and self._state == _state(inputs, self._frozen):
            return self._compiled
        with self._lock:
            if self._frozen is not None and self._state == _state(inputs, self._frozen):
                return self._compiled
            self._changes += 1
            if self._changes > _MOST_CHANGES:
                self._stay(f"its weights have changed {self._changes} times")
                return None
            try:
                return self._compile(inputs)
            except PlanishError as error:
                self._stay(str(error))
                return None

    def _compile(self, inputs: Sequence[Any]) -> Compiled:
        frozen = freeze(self._module, inputs)
        tensors = [inputs[i].detach() for i in frozen.taken]
        outputs = eager_outputs(self._module, inputs)
        graph = trace(exported(frozen, tensors))
        names = [tensor.name for tensor in graph.inputs]
        feeds = None if self._options.feeds is None else _feeds(names, self._options.feeds)
        pipeline = Pipeline.parse(self._options.pipeline)
        drawn = [dict(zip(names, map(to_array, tensors), strict=True))]
        result = pipeline.run(graph, feeds=feeds or drawn)
        compiled = self._lowered(result.graph)
        if self._options.check and _is_exact(pipeline):
            check(outputs, compiled(drawn[0]), compiled.outputs)
        self._frozen, self._compiled, self._state = frozen, compiled, _state(inputs, frozen)
        return compiled

    def _lowered(self, graph: gs.Graph) -> Compiled:
        threads = self._options.threads or torch.get_num_threads()
        return lower(graph, self._options.runtime, threads=threads, **self._options.lower)

    def _stay(self, reason: str) -> None:
        self._eager = True
        self._frozen = self._compiled = None
        warnings.warn(
            f"planish leaves a graph of {len(self._module.graph.nodes)} nodes to PyTorch: {reason}",
            EagerWarning,
            stacklevel=2,
        )


def _is_exact(pipeline: Pipeline) -> bool:
    return all(each.is_exact for item in pipeline.passes for each in members(item))


def _wants_gradients(inputs: Iterable[Any]) -> bool:
    return any(isinstance(each, torch.Tensor) and each.requires_grad for each in inputs)


def _state(inputs: Sequence[Any], frozen: Frozen) -> tuple[Any, ...]:
    """Return where the weights lie and how often each was written to, and the numbers."""
    weights = ((inputs[i].data_ptr(), inputs[i]._version) for i in frozen.weights)
    return (*weights, *(inputs[i].item() for i in frozen.numbers))


def _feeds(names: Sequence[str], samples: Iterable[Sequence[Any]]) -> list[Feed]:
    return [
        {
            name: to_array(value) if isinstance(value, torch.Tensor) else np.asarray(value)
            for name, value in zip(names, sample, strict=True)
        }
        for sample in samples
    ]
