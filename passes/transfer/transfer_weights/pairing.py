"""Which weight of one model goes where in another: by name, or by its place in the network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import onnx_graphsurgeon as gs

from ....ir.core.errors import RefusedError
from .parameters import NamedWeight
from .places import Places

By = Literal["name", "place"]


@dataclass(frozen=True)
class Pairing:
    """The source of each target weight, by the name of the latter, or why there is none."""

    sources: Mapping[str, NamedWeight]
    reasons: Mapping[str, str]


def read_rename(rename: Sequence[str]) -> list[tuple[str, str]]:
    """Read `from=to` prefixes."""
    found = []
    for text in rename:
        old, sign, new = text.partition("=")
        if not sign or (not old and not new):
            raise RefusedError(
                f"rename has '{text}'; give prefixes as from=to, such as 'backbone.=' or "
                "'model.=net.'"
            )
        found.append((old, new))
    return found


def renamed(name: str, prefixes: Sequence[tuple[str, str]]) -> str:
    """Return `name` with the first prefix that it has replaced."""
    for old, new in prefixes:
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def pair(
    target: gs.Graph,
    source: gs.Graph,
    targets: Sequence[NamedWeight],
    sources: Mapping[str, NamedWeight],
    by: By,
) -> Pairing:
    """Find the source of each of `targets`; `sources` are by the name that they go under.

    A name that an exporter counted up counts only where the two models have all such names, with
    the same shapes, in common: then one exporter wrote both of one network.
    """
    made_up = _made_up(targets) == _made_up(sources.values())
    pairs: dict[str, NamedWeight] = {}
    reasons: dict[str, str] = {}
    for each in targets:
        found = sources.get(each.name)
        if found is not None and (each.is_named or made_up):
            pairs[each.name] = found
        elif f"{each.name}_folded" in sources:
            reasons[each.name] = "the source has it with a normalization folded in"
        elif not each.is_named:
            reasons[each.name] = "its name was made up by an exporter; by=place may find its source"
        else:
            reasons[each.name] = "the source has no weight of this name"
    if by == "place":
        _pair_places(target, source, targets, list(sources.values()), pairs, reasons)
    return Pairing(pairs, reasons)


def _pair_places(
    target: gs.Graph,
    source: gs.Graph,
    targets: Sequence[NamedWeight],
    sources: Sequence[NamedWeight],
    pairs: dict[str, NamedWeight],
    reasons: dict[str, str],
) -> None:
    places = Places()
    here, there = places.of(target, targets), places.of(source, sources)
    used = {id(each.tensor) for each in pairs.values()}
    found = {id(each.tensor): place for place, each in here.items()}
    for each in targets:
        if each.name in pairs:
            continue
        place = found.get(id(each.tensor))
        match = None if place is None else there.get(place)
        if place is None:
            reasons[each.name] = "another weight stands in a place like its own"
        elif match is None:
            reasons[each.name] = (
                "no weight of the source, or several, stand in a place like its own"
            )
        elif id(match.tensor) not in used:
            pairs[each.name] = match
            del reasons[each.name]


def _made_up(parameters: Iterable[NamedWeight]) -> set[tuple[str, str]]:
    return {(each.name, each.size) for each in parameters if not each.is_named}
