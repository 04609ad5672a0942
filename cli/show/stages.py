"""What `planish passes --graph` shows: a pipeline as a tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...passes.pipeline.stages import PipelineStage
from .console import is_verbose

_GROUPS = {
    "repeat": "repeat until no pass edits:",
    "attempt": "attempt, undone as a whole where a pass in it goes back:",
    "otherwise": "otherwise, on the graph as it was before:",
}


def stage_lines(stages: Sequence[PipelineStage]) -> Iterator[str]:
    """Yield a line a pass with its number, and one for each group; what is inside is indented.

    With -v, what each pass does as well.
    """
    for line in _lines(stages, ""):
        yield line.rstrip()


def _lines(stages: Sequence[PipelineStage], indent: str) -> Iterator[str]:
    for place, stage in enumerate(stages):
        last = place == len(stages) - 1
        branch, below = ("\u2514\u2500 ", "   ") if last else ("\u251c\u2500 ", "\u2502  ")
        yield f"{indent}{branch}{_written(stage)}"
        inner = f"{indent}{below}"
        if is_verbose() and stage.summary:
            yield f"{inner}   {stage.summary}"
        yield from (f"{inner}   ({note})" for note in stage.notes)
        yield from _lines(stage.stages, inner)


def _written(stage: PipelineStage) -> str:
    if stage.kind != "pass":
        return _GROUPS[stage.kind]
    return f"{stage.number} {stage.text}" + ("" if stage.exact else " (approximate)")
