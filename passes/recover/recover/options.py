"""The options of `recover`, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ....ir.core.errors import RefusedError
from ....ir.core.nearest import nearest
from .training.augment import Augmentation
from .training.losses import Loss
from .training.recipe import OptimizerName, ScheduleName
from .training.session import BatchNormMode


@dataclass(frozen=True, kw_only=True)
class RecoverOptions:
    """How a compressed graph is trained; `Recover` says what each option is."""

    mode: Literal["blocks", "end-to-end", "both"] = "blocks"
    teacher: str | None = None
    labels: str | None = None
    distill: float = 1.0
    temperature: float = 4.0
    features: float = 0.0
    optimizer: OptimizerName = "adam"
    learning_rate: float | None = None
    weight_decay: float = 0.0
    momentum: float = 0.9
    schedule: ScheduleName = "cosine"
    epochs: int | None = None
    steps: int | None = None
    batch: int | None = None
    augment: tuple[Augmentation, ...] = ()
    batchnorm: BatchNormMode = "reestimate"
    checkpoint: str | None = None
    loss: Loss | None = None

    def __post_init__(self) -> None:
        _check_options(self)

    def extra_feeds(self) -> tuple[str, ...]:
        """Return the entry of the feeds that has the labels."""
        return () if self.labels is None else (self.labels,)


def _check_options(options: RecoverOptions) -> None:
    """Raise RefusedError naming an option that is out of range, with what is allowed."""
    names = {
        "mode": ("blocks", "end-to-end", "both"),
        "optimizer": get_args(OptimizerName),
        "schedule": get_args(ScheduleName),
        "batchnorm": get_args(BatchNormMode),
    }
    for name, allowed in names.items():
        value = getattr(options, name)
        if value not in allowed:
            raise RefusedError(
                f"{name} is '{value}'{nearest(str(value), allowed)}; give one of "
                f"{', '.join(allowed)}"
            )
    for kind in options.augment:
        if kind not in get_args(Augmentation):
            raise RefusedError(
                f"augment names '{kind}'{nearest(kind, get_args(Augmentation))}; give any of "
                f"{', '.join(get_args(Augmentation))}"
            )
    least = {"distill": 0, "features": 0, "weight_decay": 0}
    for name, low in least.items():
        value = getattr(options, name)
        if not low <= value < float("inf"):
            raise RefusedError(f"{_option(name)} is {value}; give a number from {low} on")
    for name in ("temperature", "learning_rate"):
        value = getattr(options, name)
        if value is not None and not 0 < value < float("inf"):
            raise RefusedError(f"{_option(name)} is {value}; give a number above 0")
    if not 0 <= options.momentum < 1:
        raise RefusedError(f"momentum is {options.momentum}; give a number from 0 to below 1")
    for name in ("epochs", "steps", "batch"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise RefusedError(f"{name} is {value}; give a whole number from 1 on")
    if options.epochs is not None and options.steps is not None:
        raise RefusedError(
            f"epochs is {options.epochs} and steps is {options.steps}; give one of them"
        )
    if not (options.distill or options.features or options.labels or options.loss):
        raise RefusedError(
            "distill and features are 0 and there are no labels: nothing to learn from"
        )


def _option(name: str) -> str:
    return name.replace("_", "-")
