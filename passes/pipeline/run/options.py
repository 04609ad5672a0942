"""What a run of a pipeline is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ....ir.run.feeds import Feed
from ...engine.records import Progress

Verify = Literal["each", "end", "prove", "off"]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of `Pipeline.run`, which says what each of them means."""

    verify: Verify = "end"
    target: str = "cpu"
    seed: int = 0
    limit: int | None = None
    dump: Path | None = None
    reproducer: Path | None = None
    progress: Callable[[Progress], None] | None = None
    signed_zeros: bool = False
    strict: bool = False
    copies: bool = False  # keep the graph before each pass, which a roll-back goes to
    hunt: bool = False  # compare with the untouched graph after every pass
    refuting: Feed | None = None  # an input that is compared as well
