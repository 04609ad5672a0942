"""A graph of Dynamo's that runs on a runtime of planish's, or where that cannot be on PyTorch."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch._dynamo.convert_frame import compile_lock

from ...ir.core.errors import BackendOptionError, FeedError, PlanishError
from .arrays import to_array, to_tensor
from .making import Ready, make_ready
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
        self._ready: Ready | None = None
        self._changes = -1
        self._eager = False

    def __call__(self, *inputs: Any) -> Any:
        """Return what the module does."""
        if not self._eager and torch.is_grad_enabled() and _wants_gradients(inputs):
            self._stay("gradients are asked for: call it under torch.no_grad()")
        ready = None if self._eager else self._current(inputs)
        if ready is None:
            return self._module(*inputs)
        feeds = {name: to_array(inputs[i]) for name, i in ready.feeds}
        try:
            found = ready.compiled(feeds)
        except FeedError as error:  # a size that the network has only one of
            self._stay(str(error))
            return self._module(*inputs)
        return tuple(
            to_tensor(found[name]).contiguous(memory_format=order) for name, order in ready.results
        )

    def _current(self, inputs: Sequence[Any]) -> Ready | None:
        """Return what runs it with the weights as they are now; None where PyTorch has to."""
        ready = self._ready
        if ready is not None and ready.watched.same(inputs):
            return ready
        # torch.export and Dynamo share what they keep while they trace.
        with compile_lock:
            if self._eager:
                return None
            made = self._ready  # by another thread meanwhile
            if made is not None and made is not ready and made.watched.same(inputs):
                return made
            self._changes += 1
            if self._changes > _MOST_CHANGES:
                self._stay(f"its weights have changed {self._changes} times")
                return None
            try:
                with torch.inference_mode(False), torch.no_grad():
                    self._ready = make_ready(self._module, inputs, self._options)
            except BackendOptionError:  # a mistake, which is not to be found in a warning
                raise
            except PlanishError as error:
                self._stay(str(error))
            return self._ready

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
