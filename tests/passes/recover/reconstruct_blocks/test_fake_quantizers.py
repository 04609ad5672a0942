"""Values and gradients of a learning block's quantizers, against the formulas."""

from __future__ import annotations

import math

import pytest
import torch

from planish.ir.torch.fake_quantize import FakeQuantize
from planish.passes.recover.reconstruct_blocks.fake_quantizers import (
    LearnedRounding,
    LearnedStep,
    Phase,
)


def activations(drop: float, *, learning: bool = True) -> LearnedStep:
    """Return a quantizer of steps of a quarter from -1 to 2.75."""
    given = FakeQuantize(torch.tensor(0.25), torch.tensor(4), 0, 15)
    return LearnedStep(given, Phase(learning=learning, drop=drop), learn=True)


X = torch.tensor([-1.6, -0.3, 0.1, 0.6, 2.7, 9.0])


def test_nothing_dropped_is_the_grid() -> None:
    expected = torch.tensor([-1.0, -0.25, 0.0, 0.5, 2.75, 2.75])
    assert torch.equal(activations(0.0)(X), expected)
    assert torch.equal(activations(1.0, learning=False)(X), expected)


def test_all_dropped_is_clipped_all_the_same() -> None:
    expected = torch.tensor([-1.0, -0.3, 0.1, 0.6, 2.7, 2.75])
    torch.testing.assert_close(activations(1.0)(X), expected)


def test_half_dropped_is_either() -> None:
    torch.manual_seed(0)
    x = torch.full((1000,), 0.1)
    found = activations(0.5)(x)
    kept = float((found == 0.0).float().mean())
    assert 0.45 < kept < 0.55
    torch.testing.assert_close(found[found != 0], x[found != 0])


def test_gradients_are_those_of_the_learned_step() -> None:
    quantizer = activations(0.0)
    x = X.clone().requires_grad_(True)
    quantizer(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 1.0, 0.0]
    # d/da of s0 exp(a) r^: s (r^ - r) inside, the end of the range where clipped.
    inside = [-0.25 + 0.3, 0.0 - 0.1, 0.5 - 0.6, 2.75 - 2.7]
    assert math.isclose(float(quantizer.growth.grad), sum(inside) - 1.0 + 2.75, abs_tol=1e-5)


def weight_quantizer(phase: Phase) -> LearnedRounding:
    """Return weights of integers -7, 0, 3, 7 whose float values lie elsewhere."""
    given = FakeQuantize(torch.tensor(0.5), torch.tensor(0), -7, 7, batched=False)
    whole = torch.tensor([-3.5, 0.0, 1.5, 3.5])
    return LearnedRounding(given, whole, torch.tensor([-3.6, 0.2, 1.6, 9.0]), phase)


@pytest.mark.parametrize("learning", [False, True])
def test_weights_start_where_they_are(learning: bool) -> None:
    phase = Phase(learning=learning, done=1.0)
    quantizer = weight_quantizer(phase)
    assert quantizer(torch.empty(0)).tolist() == [-3.5, 0.0, 1.5, 3.5]
    assert quantizer.integers(torch.empty(0)).tolist() == [-7, 0, 3, 7]


def test_rounding_spreads_from_the_integers() -> None:
    phase = Phase(learning=True)
    quantizer = weight_quantizer(phase)
    assert quantizer(torch.empty(0)).tolist() == pytest.approx([-3.5, 0.2, 1.6, 3.5])
    phase.done = 0.5  # what lies within 0.275 of an integer is there
    assert quantizer(torch.empty(0)).tolist() == pytest.approx([-3.5, 0.2, 1.5, 3.5])


def test_integers_move_by_one_and_stay_in_range() -> None:
    quantizer = weight_quantizer(Phase())
    with torch.no_grad():
        quantizer.shift.copy_(torch.tensor([-0.8, 0.6, -5.0, 0.9]))
    assert quantizer.integers(torch.empty(0)).tolist() == [-7, 1, 2, 7]
