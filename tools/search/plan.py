"""A choice for every site, and the pipeline that does it: text that anyone can run.

    simplify, prune each amount, recover, shrink-channels, substitutes, recover, exact or int8

Channels go first: a layer has its name until a substitute takes its place. What was pruned is
recovered block by block while the graph has the tensors of the original, under masks; the rest, and
all of it where that pays, end to end, `longer` where time is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ...ir.core.option_text.options import show_value
from .sites import Sites
from .treatments import FLOAT, Substitute, Treatment

Recovery = Literal["none", "blocks", "both", "longer"]

# Which channels go: those that their readers miss least. Its normal equations have as many columns
# as a layer sums over; where these are very many, a cheaper criterion has to do.
_CRITERIA = ("reconstruction", "activation")
_MOST_COLUMNS = 2304
# What stands before everything that is chosen: sites are those of the graph that it leaves.
BASE = "simplify"
# The closed form has done most of it.
_BLOCKS = "recover{epochs=4}"
# Of small networks and few samples an epoch is few steps: six leave much of the loss.
_EPOCHS: dict[Recovery, int] = {"both": 6, "longer": 60}


@dataclass(frozen=True)
class SitePlan:
    """What is done with each layer of the sites, and what part of each group's channels goes."""

    treatments: tuple[Treatment, ...]
    amounts: tuple[float, ...]

    @property
    def is_pruned(self) -> bool:
        """Say whether any channel goes."""
        return any(self.amounts)

    @property
    def is_substituted(self) -> bool:
        """Say whether any layer is replaced."""
        return any(treatment.substitute is not None for treatment in self.treatments)

    @property
    def learns(self) -> bool:
        """Say whether there is anything to recover."""
        return self.is_pruned or self.is_substituted

    def shape_text(self, sites: Sites, recovery: Recovery = "none") -> str:
        """Return the passes that prune, substitute and recover, which learn from all samples.

        Empty where there are none.
        """
        steps = [*self._prunings(sites)]
        end_to_end = [
            f"recover{{mode=end-to-end,epochs={epochs}}}"
            for kind, epochs in _EPOCHS.items()
            if kind == recovery
        ]
        if self.is_pruned:
            steps += [_BLOCKS] if recovery != "none" else []
            steps += [] if self.is_substituted else end_to_end
            steps += ["shrink-channels{measure=false}"]
        for substitute in dict.fromkeys(t.substitute for t in self.treatments):
            if substitute is not None:
                windowed = self._names(sites, substitute, windowed=True)
                others = self._names(sites, substitute, windowed=False)
                steps.append(substitute.text(windowed, others))
        if self.is_substituted:
            steps += end_to_end
        # What can be taken together is, so that the names which are left are those of the layers.
        return ",".join([BASE, *steps, BASE]) if steps else ""

    def numbers_text(self, sites: Sites, nodes: Mapping[str, Sequence[str]] | None = None) -> str:
        """Return the passes that choose the numbers, which look at some samples.

        `nodes`: the names of what stands for each layer behind the passes of `shape_text`; its own,
        by default.
        """
        named: dict[str, list[str]] = {}
        for site, treatment in zip(sites.layers, self.treatments, strict=True):
            own = [site.name] if nodes is None else nodes[site.name]
            named.setdefault(treatment.precision, []).extend(own)
        last = ["exact"]
        if named.get("int8"):
            left = [
                *dict.fromkeys(name for p, names in named.items() if p != "int8" for name in names)
            ]
            excluded = f",exclude={show_value(left)}" if left else ""
            last = [f"int8{{measure=false,guard=off{excluded}}}"]
        if named.get("weights4"):
            last.append(f"quantize-weights{{bits=4,only={show_value(named['weights4'])}}}")
        return ",".join(last)

    def _names(self, sites: Sites, substitute: Substitute, *, windowed: bool) -> list[str]:
        return [
            site.name
            for site, treatment in zip(sites.layers, self.treatments, strict=True)
            if treatment.substitute == substitute and site.is_windowed is windowed
        ]

    def _prunings(self, sites: Sites) -> list[str]:
        by_amount: dict[float, list[str]] = {}
        for group, amount in zip(sites.groups, self.amounts, strict=True):
            if amount:
                by_amount.setdefault(amount, []).append(group.name)
        criterion = criterion_of(sites)
        return [prune_text(amount, criterion, names) for amount, names in sorted(by_amount.items())]


def uniform(sites: Sites, treatment: Treatment = FLOAT, amount: float = 0.0) -> SitePlan:
    """Return the plan that does the same everywhere."""
    return SitePlan((treatment,) * len(sites.layers), (amount,) * len(sites.groups))


def criterion_of(sites: Sites) -> str:
    """Return what says which channels of a network with these sites go."""
    most = max((site.columns for site in sites.layers), default=0)
    return _CRITERIA[most > _MOST_COLUMNS]


def prune_text(amount: float, criterion: str, only: Sequence[str] = ()) -> str:
    """Return the pass that takes `amount` of the channels of each group that a layer names."""
    names = f",only={show_value(list(only))}" if only else ""
    return (
        f"prune{{criterion={criterion},granularity=channel,scope=layer,amount={amount:g}{names}}}"
    )
