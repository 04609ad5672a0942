"""What `planish diff` shows: lines that read well in a terminal and in a code review."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...ir.core.counted import counted
from ...ir.core.shown import in_short
from ...tools.diff.model_diff import Change, ModelDiff, NodeRef, WeightChange, listed

_SIGNS = {"fused": "*", "replaced": "*", "changed": "~", "removed": "-", "added": "+"}
_MOST_NAMED = 8


def diff_lines(found: ModelDiff) -> Iterator[str]:
    """Yield the lines: totals first, then facts about the whole, then a change after another.

    Lines begin with what happened: `*` nodes became others, `~` one changed, `-` and `+` nodes
    went and came. What is different of a node is indented below it.
    """
    yield _totals(found)
    for fact in found.model:
        yield f"~ {fact.what}: {in_short(fact.before)} -> {in_short(fact.after)}"
    for change in found.changes:
        yield f"{_SIGNS[change.kind]} {_what(change)}"
        yield from (f"    {line}" for line in _details(change))


def _totals(found: ModelDiff) -> str:
    parts = [f"{found.nodes_before} nodes -> {counted(found.nodes_after, 'node')}"]
    parts.append(f"{found.same} the same")
    if found.following:
        parts.append(f"{found.following} of other sizes that follow")
    parts += found.tallies
    if found.renamed:
        parts.append(f"{found.renamed} renamed")
    return ", ".join(parts)


def _what(change: Change) -> str:
    before, after = (listed(nodes, _MOST_NAMED) for nodes in (change.before, change.after))
    where = _where(change)
    if change.kind in ("removed", "added"):
        return f"{before or after}{where}"
    if change.kind == "changed" and _is_called_alike(change):
        return f"{before}{where}"
    return f"{before} -> {after}{where}"


def _is_called_alike(change: Change) -> bool:
    one, two = change.before[0], change.after[0]
    return (one.name, one.op) == (two.name, two.op)


def _where(change: Change) -> str:
    scope = _first(change).scope
    return f" in {' in '.join(repr(in_short(name)) for name in reversed(scope))}" if scope else ""


def _first(change: Change) -> NodeRef:
    return (*change.before, *change.after)[0]


def _details(change: Change) -> Iterator[str]:
    for attribute in change.attributes:
        yield f"{attribute.name}: {_value(attribute.before)} -> {_value(attribute.after)}"
    for result in change.types:
        yield f"output {result.output}: {result.before} -> {result.after}"
    if change.before and change.after and change.before[-1].op == change.after[0].op:
        for source in change.inputs:
            yield f"input {source.input}: {in_short(source.before)} -> {in_short(source.after)}"
    for weight in change.weights:
        yield _weight(weight)


def _value(value: Any) -> str:
    return "none" if value is None else str(value)


def _weight(weight: WeightChange) -> str:
    name = f"weights at input {weight.input}"
    if weight.before is None or weight.after is None:
        return f"{name}: {weight.before or 'none'} -> {weight.after or 'none'}"
    types = weight.before
    if weight.before != weight.after:
        types = f"{weight.before} -> {weight.after}"
    return ", ".join(filter(None, (f"{name}: {types}", weight.distance)))
