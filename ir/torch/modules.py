"""Modules that `torch.nn` lacks."""

from __future__ import annotations

from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm


class BatchNorm(_BatchNorm):  # type: ignore[misc]
    """Batch normalization of inputs of any rank, (N, C, ...), for graphs that do not say which."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Any rank will do."""
