"""A pipeline as it will run: passes in order, groups that repeat, and what runs instead of what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ..engine.contract import Pass
from .attempt import Attempt, Item
from .pipeline import Pipeline
from .repeat import Repeat


@dataclass(frozen=True, kw_only=True)
class PipelineStage:
    """A pass, or a group of stages.

    - `kind`: `pass`; `repeat`, which runs until none of its passes edits; `attempt`, which is
      undone as a whole where a pass in it goes back; `otherwise`, what runs then.
    - `number`: how many passes stand in front of it, itself among them; None of a group.
    - `text`: how a pipeline writes the pass with its options.
    - `notes`: what the run minds at it: where comparing starts anew, what is undone with it.
    """

    kind: Literal["pass", "repeat", "attempt", "otherwise"]
    number: int | None = None
    text: str = ""
    exact: bool = True
    summary: str = ""
    notes: tuple[str, ...] = ()
    stages: tuple[PipelineStage, ...] = ()


def stages(pipeline: Pipeline) -> tuple[PipelineStage, ...]:
    """Return the stages of `pipeline` in the order in which they run."""
    numbers = iter(range(1, 1 << 30))
    return tuple(
        _stage(item, numbers, _again(pipeline.passes, at))
        for at, item in enumerate(pipeline.passes)
    )


def _stage(item: Item, numbers: Iterator[int], notes: tuple[str, ...] = ()) -> PipelineStage:
    if isinstance(item, Repeat):
        return PipelineStage(kind="repeat", stages=_all(item.passes, numbers))
    if isinstance(item, Attempt):
        inner = _all(item.passes, numbers)
        if item.otherwise:
            inner += (PipelineStage(kind="otherwise", stages=_all(item.otherwise, numbers)),)
        return PipelineStage(kind="attempt", stages=inner)
    return PipelineStage(
        kind="pass",
        number=next(numbers),
        text=str(item),
        exact=item.is_exact,
        summary=type(item).summary(),
        notes=(*_notes(item), *notes),
    )


def _all(items: Sequence[Item], numbers: Iterator[int]) -> tuple[PipelineStage, ...]:
    return tuple(_stage(item, numbers) for item in items)


def _notes(item: Pass) -> Iterator[str]:
    if not item.keeps_interface:
        yield "changes inputs or outputs: outputs are compared from here on"
    if not item.keeps_outputs:
        yield "changes what outputs mean: nothing is compared across it"
    if item.prepares:
        yield "undone where the pass that it prepares for declines as a whole"
    if item.extra_feeds():
        yield f"reads {', '.join(item.extra_feeds())} of the feeds"
    if type(item).finish is not Pass.finish:
        yield "types of inputs and outputs change last of all"


def _again(items: Sequence[Item], at: int) -> tuple[str, ...]:
    """Say where the group before a pass runs once more behind it."""
    item = items[at]
    if not (isinstance(item, Pass) and item.settles):
        return ()
    groups = [each for each in items[:at] if isinstance(each, Repeat | Attempt)]
    behind = any(not isinstance(each, Pass) for each in items[at + 1 :])
    if behind or not groups or not isinstance(groups[-1], Repeat):
        return ()
    return ("where it edits, the group before it runs once more at the end",)
