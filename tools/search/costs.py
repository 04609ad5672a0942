"""From what was measured of whole networks to what each choice costs in its place.

All sites take a candidate at once: a network for each treatment and amount, whose profile tells
what every layer takes in its surroundings. A layer whose channels read and made are left at unlike
parts a and b takes

    t(a, b) = sqrt(t(a, a) t(b, b))

since its multiply-accumulates go by the product of both. What stands between integers and floats
takes time by the number of values, as a network shows in which precisions alternate.

A substitute is not chosen for a layer around which channels go: of those that are left each carries
more, so that what a substitute loses with all of them, which is measured, says little of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .plan import SitePlan
from .sites import LayerSite, Sites
from .solver import Array, ChoiceProblem, Term
from .treatments import BYTES, TREATMENTS, Treatment


@dataclass(frozen=True, kw_only=True)
class SiteCosts:
    """What was measured, over `amounts`, of which the first is 0, and `TREATMENTS`.

    `left` [amounts, groups]: the part of the channels that is left. `seconds` [treatments, amounts,
    layers]. `parameters` [treatments, layers]: numbers of the weights. `noise` [treatments, layers]
    and `pruned` [amounts, groups]: of one site alone; infinite where that cannot be. `crossing`:
    seconds of a value between integers and floats. `tensors`: names of those of the graph, between
    which the sites lie.
    """

    sites: Sites
    amounts: tuple[float, ...]
    left: Array
    seconds: Array
    parameters: Array
    noise: Array
    pruned: Array
    crossing: float
    tensors: frozenset[str] = frozenset()


class ChoiceCosts:
    """The problem of `costs`: variables are the treatments of layers, then the amounts of groups.

    A layer has the treatments that can be, and a group the amounts that leave it other numbers of
    channels than smaller ones do. `scales`: what the noise of each kind is multiplied by.
    """

    def __init__(self, costs: SiteCosts, scales: Mapping[str, float] | None = None) -> None:
        self._costs = costs
        self._scales = dict(scales or {})
        sites = costs.sites
        self._options = [_useful(costs, i) for i in range(len(sites.layers))]
        self._levels = [_distinct(costs.left[:, g]) for g in range(len(sites.groups))]
        sizes = (*map(len, self._options), *map(len, self._levels))
        self.problem = ChoiceProblem(sizes, (*self._alone(), *self._layers(), *self._borders()))

    def plan(self, choice: Sequence[int]) -> SitePlan:
        """Return the plan that a choice of the problem is."""
        count = len(self._options)
        return SitePlan(
            tuple(
                TREATMENTS[options[k]]
                for options, k in zip(self._options, choice[:count], strict=True)
            ),
            tuple(
                self._costs.amounts[levels[k]]
                for levels, k in zip(self._levels, choice[count:], strict=True)
            ),
        )

    def choice(self, plan: SitePlan) -> tuple[int, ...]:
        """Return the choice that is nearest to `plan`: float where a treatment cannot be."""
        places = (TREATMENTS.index(treatment) for treatment in plan.treatments)
        treatments = (
            options.index(place) if place in options else 0
            for options, place in zip(self._options, places, strict=True)
        )
        amounts = self._costs.amounts
        levels = (
            int(np.argmin([abs(amounts[level] - amount) for level in own]))
            for own, amount in zip(self._levels, plan.amounts, strict=True)
        )
        return (*treatments, *levels)

    def noise(self, plan: SitePlan) -> dict[str, float]:
        """Return the sums of noise of single sites, unscaled, by what makes it."""
        choice, found = self.choice(plan), dict.fromkeys(KINDS, 0.0)
        count = len(self._options)
        for i, (options, k) in enumerate(zip(self._options, choice[:count], strict=True)):
            for kind, noise in self._parts(options[k], i).items():
                found[kind] += noise
        for g, (levels, k) in enumerate(zip(self._levels, choice[count:], strict=True)):
            found["pruned"] += float(self._costs.pruned[levels[k], g])
        return found

    def _parts(self, treatment: int, layer: int) -> dict[str, float]:
        """Return the noise of a treatment by what makes it: the numbers, and the substitute."""
        what = TREATMENTS[treatment]
        plain = TREATMENTS.index(Treatment(what.precision))
        numbers = float(self._costs.noise[plain, layer])
        if what.substitute is None:
            return {what.precision: numbers} if plain else {}
        floats = TREATMENTS.index(Treatment("float", what.substitute))
        rest = {"substituted": float(self._costs.noise[floats, layer])}
        return {**rest, what.precision: numbers} if plain else rest

    def _alone(self) -> list[Term]:
        costs, found = self._costs, []
        for i, options in enumerate(self._options):
            table = np.zeros((3, len(options)))
            for k, option in enumerate(options):
                parts = self._parts(option, i)
                table[0, k] = sum(self._scale(kind) * noise for kind, noise in parts.items())
            found.append(Term((i,), table))
        for g, levels in enumerate(self._levels):
            table = np.zeros((3, len(levels)))
            table[0] = self._scale("pruned") * costs.pruned[levels, g]
            found.append(Term((len(self._options) + g,), table))
        return found

    def _scale(self, kind: str) -> float:
        return self._scales.get(kind, 1.0)

    def _layers(self) -> list[Term]:
        return [
            self._layer(i, site, read, made, part * share)
            for i, site in enumerate(self._costs.sites.layers)
            for read, part in (site.makes if site.carries else site.reads)
            for made, share in (((read, 1.0),) if site.carries else site.makes)
        ]

    def _layer(self, i: int, site: LayerSite, read: int, made: int, weight: float) -> Term:
        """Return seconds and bytes of a part of layer `i`, from one group to another."""
        count = len(self._options)
        varied = (g for g in (read, made) if g >= 0 and len(self._levels[g]) > 1)
        groups = tuple(dict.fromkeys(varied))
        seconds, left = self._costs.seconds[:, :, i], self._costs.left
        options = self._options[i]
        sizes = (len(options), *(len(self._levels[g]) for g in groups))
        table = np.zeros((3, *sizes))
        for entry in np.ndindex(*sizes):
            treatment = options[entry[0]]
            at = [self._levels[g][k] for g, k in zip(groups, entry[1:], strict=True)]
            times = [seconds[treatment, level] for level in at] or [seconds[treatment, 0]]
            parts = [left[level, g] for g, level in zip(groups, at, strict=True)]
            if any(at) and TREATMENTS[treatment].substitute is not None:
                table[(0, *entry)] = np.inf
            table[(1, *entry)] = weight * float(np.prod(times)) ** (1 / len(times))
            size = self._costs.parameters[treatment, i] * float(np.prod(parts))
            table[(2, *entry)] = weight * size * BYTES[TREATMENTS[treatment].precision]
        return Term((i, *(count + g for g in groups)), table)

    def _borders(self) -> list[Term]:
        found = []
        for a, b, values in self._costs.sites.edges:
            if a == b:
                continue
            unlike = [
                [_is_integer(k) != _is_integer(m) for m in self._options[b]]
                for k in self._options[a]
            ]
            if np.any(unlike):
                table = np.zeros((3, *np.shape(unlike)))
                table[1] = self._costs.crossing * values * np.array(unlike)
                found.append(Term((a, b), table))
        return found


# What makes noise: each kind is multiplied by how far its sum is from that of all sites together.
KINDS = ("int8", "weights4", "substituted", "pruned")


def _is_integer(treatment: int) -> bool:
    return TREATMENTS[treatment].precision == "int8"


def _useful(costs: SiteCosts, layer: int) -> list[int]:
    """Return the treatments of a layer that can be and are not worse than another in everything."""
    noise, seconds = costs.noise[:, layer], costs.seconds[:, 0, layer]
    bytes_ = costs.parameters[:, layer] * [BYTES[each.precision] for each in TREATMENTS]
    rows = np.stack([noise, seconds, bytes_], axis=1)
    found = [0]
    for k in range(1, len(TREATMENTS)):
        # Beside integers, int8 saves what crosses, so that it stays.
        alike = [m for m in range(len(TREATMENTS)) if m != k and _is_integer(m) == _is_integer(k)]
        beaten = any((rows[m] <= rows[k]).all() and (rows[m] < rows[k]).any() for m in alike)
        if np.isfinite(rows[k]).all() and not beaten:
            found.append(k)
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

    `whole`: what it takes; `seconds` [treatments, layers]: what its layers take among their like.
    """
    chosen = [TREATMENTS.index(treatment) for treatment in plan.treatments]
    layers = float(sum(seconds[k, i] for i, k in enumerate(chosen)))
    values = sum(
        size for a, b, size in sites.edges if _is_integer(chosen[a]) != _is_integer(chosen[b])
    )
    return max(0.0, whole - layers) / values if values else 0.0
