"""Layers of `torch.nn` with masks on their weights.

    y = f(x; W * M, b * m)        dL/dW = M * dL/d(W * M): zero wherever the mask is

Weight and bias stay parameters under their own names, the masks are buffers `weight_mask` and
`bias_mask` beside them: part of the state, never trained. A layer without one of the two masks
lacks that buffer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional


class _Masked(nn.Module):  # type: ignore[misc]
    """Adds to a layer the product of its parameters and their masks."""

    def masked_parameters(self) -> tuple[Tensor, Tensor | None]:
        """Return weight and bias with the masks applied."""
        return self._masked("weight"), self._masked("bias")

    def _masked(self, name: str) -> Tensor | None:
        found = getattr(self, name)
        mask = getattr(self, f"{name}_mask", None)
        return found if mask is None or found is None else torch.mul(found, mask)


class MaskedLinear(_Masked, nn.Linear):  # type: ignore[misc]
    """`nn.Linear` with masks."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer to [..., K]."""
        return functional.linear(input, *self.masked_parameters())


class MaskedConv1d(_Masked, nn.Conv1d):  # type: ignore[misc]
    """`nn.Conv1d` with masks."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer to [N, C, L]."""
        return self._conv_forward(input, *self.masked_parameters())


class MaskedConv2d(_Masked, nn.Conv2d):  # type: ignore[misc]
    """`nn.Conv2d` with masks."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer to [N, C, H, W]."""
        return self._conv_forward(input, *self.masked_parameters())


class MaskedConv3d(_Masked, nn.Conv3d):  # type: ignore[misc]
    """`nn.Conv3d` with masks."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer to [N, C, D, H, W]."""
        return self._conv_forward(input, *self.masked_parameters())


class _MaskedTransposed(_Masked):
    def _scatter(self, function: Callable[..., Tensor], input: Tensor) -> Tensor:
        return function(
            input,
            *self.masked_parameters(),
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
        )


class MaskedConvTranspose1d(_MaskedTransposed, nn.ConvTranspose1d):  # type: ignore[misc]
    """`nn.ConvTranspose1d` with masks."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer to [N, C, L]."""
        return self._scatter(functional.conv_transpose1d, input)


class MaskedConvTranspose2d(_MaskedTransposed, nn.ConvTranspose2d):  # type: ignore[misc]
    """`nn.ConvTranspose2d` with masks."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer to [N, C, H, W]."""
        return self._scatter(functional.conv_transpose2d, input)


class MaskedConvTranspose3d(_MaskedTransposed, nn.ConvTranspose3d):  # type: ignore[misc]
    """`nn.ConvTranspose3d` with masks."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer to [N, C, D, H, W]."""
        return self._scatter(functional.conv_transpose3d, input)


_KINDS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: MaskedLinear,
    nn.Conv1d: MaskedConv1d,
    nn.Conv2d: MaskedConv2d,
    nn.Conv3d: MaskedConv3d,
    nn.ConvTranspose1d: MaskedConvTranspose1d,
    nn.ConvTranspose2d: MaskedConvTranspose2d,
    nn.ConvTranspose3d: MaskedConvTranspose3d,
}


def mask_layer(module: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Make `module`, a layer of `torch.nn`, its masked kind; `masks` by the parameter's name.

    The class is changed in place, as PyTorch's own parametrizations do it.
    """
    if not masks:
        return
    module.__class__ = _KINDS[type(module)]
    for name, mask in masks.items():
        module.register_buffer(f"{name}_mask", mask)
