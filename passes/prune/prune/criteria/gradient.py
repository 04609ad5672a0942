"""Scores by derivatives of a loss, through PyTorch.

    gradient:  mean over the feeds of  sum |dL/dw|
    taylor:    mean over the feeds of  |sum w dL/dw|      the loss without the unit, to first order

over the weights of a unit. Taylor for a channel is taken where it leaves the layer, after the
normalization that follows: there the sum is gamma dL/dgamma + beta dL/dbeta, else that of the row
and its bias (Molchanov et al., "Importance estimation for neural network pruning", CVPR 2019,
equations 8 and 9 and section 3.2). One gradient is taken for each feed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.core.errors import FeedError, RefusedError
from .....ir.run.feeds import check_feeds
from .....ir.torch.source import source_of
from .....ir.torch.to_fx import to_fx
from ..units import Units
from .criterion import Array, Criterion, ScoringContext

if TYPE_CHECKING:
    import torch

# Sums are taken in an order that depends on the number of threads, and bytes on the order.
_THREADS = 1


class Gradient(Criterion):
    """Mean absolute gradient of the loss over the feeds."""

    name: ClassVar[str] = "gradient"
    needs_feeds: ClassVar[bool] = True

    def scores(self, rows: Sequence[Units], state: ScoringContext) -> list[Array]:
        """Return mean over the feeds of sum |dL/dw|."""
        total = [np.zeros(len(row.gone)) for row in rows]
        count = 0
        for _, gradients in derivatives(state):
            size = {name: np.abs(g) for name, g in gradients.items()}
            for sums, row in zip(total, rows, strict=True):
                sums += row.pooled(size)
            count += 1
        return [sums / count for sums in total]


class Taylor(Criterion):
    """Change of the loss when the unit goes, to first order: |w dL/dw|, mean over the feeds."""

    name: ClassVar[str] = "taylor"
    needs_feeds: ClassVar[bool] = True
    comparable: ClassVar[bool] = True  # all are changes of one loss

    def scores(self, rows: Sequence[Units], state: ScoringContext) -> list[Array]:
        """Return mean over the feeds of |sum w dL/dw|."""
        total = [np.zeros(len(row.gone)) for row in rows]
        count = 0
        for weights, gradients in derivatives(state):
            change = {name: weights[name] * g for name, g in gradients.items()}
            for sums, row in zip(total, rows, strict=True):
                sums += np.abs(row.gated(change))
            count += 1
        return [sums / count for sums in total]


def derivatives(state: ScoringContext) -> Iterator[tuple[dict[str, Array], dict[str, Array]]]:
    """Yield for each feed the weights of the graph and the loss's gradients by them, by name.

    Masked weights are zero in both.
    """
    import torch

    from .losses import make_loss

    module = to_fx(state.graph)
    source = source_of(module)
    loss = make_loss(state)
    feeds = state.context.labelled if state.labels else state.context.feeds
    inputs = [t.name for t in state.graph.inputs if isinstance(t, gs.Variable)]
    outputs = [t.name for t in state.graph.outputs]
    bound = [b for b in source.bindings if b.kind in ("plain", "transposed")]
    weights = {b.constant.name: _as_stored(_at(module, b.path), b.kind) for b in bound}
    seen = False
    with _threads(torch):
        for feed in feeds or ():
            seen = True
            check_feeds({name: feed[name] for name in inputs if name in feed}, state.graph)
            module.zero_grad()
            found = module(*(torch.from_numpy(np.array(feed[name])) for name in inputs))
            found = found if isinstance(found, tuple) else (found,)
            value = loss(dict(zip(outputs, found, strict=True)), feed)
            if not getattr(value, "requires_grad", False):
                raise RefusedError(
                    "the loss does not depend on any weight, so that it scores none; give one "
                    "that is computed from the outputs"
                )
            value.backward()
            gradients = {}
            for b in bound:
                held = _at(module, b.path)
                if held.grad is not None:
                    gradients[b.constant.name] = _as_stored(held.grad, b.kind)
            yield weights, gradients  # before the next feed, since arrays share their memory
    if not seen:
        raise FeedError("there are no feeds to take gradients on; give at least one sample")


def _at(module: torch.nn.Module, path: str) -> torch.Tensor:
    owner, _, leaf = path.rpartition(".")
    found: torch.Tensor = getattr(module.get_submodule(owner), leaf)
    return found


def _as_stored(tensor: torch.Tensor, kind: str) -> Array:
    held = tensor.detach().T if kind == "transposed" else tensor.detach()
    return np.asarray(held.float().numpy() if held.is_floating_point() else held.numpy())


@contextlib.contextmanager
def _threads(torch: object) -> Iterator[None]:
    before = torch.get_num_threads()  # type: ignore[attr-defined]
    torch.set_num_threads(_THREADS)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.set_num_threads(before)  # type: ignore[attr-defined]
