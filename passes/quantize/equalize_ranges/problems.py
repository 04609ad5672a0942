"""Cells that share a tensor have to be scaled together: the problems to be solved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...analysis.channels.cells import Array, Cells
from .noise import Noise
from .scalable_channels import ScalableLayer
from .solve import LayerNoise, ScaleGroup


@dataclass(frozen=True)
class ScaledLayer:
    """A layer with its noise, and the cells it reads and makes, united ones under one number."""

    reached: ScalableLayer
    noise: Noise | None
    before: Array  # [C]
    after: Array  # [M]


@dataclass(frozen=True)
class ScaleProblem:
    """A group of cells and every layer that has to change with them."""

    group: ScaleGroup
    cells: Array
    layers: tuple[ScaledLayer, ...]


def scale_problems(
    members: Sequence[ScaledLayer], free: Array, most: Array, *, coupled: bool
) -> list[ScaleProblem]:
    """Return the groups of free cells; with `coupled`, the layers that make them count too."""
    tie = Cells()
    tie.fresh(len(free))
    for member in members:
        own = np.unique(member.before[free[member.before]])
        if len(own) and member.noise is not None:
            tie.unite(own[1:], np.full(len(own) - 1, own[0]))
    roots = tie.roots()
    readers: dict[int, list[ScaledLayer]] = {}
    makers: dict[int, list[ScaledLayer]] = {}
    cells: dict[int, Array] = {}
    for member in members:
        for found, own in ((readers, member.before), (makers, member.after)):
            for root in np.unique(roots[own[free[own]]]).tolist():
                found.setdefault(root, []).append(member)
    order = np.argsort(roots[free.nonzero()[0]], kind="stable")
    numbers = free.nonzero()[0][order]
    for part in np.split(numbers, np.flatnonzero(np.diff(roots[numbers])) + 1):
        if len(part):
            cells[int(roots[part[0]])] = part
    problems = []
    for root, reading in readers.items():
        making = makers.get(root, [])
        problems.append(_problem(cells[root], reading, making, most, coupled))
    return problems


def _problem(
    own: Array, reading: list[ScaledLayer], making: list[ScaledLayer], most: Array, coupled: bool
) -> ScaleProblem:
    taking_part = [*reading, *(making if coupled else ())]
    every = np.unique(np.concatenate([own, *(c for m in taking_part for c in (m.before, m.after))]))
    sites = {
        id(m): LayerNoise(
            m.noise, np.searchsorted(every, m.before), np.searchsorted(every, m.after)
        )
        for m in taking_part
        if m.noise is not None
    }
    group = ScaleGroup(
        every,
        np.isin(every, own),
        most[every],
        tuple(sites[id(m)] for m in reading if id(m) in sites),
        tuple(sites[id(m)] for m in making if coupled and id(m) in sites),
    )
    layers = tuple({id(m): m for m in (*making, *reading)}.values())
    return ScaleProblem(group, own, layers)
