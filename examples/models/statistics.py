"""Seeded weights and batch normalization statistics that resemble a trained network."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

_NEGATIVE_WEIGHTS = 0.1
_TINY_VARIANCES = 0.03


def initialize_weights(module: nn.Module, seed: int) -> None:
    """Fill every convolution and linear layer: normal with variance 2 / fan-in, small biases."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in module.modules():
            if not isinstance(layer, _ConvNd | nn.Linear):
                continue
            layer.weight.normal_(0.0, math.sqrt(2.0 / _fan_in(layer)), generator=generator)
            if layer.bias is not None:
                layer.bias.normal_(0.0, 0.1, generator=generator)


def randomize_batchnorm(module: nn.Module, seed: int, inputs: Sequence[Tensor] = ()) -> None:
    """Give every batch normalization non-trivial statistics and affine parameters.

    With ``inputs``, one evaluation-mode forward pass sets each layer's statistics near those
    of the activations that reach it, so that deep networks neither explode nor vanish.
    Without them, the statistics are near those of a standard normal activation. About a tenth
    of the weights are negative; a few variances are tiny, with weights that keep the gain.
    """
    generator = torch.Generator().manual_seed(seed)
    pending: dict[_BatchNorm, _Perturbation] = {}
    for layer in module.modules():
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None:
            pending[layer] = _Perturbation.draw(layer.num_features, generator)

    def calibrate(layer: _BatchNorm, args: tuple[Tensor, ...]) -> None:
        perturbation = pending.pop(layer, None)
        if perturbation is not None:
            activations = args[0].transpose(0, 1).flatten(1)
            perturbation.apply(layer, activations.mean(1), activations.var(1, correction=0))

    with torch.no_grad():
        if inputs:
            training = module.training
            handles = [layer.register_forward_pre_hook(calibrate) for layer in pending]
            module.eval()(*inputs)
            module.train(training)
            for handle in handles:
                handle.remove()
        for layer, perturbation in pending.items():
            features = layer.num_features
            perturbation.apply(layer, torch.zeros(features), torch.ones(features))


@dataclass(frozen=True)
class _Perturbation:
    """Random deviations of one layer's parameters, each with one value per channel."""

    shift: Tensor
    spread: Tensor
    tiny: Tensor
    weight: Tensor
    bias: Tensor

    @classmethod
    def draw(cls, channels: int, generator: torch.Generator) -> Self:
        def normal(scale: float) -> Tensor:
            return scale * torch.randn(channels, generator=generator)

        def uniform(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(channels, generator=generator)

        sign = torch.where(uniform(0.0, 1.0) < _NEGATIVE_WEIGHTS, -1.0, 1.0)
        is_tiny = uniform(0.0, 1.0) < _TINY_VARIANCES
        return cls(
            shift=normal(0.2),
            spread=normal(0.3).exp(),
            tiny=torch.where(is_tiny, 10.0 ** uniform(-8.0, -5.0), torch.inf),
            weight=sign * uniform(0.5, 1.5),
            bias=normal(0.2),
        )

    def apply(self, layer: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
        # The floor keeps channels that the sample hardly excites from being blown up.
        usual = variance.clamp(min=0.1 * float(variance.mean())) * self.spread
        stored = torch.minimum(usual, self.tiny)
        if layer.running_mean is not None and layer.running_var is not None:
            layer.running_mean.copy_(mean + self.shift * usual.sqrt())
            layer.running_var.copy_(stored)
        if layer.affine:
            gain = ((stored + layer.eps) / (usual + layer.eps)).sqrt()
            layer.weight.copy_(self.weight * gain)
            layer.bias.copy_(self.bias)


def _fan_in(layer: _ConvNd | nn.Linear) -> float:
    """Count the products summed in one output value, borders aside."""
    if isinstance(layer, nn.Linear):
        return float(layer.in_features)
    taps = layer.in_channels // layer.groups * math.prod(layer.kernel_size)
    if isinstance(layer, _ConvTransposeNd):
        return float(taps / math.prod(layer.stride))
    return float(taps)
