"""What PyTorch itself gives, and whether planish may give the same in its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ...backends.contract.backend import Arrays
from ...backends.contract.port import Port
from ...ir.core.errors import TraceError
from ..torch_close import close
from .arrays import to_tensor


def eager_outputs(
    module: torch.fx.GraphModule, inputs: Sequence[Any], *, may_draw: bool
) -> list[torch.Tensor]:
    """Return what `module` gives of copies of `inputs`.

    `may_draw`: whether it has operators that can draw random numbers, as Dropout does in training
    alone. Raises TraceError where it does, where it writes to its inputs, or gives what is no
    tensor of its own on the CPU: a view of an input would show what is written to that later.
    """
    copies = [x.detach().clone() if isinstance(x, torch.Tensor) else x for x in inputs]
    with torch.no_grad(), torch.random.fork_rng(devices=[], enabled=may_draw):
        before = torch.get_rng_state()
        outputs = module(*copies)
        if may_draw and not torch.equal(before, torch.get_rng_state()):
            raise TraceError("it draws random numbers, of which each run needs others")
    for given, copy in zip(inputs, copies, strict=True):
        if isinstance(given, torch.Tensor) and not _equal(given, copy):
            raise TraceError("it writes to its inputs or buffers, as training does")
    if not isinstance(outputs, tuple | list) or not outputs:
        raise TraceError("it gives no tensors")
    for each in outputs:
        if not isinstance(each, torch.Tensor):
            raise TraceError(f"it gives {type(each).__name__}, which is no tensor")
        if each.device.type != "cpu":
            raise TraceError(f"it runs on {each.device.type}; planish's networks run on the CPU")
    mine, theirs = _places(outputs), _places(copies)
    if len(set(mine)) < len(mine) or set(mine) & set(theirs):
        raise TraceError("its outputs share memory with its inputs or each other")
    return list(outputs)


def check(expected: Sequence[torch.Tensor], found: Arrays, ports: Sequence[Port]) -> None:
    """Raise TraceError where results differ from PyTorch's by more than rounding."""
    for wanted, port in zip(expected, ports, strict=True):
        given = to_tensor(found[port.name])
        if given.shape != wanted.shape or given.dtype != wanted.dtype:
            raise TraceError(f"output '{port.name}' has another shape or type than PyTorch's")
        if not close(wanted, given):
            raise TraceError(f"output '{port.name}' differs from PyTorch's by more than rounding")


def _equal(given: torch.Tensor, copy: torch.Tensor) -> bool:
    """Say whether nothing was written to `copy`, NaN or not."""
    return bool(torch.allclose(given, copy, rtol=0, atol=0, equal_nan=True))


def _places(values: Sequence[Any]) -> list[int]:
    tensors = [each for each in values if isinstance(each, torch.Tensor) and each.numel()]
    return [tensor.untyped_storage().data_ptr() for tensor in tensors]
