"""Whether two results of PyTorch's are one, up to what runtimes round differently."""

from __future__ import annotations

import torch

# Of the largest element: what runtimes may differ by in float32, and with 16 bits.
_TOLERANCE = {torch.float16: 2e-2, torch.bfloat16: 5e-2}


def close(wanted: torch.Tensor, given: torch.Tensor) -> bool:
    """Say whether `given`, of the same shape, is `wanted` up to rounding; NaN are alike."""
    if not wanted.is_floating_point() or not wanted.numel():
        return bool(torch.equal(wanted, given))
    largest = float(wanted.double().nan_to_num(0, 0, 0).abs().max())
    allowed = _TOLERANCE.get(wanted.dtype, 1e-3) * largest
    wanted, given = wanted.double(), given.double()
    return bool(torch.allclose(wanted, given, rtol=0, atol=allowed, equal_nan=True))
