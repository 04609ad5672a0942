"""Where the tensors of a single-call program lie in one piece of memory.

A tensor occupies its place from the step that writes it to the last one that reads it. Steps are
gone through in order; a tensor gets the smallest gap that holds it, or the end.

Source: the linear scan of Poletto and Sarkar (Linear Scan Register Allocation, TOPLAS 1999), with
places of different sizes for registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..spec.machine import ALIGNMENT


@dataclass(frozen=True)
class Lifetime:
    """A tensor of `size` bytes, written at step `first` and read until step `last` inclusive."""

    size: int
    first: int
    last: int


def plan(lifetimes: Sequence[Lifetime]) -> tuple[list[int], int]:
    """Return the offset of each tensor and the size of the whole; both in bytes, aligned.

    `lifetimes` are in the order of `first`. No two that overlap in time overlap in memory.
    """
    offsets: list[int] = []
    whole = 0
    live: list[tuple[int, int, int]] = []  # offset, end, last step
    for one in lifetimes:
        live = [place for place in live if place[2] >= one.first]
        size = max(1, one.size) + -max(1, one.size) % ALIGNMENT
        starts = [0, *(end for _, end, _ in live)]
        ends = [*(offset for offset, _, _ in live), whole]
        gaps = [(e - s, s) for s, e in zip(starts, ends, strict=True) if e - s >= size]
        at = min(gaps)[1] if gaps else starts[-1]
        offsets.append(at)
        live.append((at, at + size, one.last))
        live.sort()
        whole = max(whole, at + size)
    return offsets, whole
