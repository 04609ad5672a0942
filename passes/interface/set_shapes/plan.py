"""What has to change in a graph for inputs of other sizes, found on copies of it.

One copy has the sizes that the graph was exported at, one those that it is to have. Where a node
holds a size that has changed, it is mended in the second, and what follows from there is inferred
anew, until nothing is left. Sizes that stay open are large primes in both, so that none of them is
taken for another. Where some sizes grow and others shrink, it is done by way of larger ones
(`between`), so that no product is the same by chance.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_graphsurgeon as gs

from ....ir.core.errors import ExecutionError, FeedError, RefusedError
from ....ir.graph.types import Dim
from ....ir.ops.shapes.infer import infer_types
from ....ir.run.feeds import is_size, random_feeds
from ....ir.run.reference import Reference
from .between import between
from .copies import LEAST_STAND_IN, SizedCopy, opened_shapes, sized_copy, stand_ins, tried_as
from .mend import Mend, Refused, Told, apply_to_copy, node_at
from .round import SizeRound
from .rules import FOLLOWING
from .splits import FIRST, LAST, told_of

_CANNOT = "the sizes cannot be set"
_MOST_NAMES = 8  # of nodes, in what a person is to copy


class OpenPartsError(RefusedError):
    """Sizes are taken apart, and which part stays is open."""


@dataclass(frozen=True)
class Plan:
    """What has to change, in order, and the sizes of outputs that are known then, by name.

    `sized`: a copy in which it has. `told`: what a person is told of sizes that stay.
    """

    mends: Sequence[Mend]
    outputs: Mapping[str, Sequence[int]]
    sized: gs.Graph
    told: Sequence[str] = ()


def plan(graph: gs.Graph, shapes: Mapping[str, Sequence[Dim]], told: Told) -> Plan:
    """Return what has to change in `graph` for inputs of `shapes`, by name, in order.

    Raises RefusedError, naming each node, where a size that has changed is held by a constant that
    cannot be told; and where a node may go along or stay as it is, and both would run.
    """
    try:
        return _decided(graph, shapes, told)
    except RefusedError as reason:
        tried = stand_ins(graph, shapes)
        if not any(int(number) >= LEAST_STAND_IN for number in re.findall(r"\d+", str(reason))):
            raise
        raise type(reason)(f"{reason}{tried_as(tried)}") from reason


def _decided(graph: gs.Graph, shapes: Mapping[str, Sequence[Dim]], told: Told) -> Plan:
    try:
        found = _planned(graph, shapes, told)
    except OpenPartsError:
        told = _with_parts(graph, shapes, told)
        found = _planned(graph, shapes, told)
    guessed = [mend for mend in found.mends if mend.guessed and mend.node not in told.follow]
    doubtful = [mend for mend in guessed if _would_do(graph, shapes, told, [mend])]
    if not doubtful and len(guessed) > 1 and _would_do(graph, shapes, told, guessed):
        doubtful = guessed
    if doubtful:
        raise RefusedError(_refusal([_both_ways(mend, told) for mend in doubtful]))
    mends = [
        replace(mend, taken=mend.taken and _would_do(graph, shapes, told, [mend]))
        for mend in found.mends
    ]
    return replace(found, mends=mends, told=told_of(told.parts.with_recurring(told.parts.seen)))


def _with_parts(graph: gs.Graph, shapes: Mapping[str, Sequence[Dim]], told: Told) -> Told:
    """Return `told` with which parts of sizes that are taken apart stay, where that is known.

    They are those that recur, and of the rest those without which it does not run.
    """
    ways = _ways(told)
    reasons = [_why_not(graph, shapes, way) for way in ways]
    splits = {split: known for way in ways for split, known in way.parts.seen.items()}
    parts = told.parts.with_recurring(splits)
    left = [one for one, known in splits.items() if known is None and parts.told(one) is None]
    told = replace(told, parts=parts)
    if len(left) < len(splits):
        reasons = [_why_not(graph, shapes, way) for way in _ways(told)] if left else [None]
    failing = [reason for reason in reasons if reason is not None]
    if len(failing) == len(reasons):
        raise RefusedError(failing[0])
    if not failing:
        return told
    place = LAST if reasons[0] is None else FIRST
    for split in left if len(left) > 1 else ():
        others = {one: -1 - place if one is split else place for one in left}
        way = replace(told, parts=replace(parts, chosen=others))
        if _why_not(graph, shapes, way) is None:
            return told
    return replace(told, parts=replace(parts, default=place))


def _ways(told: Told) -> list[Told]:
    return [
        replace(told, parts=replace(told.parts, default=place, seen={})) for place in (LAST, FIRST)
    ]


def _would_do(
    graph: gs.Graph, shapes: Mapping[str, Sequence[Dim]], told: Told, kept: Sequence[Mend]
) -> bool:
    """Say whether sizes still fit where nodes that were mended stay as they are."""
    keep = told.keep | {mend.node for mend in kept}
    return _why_not(graph, shapes, replace(told, keep=keep)) is None


def _why_not(graph: gs.Graph, shapes: Mapping[str, Sequence[Dim]], told: Told) -> str | None:
    """Return why the graph does not run as `told`.

    None where it does, or where what stands in the way is undecided, so that it may.
    """
    tried = replace(told, tries=True, undecided=[])
    try:
        sized = _planned(graph, shapes, tried).sized
        written = SizedCopy(sized).graph  # inference does not compute all lists of sizes
        problem = infer_types(written).problem
        if problem is None or infer_types(graph).problem:
            problem = None
            Reference(sized)(random_feeds(sized)[0])
    except (RefusedError, ExecutionError, FeedError) as error:
        problem = str(error)
    if problem is None or tried.undecided:
        return None
    return problem if problem.startswith(_CANNOT) else f"{_CANNOT}: {problem}"


def _both_ways(mend: Mend, told: Told) -> Refused:
    reason = f"{mend.told} would go along, or the old number is one to keep, and both would run"
    if "kernel_shape" in mend.attrs:
        reason = f"{mend.told} would pool as at the old size, or slide as it is"
    if told.opens and mend.attrs:
        return Refused(mend.node, f"{reason}; give that size as a number", "")
    return Refused(mend.node, reason, mend.op)


def _planned(graph: gs.Graph, shapes: Mapping[str, Sequence[Dim]], told: Told) -> Plan:
    opened = opened_shapes(graph, shapes)
    way = between(opened, shapes)
    if not way:
        mends, outputs, sized = _step(
            _before(graph, opened, told), sized_copy(graph, opened, shapes), told
        )
        return Plan(mends, outputs if _is_static(graph, shapes) else {}, sized)
    through = ", ".join(f"{name}={list(sizes)}" for name, sizes in way.items())
    try:
        first, _, middle = _step(
            _before(graph, opened, told),
            sized_copy(graph, opened, way),
            replace(told, final=shapes),
        )
        _need_inferred(middle, graph)
        second, outputs, sized = _step(
            SizedCopy(middle), sized_copy(middle, opened, shapes), replace(told, is_between=True)
        )
    except RefusedError as reason:
        if not told.tries:
            # What is refused at once is told with the sizes that are asked for.
            _step(_before(graph, opened, told), sized_copy(graph, opened, shapes), told)
        raise type(reason)(
            f"{reason} (some sizes grow and others shrink, so they are changed by way of {through})"
        ) from reason
    found = {mend.place: mend for mend in first}
    for mend in second:
        held = found.get(mend.place)
        found[mend.place] = mend if held is None else held.then(mend)
    mends = [found[place] for place in sorted(found) if found[place].changes]
    return Plan(mends, outputs if _is_static(graph, shapes) else {}, sized)


def _need_inferred(middle: gs.Graph, graph: gs.Graph) -> None:
    problem = infer_types(middle).problem
    if problem and not infer_types(graph).problem:
        raise RefusedError(f"{_CANNOT}: {problem}")


def _before(graph: gs.Graph, opened: Mapping[str, list[Dim]], told: Told) -> SizedCopy:
    """Return what is known of `graph` as it is, which is the same for all that is tried."""
    key = (id(graph), *((name, *sizes) for name, sizes in opened.items()))
    found = told.known.get(key)
    if not isinstance(found, SizedCopy):
        found = told.known[key] = SizedCopy(sized_copy(graph, opened, {}))
    return found


def _step(
    before: SizedCopy, after: gs.Graph, told: Told
) -> tuple[list[Mend], dict[str, Sequence[int]], gs.Graph]:
    """Mend `after`, a copy with other inputs; return how, and its outputs' sizes."""
    found: dict[int, Mend] = {}
    while True:
        round_ = SizeRound(before, after, found.keys(), told)
        mends, refused = round_.look()
        if refused:
            kind = OpenPartsError if round_.parts_open else RefusedError
            raise kind(_refusal(refused))
        if not mends:
            return [found[place] for place in sorted(found)], round_.outputs(), after
        for mend in mends:
            found[mend.place] = mend
            apply_to_copy(mend, node_at(after, mend.place))


def _is_static(graph: gs.Graph, shapes: Mapping[str, Sequence[Dim]]) -> bool:
    given = [shapes.get(t.name, t.shape) for t in graph.inputs if isinstance(t, gs.Variable)]
    return all(shape is not None and all(map(is_size, shape)) for shape in given)


def _refusal(refused: Sequence[Refused]) -> str:
    """Return what a person is told, with the options that decide."""
    reasons = "; ".join(one.reason for one in refused)
    kept = ",".join(f'"{one.node}"' for one in refused[:_MOST_NAMES])
    follow = [f'"{one.node}"' for one in refused[:_MOST_NAMES] if one.op in FOLLOWING]
    along = f", follow=[{','.join(follow)}] lets it go along with its input" if follow else ""
    return (
        f"{_CANNOT}: {reasons}. In a pipeline, set-shapes{{shapes=[...],"
        f"keep=[{kept}]}} leaves it as it is{along}"
    )
