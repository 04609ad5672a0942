"""Statistics of batch normalizations, from the student's own data.

    mean = average over batches of the batch's mean      var = average of its unbiased variance

Compression shifts what reaches a normalization, whose running statistics are those of the teacher.
Averages are cumulative: PyTorch's normalization with `momentum=None`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any


def batchnorms(module: Any) -> list[Any]:
    """Return the normalizations of a module that have statistics."""
    from torch.nn.modules.batchnorm import _BatchNorm

    return [m for m in module.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]


@contextlib.contextmanager
def training_batchnorm(module: Any, on: bool) -> Iterator[None]:
    """Let normalizations use and gather the statistics of each batch, where `on`."""
    found = batchnorms(module) if on else []
    for each in found:
        each.train()
    try:
        yield
    finally:
        for each in found:
            each.eval()


def reestimate(module: Any, passes: Callable[[], None]) -> bool:
    """Replace the statistics by those of what `passes` runs through `module`; False: it has none.

    Statistics of a normalization that saw a single value stay as they were.
    """
    import torch

    found = batchnorms(module)
    if not found:
        return False
    before = [(m.momentum, m.running_mean.clone(), m.running_var.clone()) for m in found]
    for each in found:
        each.momentum = None
        each.reset_running_stats()
    try:
        with training_batchnorm(module, True), torch.no_grad():
            passes()
    finally:
        for each, (momentum, mean, variance) in zip(found, before, strict=True):
            each.momentum = momentum
            fine = (
                torch.isfinite(each.running_mean).all() and torch.isfinite(each.running_var).all()
            )
            if not each.num_batches_tracked or not fine:
                each.running_mean.copy_(mean)
                each.running_var.copy_(variance)
    return True
