"""The options of `prune`, checked, and the amounts that they ask for."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from ....ir.core.errors import RefusedError
from ....ir.core.nearest import nearest
from ...engine.node_names import NodeSelection
from .criteria.criterion import Loss
from .criteria.table import CRITERIA

_RATIO = re.compile(r"(\d+):(\d+)")
GRANULARITIES = ("weight", "kernel", "channel")
_HALF = 0.5

Ratio = tuple[int, int] | None
Of = Literal["weights", "channels", "macs"]


@dataclass(frozen=True, kw_only=True)
class PruneOptions(NodeSelection):
    """How much is pruned, of what, and by which scores; `Prune` says what each option is."""

    criterion: str = "l1"
    granularity: str = "weight"
    amount: float | None = None
    of: Of | None = None
    scope: Literal["global", "layer"] = "global"
    steps: int = 1
    step: int | None = None
    schedule: Literal["cubic", "linear"] = "cubic"
    across_layernorm: bool = False
    multiple: int | None = None
    least: float | None = None
    labels: str | None = None
    loss: Loss | None = None

    def __post_init__(self) -> None:
        """Check the options; raises RefusedError naming one that does not fit."""
        ratio = read_ratio(self.granularity)
        check_criterion(self.criterion, self.granularity)
        check_amount(self.amount, ratio, self.granularity)
        check_steps(self.steps, self.step, ratio, self.granularity)
        check_unit(self.of, self.granularity)
        check_multiple(self.multiple, self.granularity)
        check_across(self.across_layernorm, self.granularity)
        check_least(self.least)


def read_ratio(granularity: str) -> Ratio:
    """Return (N, M) of `N:M`, or None for the name of a granularity; raises RefusedError."""
    if granularity in GRANULARITIES:
        return None
    found = _RATIO.fullmatch(granularity)
    if found is None:
        raise RefusedError(
            f"granularity is '{granularity}'{nearest(granularity, GRANULARITIES)}; or N:M, such as "
            "2:4: of 4 input channels in a row 2 weights stay"
        )
    stay, of = int(found[1]), int(found[2])
    if not 0 < stay < of:
        raise RefusedError(
            f"granularity is {granularity}, so that {stay} of {of} weights stay; give 0 < N < M, "
            "such as 2:4"
        )
    return stay, of


def check_criterion(criterion: str, granularity: str) -> None:
    """Raise RefusedError for an unknown criterion, or one that scores only channels."""
    if criterion not in CRITERIA:
        raise RefusedError(f"criterion is '{criterion}'{nearest(criterion, CRITERIA)}")
    if CRITERIA[criterion].channels_only and granularity != "channel":
        others = [name for name, kind in CRITERIA.items() if not kind.channels_only]
        raise RefusedError(
            f"criterion {criterion} scores whole channels, and granularity is {granularity}; give "
            f"granularity=channel, or one of the criteria {', '.join(others)}"
        )


def check_amount(amount: float | None, ratio: Ratio, granularity: str) -> None:
    """Raise RefusedError where `amount` is no part that leaves something."""
    if amount is None:
        return
    if ratio is not None:
        raise RefusedError(f"granularity {granularity} says how much is pruned; leave amount out")
    if math.isnan(amount) or not 0 <= amount < 1:
        why = "; pruning everything leaves no network" if amount >= 1 else ""
        raise RefusedError(f"amount is {amount}; give a part in [0, 1), such as 0.5{why}")


def check_steps(steps: int, step: int | None, ratio: Ratio, granularity: str) -> None:
    """Raise RefusedError where there is no such step."""
    if steps < 1:
        raise RefusedError(f"steps is {steps}; give 1 or more")
    if step is not None and not 1 <= step <= steps:
        raise RefusedError(f"step is {step}, and steps is {steps}; give one from 1 to {steps}")
    if steps > 1 and ratio is not None:
        raise RefusedError(f"granularity {granularity} is pruned at once; leave steps out")


def check_unit(of: str | None, granularity: str) -> None:
    """Raise RefusedError where an amount of `of` says nothing for the granularity."""
    if of not in (None, "weights", "channels", "macs"):
        raise RefusedError(f"of is '{of}'{nearest(str(of), ('weights', 'channels', 'macs'))}")
    if granularity != "channel" and of not in (None, "weights"):
        raise RefusedError(
            f"of is {of}, and granularity is {granularity}; give an amount of {of} with "
            "granularity=channel"
        )


def check_multiple(multiple: int | None, granularity: str) -> None:
    """Raise RefusedError where `multiple` says nothing."""
    if multiple is None:
        return
    if multiple < 1:
        raise RefusedError(f"multiple is {multiple}; give 1 or more")
    if granularity != "channel":
        raise RefusedError(
            f"multiple is {multiple}, and granularity is {granularity}; it rounds numbers of "
            "channels, with granularity=channel"
        )


def check_across(across_layernorm: bool, granularity: str) -> None:
    """Raise RefusedError where `across_layernorm` says nothing."""
    if across_layernorm and granularity != "channel":
        raise RefusedError(
            f"across-layernorm is true, and granularity is {granularity}; it lets channels go, "
            "with granularity=channel"
        )


def check_least(least: float | None) -> None:
    """Raise RefusedError where `least` is no part of one."""
    if least is not None and not 0 <= least <= 1:
        raise RefusedError(f"least is {least}; give a part in [0, 1], such as 0.1")


def amounts(options: PruneOptions) -> list[float]:
    """Return the amounts to reach, one after the other.

    cubic: amount (1 - (1 - step / steps)^3), fast at first, while much is redundant (Zhu and Gupta,
    "To prune, or not to prune", 2017, equation 1); linear: amount step / steps.
    """
    amount = _HALF if options.amount is None else options.amount
    steps = range(1, options.steps + 1) if options.step is None else (options.step,)
    power = 3 if options.schedule == "cubic" else 1
    return [
        amount if step == options.steps else amount * (1 - (1 - step / options.steps) ** power)
        for step in steps
    ]
