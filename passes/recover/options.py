"""The options of `recover`, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from ...ir.core.errors import PassError
from ...ir.core.nearest import nearest
from .training.augment import Augmentation
from .training.recipe import OptimizerName, ScheduleName
from .training.session import BatchNormMode

if TYPE_CHECKING:
    from .recover import Recover


def check_options(options: Recover) -> None:
    """Raise PassError naming an option that is out of range, with what is allowed."""
    names = {
        "mode": ("blocks", "end-to-end", "both"),
        "optimizer": get_args(OptimizerName),
        "schedule": get_args(ScheduleName),
        "batchnorm": get_args(BatchNormMode),
    }
    for name, allowed in names.items():
        value = getattr(options, name)
        if value not in allowed:
            raise PassError(
                f"{name} is '{value}'{nearest(str(value), allowed)}; give one of "
                f"{', '.join(allowed)}"
            )
    for kind in options.augment:
        if kind not in get_args(Augmentation):
            raise PassError(
                f"augment names '{kind}'{nearest(kind, get_args(Augmentation))}; give any of "
                f"{', '.join(get_args(Augmentation))}"
            )
    least = {"distill": 0, "features": 0, "weight_decay": 0}
    for name, low in least.items():
        value = getattr(options, name)
        if not low <= value < float("inf"):
            raise PassError(f"{_option(name)} is {value}; give a number from {low} on")
    for name in ("temperature", "learning_rate"):
        value = getattr(options, name)
        if value is not None and not 0 < value < float("inf"):
            raise PassError(f"{_option(name)} is {value}; give a number above 0")
    if not 0 <= options.momentum < 1:
        raise PassError(f"momentum is {options.momentum}; give a number from 0 to below 1")
    for name in ("epochs", "steps", "batch"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise PassError(f"{name} is {value}; give a whole number from 1 on")
    if options.epochs is not None and options.steps is not None:
        raise PassError(
            f"epochs is {options.epochs} and steps is {options.steps}; give one of them"
        )
    if not (options.distill or options.features or options.labels or options.loss):
        raise PassError("distill and features are 0 and there are no labels: nothing to learn from")


def _option(name: str) -> str:
    return name.replace("_", "-")
