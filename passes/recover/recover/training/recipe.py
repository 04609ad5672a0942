"""Optimizer and schedule, both of torch.optim, and the order of the samples."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import torch

OptimizerName = Literal["adam", "adamw", "sgd", "rmsprop"]
ScheduleName = Literal["constant", "cosine", "step", "onecycle"]

_DROPS = 3  # the step schedule divides the rate by ten after each third


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """How a module trains: for `steps`, or so many `epochs` where that is None."""

    optimizer: OptimizerName
    schedule: ScheduleName
    learning_rate: float
    weight_decay: float
    momentum: float
    batch: int
    epochs: int
    steps: int | None
    seed: int

    def total(self, samples: int) -> int:
        """Return the number of steps on so many samples."""
        return self.epochs * self.steps_of_epoch(samples) if self.steps is None else self.steps

    def steps_of_epoch(self, samples: int) -> int:
        """Return the number of steps in which every sample is seen."""
        return math.ceil(samples / self.batch)

    def make_optimizer(
        self, parameters: Iterable[torch.nn.Parameter] | Iterable[dict[str, Any]]
    ) -> torch.optim.Optimizer:
        """Return the optimizer of `parameters`, or of groups of them that say what is their own."""
        from torch import optim

        rate: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        match self.optimizer:
            case "adam":
                return optim.Adam(parameters, betas=(self.momentum, 0.999), **rate)
            case "adamw":
                return optim.AdamW(parameters, betas=(self.momentum, 0.999), **rate)
            case "sgd":
                return optim.SGD(
                    parameters, momentum=self.momentum, nesterov=self.momentum > 0, **rate
                )
            case "rmsprop":
                return optim.RMSprop(parameters, momentum=self.momentum, **rate)

    def make_schedule(
        self, optimizer: torch.optim.Optimizer, total: int
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """Return the schedule, one step of which is one of the optimizer."""
        from torch.optim import lr_scheduler

        match self.schedule:
            case "cosine":
                return lr_scheduler.CosineAnnealingLR(optimizer, total)
            case "step":
                return lr_scheduler.StepLR(optimizer, math.ceil(total / _DROPS))
            case "onecycle":
                return lr_scheduler.OneCycleLR(optimizer, self.learning_rate, total_steps=total)
            case "constant":
                return lr_scheduler.ConstantLR(optimizer, 1.0, 1)

    def batch_at(self, step: int, samples: int, of: int) -> np.ndarray[Any, Any]:
        """Return the indices of minibatch `step`, a multiple of `of` of them.

        They depend on seed and step alone, so that training goes on anywhere as if never stopped.
        """
        epoch, place = divmod(step, self.steps_of_epoch(samples))
        order = np.random.default_rng([self.seed, 2, epoch]).permutation(samples)
        size = min(self.batch, samples)
        size = math.ceil(size / of) * of
        start = place * self.batch
        return np.take(order, np.arange(start, start + size), mode="wrap")
