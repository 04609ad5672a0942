"""What a person may choose of how kernels are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .schedules.convolution import Convolution
from .schedules.tile_sizes import Tile


def not_measured(op: Convolution) -> Tile | None:
    """Know nothing: every tile is the cost model's."""
    return None


@dataclass(frozen=True)
class Settings:
    """`winograd`: use it where it is faster. `tile_of`: a measured tile; None: the cost model.

    `threads`: how many the work is cut for; any number can run it.
    """

    winograd: bool = True
    threads: int = 1
    tile_of: Callable[[Convolution], Tile | None] = not_measured
