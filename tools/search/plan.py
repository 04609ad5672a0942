"""A choice for every site, and the pipeline that does it: text that anyone can run.

simplify, prune each amount, recover, shrink-channels, exact or int8 with what stays float
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...ir.core.option_text.options import show_value
from .sites import Sites

Precision = Literal["float", "int8"]
Recovery = Literal["none", "blocks", "both"]

CRITERION = "reconstruction"
# What stands before everything that is chosen: sites are those of the graph that it leaves.
BASE = "simplify"
_RECOVER: dict[Recovery, str] = {
    "none": "",
    "blocks": "recover",
    "both": "recover{mode=both,epochs=6}",
}


@dataclass(frozen=True)
class SitePlan:
    """The precision of each layer of `sites`, and what part of each group's channels goes."""

    precisions: tuple[Precision, ...]
    amounts: tuple[float, ...]

    @classmethod
    def uniform(cls, sites: Sites, precision: Precision, amount: float) -> SitePlan:
        """Return the plan that does the same everywhere."""
        return cls((precision,) * len(sites.layers), (amount,) * len(sites.groups))

    @property
    def is_pruned(self) -> bool:
        """Say whether any channel goes."""
        return any(self.amounts)

    @property
    def has_integers(self) -> bool:
        """Say whether any layer runs on integers."""
        return "int8" in self.precisions

    def pipeline(self, sites: Sites, recovery: Recovery = "none") -> str:
        """Return the pipeline as text."""
        steps = [BASE, *self._prunings(sites)]
        if self.is_pruned:
            steps += [*filter(None, [_RECOVER[recovery]]), "shrink-channels{measure=false}"]
        left = [
            site.name
            for site, precision in zip(sites.layers, self.precisions, strict=True)
            if precision == "float"
        ]
        if not self.has_integers:
            steps.append("exact")
        else:
            excluded = f",exclude={show_value(left)}" if left else ""
            steps.append(f"int8{{measure=false,guard=off{excluded}}}")
        return ",".join(steps)

    def _prunings(self, sites: Sites) -> list[str]:
        by_amount: dict[float, list[str]] = {}
        for group, amount in zip(sites.groups, self.amounts, strict=True):
            if amount:
                by_amount.setdefault(amount, []).append(group.name)
        return [prune_text(amount, names) for amount, names in sorted(by_amount.items())]


def prune_text(amount: float, only: Sequence[str] = (), criterion: str = CRITERION) -> str:
    """Return the pass that takes `amount` of the channels of each group that a layer names."""
    names = f",only={show_value(list(only))}" if only else ""
    return (
        f"prune{{criterion={criterion},granularity=channel,scope=layer,amount={amount:g}{names}}}"
    )
