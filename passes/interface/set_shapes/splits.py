"""Axes that a Reshape takes apart in two, of which one part stays: windows, patches, cells, grids.

[1, 32, 32, C]  ->  [1, 16, 2, 16, 2, C]     as many patches of 2 as there are; or 16 of any size

One size says nothing of which. Several do: a network that takes 32 apart as 16 * 2, and 16 as
8 * 2, has patches of 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

FIRST, LAST = 0, -1


@dataclass(frozen=True, order=True)
class Split:
    """A size of `first` times `last`, of which one stays where their product changes.

    `whole`: whether it looked untouched, as where one window filled its row.
    """

    first: int
    last: int
    whole: bool = False

    @property
    def size(self) -> int:
        """The size that is taken apart."""
        return self.first * self.last

    def part(self, place: int) -> int:
        """Return one of the parts."""
        return self.first if place == FIRST else self.last


ONES = Split(1, 1, whole=True)  # of two axes, the one that stays one is the other


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Which part of a split stays: sizes that do, by place, and what holds for the rest.

    `given`: sizes that stay in any place, as a person says, before all others.
    `default`: the place of the part that stays where nothing else says so; None to leave it open.
    `windowed`: on which side (-1, 1) of a row that one window may fill their number stands, to ask
    about it; 0 for none. `seen`: the splits that
    were asked about, to which one adds, each with the place that was known all the same, or None.
    """

    stay: frozenset[tuple[int, int]] = frozenset()  # (size, place)
    given: frozenset[int] = frozenset()
    default: int | None = None
    windowed: int = 0
    chosen: Mapping[Split, int] = field(default_factory=dict)
    seen: dict[Split, int | None] = field(default_factory=dict)

    def of(self, split: Split) -> int | None:
        """Return the place of the part of `split` that stays, None where that is open."""
        asked = not split.whole or split == ONES or self.windowed == (-1 if split.first == 1 else 1)
        if asked:
            self.seen.setdefault(split, None)
        found = self.told(split)
        if found is not None or not asked:
            return found
        return self.chosen.get(split, self.default)

    def told(self, split: Split) -> int | None:
        """Return what sizes that stay say of `split`, None where they say nothing, or both."""
        places = [place for place in (FIRST, LAST) if split.part(place) in self.given]
        if not places:
            places = [place for place in (FIRST, LAST) if (split.part(place), place) in self.stay]
        return places[0] if len(places) == 1 else None

    def with_recurring(self, splits: Mapping[Split, int | None]) -> Parts:
        """Return these with what `splits` show: sizes that recur in one place of several of them.

        Of a split whose parts both recur, nothing is said.
        """
        totals: dict[tuple[int, int], set[int]] = {}
        for split, known in splits.items():
            for place in () if split == ONES else (FIRST, LAST) if known is None else (known,):
                totals.setdefault((split.part(place), place), set()).add(split.size)
        recurring = frozenset(key for key, sizes in totals.items() if len(sizes) > 1)
        return replace(self, stay=self.stay | recurring)


def told_of(parts: Parts) -> list[str]:
    """Return what a person is told of sizes that stay: each with where it stands."""
    found: dict[int, list[Split]] = {}
    for split in parts.seen:
        place = parts.told(split)
        if place is not None and not split.whole:
            found.setdefault(split.part(place), []).append(split)
    return [
        f"{_listed(splits)}: the {size} stays, which recurs; windows=[SIZE] if it is another"
        for size, splits in found.items()
        if size not in parts.given
    ]


def _listed(splits: Iterable[Split]) -> str:
    *rest, last = [f"{one.size} = {one.first} * {one.last}" for one in splits]
    return f"{', '.join(rest)} and {last}" if rest else last
