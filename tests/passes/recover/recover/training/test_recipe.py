"""Optimizers and schedules."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from planish.passes.recover.recover.training.recipe import TrainingRecipe


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "step", "onecycle"])
def test_every_optimizer_goes_with_every_schedule(optimizer: Any, schedule: Any) -> None:
    recipe = TrainingRecipe(
        optimizer=optimizer,
        schedule=schedule,
        learning_rate=0.1,
        weight_decay=0.01,
        momentum=0.9,
        batch=4,
        epochs=3,
        steps=None,
        seed=0,
    )
    parameter = nn.Parameter(torch.ones(2))
    made = recipe.make_optimizer([parameter])
    assert type(made).__name__.lower() == optimizer
    assert made.param_groups[0]["weight_decay"] == 0.01
    planned = recipe.make_schedule(made, 9)
    rates = []
    for _ in range(9):
        rates.append(made.param_groups[0]["lr"])
        parameter.grad = torch.ones(2)
        made.step()
        planned.step() if len(rates) < 9 else None
    expected = {
        "constant": [0.1] * 9,
        "cosine": [0.05 * (1 + math.cos(math.pi * i / 9)) for i in range(9)],
        "step": [0.1] * 3 + [0.01] * 3 + [0.001] * 3,
    }
    if schedule in expected:
        np.testing.assert_allclose(rates, expected[schedule], rtol=1e-6)
    else:
        assert max(rates) == pytest.approx(0.1, rel=0.05)
        assert rates[0] < 0.01
        assert rates[-1] < 0.001
