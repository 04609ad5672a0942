"""From what was measured of whole networks to what each choice costs in its place.

All sites take a candidate at once: a network for each precision and amount, whose profile tells
what every layer takes in its surroundings. A layer whose channels read and made are left at unlike
parts a and b takes

    t(a, b) = sqrt(t(a, a) t(b, b))

since its multiply-accumulates go by the product of both. What stands between integers and floats
takes time by the number of values, as a network shows in which precisions alternate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .plan import Precision, SitePlan
from .sites import LayerSite, Sites
from .solver import Array, ChoiceProblem, Term

PRECISIONS: tuple[Precision, ...] = ("float", "int8")
_BYTES = (4.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class SiteCosts:
    """What was measured, over `amounts`, of which the first is 0.

    `left` [amounts, groups]: the part of the channels that is left. `seconds` [precisions, amounts,
    layers], `quantized` [layers] and `pruned` [amounts, groups]: noise of one site alone; infinite
    where that cannot be. `crossing`: seconds of a value between integers and floats.
    """

    sites: Sites
    amounts: tuple[float, ...]
    left: Array
    seconds: Array
    quantized: Array
    pruned: Array
    crossing: float

    def choices(self) -> ChoiceCosts:
        """Return what can be chosen, as a problem."""
        return ChoiceCosts(self)


class ChoiceCosts:
    """The problem of `costs`: variables are the precisions of layers, then the amounts of groups.

    A group has the amounts that leave it other numbers of channels than smaller ones do.
    """

    def __init__(self, costs: SiteCosts, scales: Mapping[str, float] | None = None) -> None:
        self._costs = costs
        self._scales = {"quantized": 1.0, "pruned": 1.0, **(scales or {})}
        sites = costs.sites
        self._levels = [_distinct(costs.left[:, g]) for g in range(len(sites.groups))]
        self._precisions = [1 + int(np.isfinite(noise)) for noise in costs.quantized]
        sizes = (*self._precisions, *map(len, self._levels))
        self.problem = ChoiceProblem(sizes, (*self._alone(), *self._layers(), *self._borders()))

    def plan(self, choice: Sequence[int]) -> SitePlan:
        """Return the plan that a choice of the problem is."""
        sites = self._costs.sites
        count = len(sites.layers)
        return SitePlan(
            tuple(PRECISIONS[k] for k in choice[:count]),
            tuple(
                self._costs.amounts[levels[k]]
                for levels, k in zip(self._levels, choice[count:], strict=True)
            ),
        )

    def choice(self, plan: SitePlan) -> tuple[int, ...]:
        """Return the choice that is nearest to `plan`."""
        precisions = (
            min(PRECISIONS.index(p), most - 1)
            for p, most in zip(plan.precisions, self._precisions, strict=True)
        )
        amounts = self._costs.amounts
        levels = (
            int(np.argmin([abs(amounts[level] - amount) for level in own]))
            for own, amount in zip(self._levels, plan.amounts, strict=True)
        )
        return (*precisions, *levels)

    def noise(self, plan: SitePlan) -> dict[str, float]:
        """Return the sums of noise of single sites, unscaled, by what makes it."""
        choice = self.choice(plan)
        count = len(self._costs.sites.layers)
        integers = [i for i in range(count) if choice[i]]
        groups = enumerate(choice[count:])
        return {
            "quantized": float(self._costs.quantized[integers].sum()),
            "pruned": float(sum(self._costs.pruned[self._levels[g][k], g] for g, k in groups)),
        }

    def _alone(self) -> list[Term]:
        costs, found = self._costs, []
        for i, noise in enumerate(costs.quantized):
            table = np.zeros((3, self._precisions[i]))
            if np.isfinite(noise):
                table[0, 1] = self._scales["quantized"] * noise
            found.append(Term((i,), table))
        for g, levels in enumerate(self._levels):
            table = np.zeros((3, len(levels)))
            table[0] = self._scales["pruned"] * costs.pruned[levels, g]
            found.append(Term((len(costs.sites.layers) + g,), table))
        return found

    def _layers(self) -> list[Term]:
        return [
            self._layer(i, site, read, made, part * share)
            for i, site in enumerate(self._costs.sites.layers)
            for read, part in (site.makes if site.carries else site.reads)
            for made, share in (((read, 1.0),) if site.carries else site.makes)
        ]

    def _layer(self, i: int, site: LayerSite, read: int, made: int, weight: float) -> Term:
        """Return seconds and bytes of a part of layer `i`, from one group to another."""
        count = len(self._costs.sites.layers)
        groups = tuple(
            dict.fromkeys(g for g in (read, made) if g >= 0 and len(self._levels[g]) > 1)
        )
        seconds, left = self._costs.seconds[:, :, i], self._costs.left
        sizes = (self._precisions[i], *(len(self._levels[g]) for g in groups))
        table = np.zeros((3, *sizes))
        for entry in np.ndindex(*sizes):
            precision, *levels = entry
            at = [self._levels[g][k] for g, k in zip(groups, levels, strict=True)]
            times = [seconds[precision, level] for level in at] or [seconds[precision, 0]]
            parts = [left[level, g] for g, level in zip(groups, at, strict=True)]
            table[(1, *entry)] = weight * float(np.prod(times)) ** (1 / len(times))
            size = site.parameters * float(np.prod(parts)) * _BYTES[precision]
            table[(2, *entry)] = weight * size
        return Term((i, *(count + g for g in groups)), table)

    def _borders(self) -> list[Term]:
        found = []
        for a, b, values in self._costs.sites.edges:
            if a == b or 1 in (self._precisions[a], self._precisions[b]):
                continue
            table = np.zeros((3, 2, 2))
            table[1, 0, 1] = table[1, 1, 0] = self._costs.crossing * values
            found.append(Term((a, b), table))
        return found


def _distinct(left: Array) -> list[int]:
    """Return the amounts that leave other numbers of channels than smaller ones do."""
    found = [0]
    for level in range(1, len(left)):
        if left[level] < left[found[-1]]:
            found.append(level)
    return found


def seconds_of(profile: Mapping[str, Any]) -> Array:
    """Return what each layer takes so that they sum to the whole, which was timed by itself.

    What belongs to no layer is theirs by what they take; where that is less than the runtime's
    clock tells apart, alike.
    """
    seconds = np.array(profile["seconds"], np.float64)
    if not seconds.any():
        seconds = np.ones(len(seconds))
    return np.asarray(seconds * (float(profile["whole"]) / float(seconds.sum())))


def crossing_of(sites: Sites, plan: SitePlan, whole: float, seconds: Array) -> float:
    """Return the seconds of a value that crosses, from a network in which precisions alternate.

    `whole`: what it takes; `seconds` [precisions, layers]: what its layers take among their like.
    """
    chosen = [PRECISIONS.index(p) for p in plan.precisions]
    layers = float(sum(seconds[p, i] for i, p in enumerate(chosen)))
    values = sum(size for a, b, size in sites.edges if chosen[a] != chosen[b])
    return max(0.0, whole - layers) / values if values else 0.0
