"""What a person may choose of how kernels are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .convolution import Convolution
from .tile_sizes import RegisterTile
from .windows import Windows


def not_measured(op: object) -> None:
    """Know nothing: every choice is the cost model's."""
    return


@dataclass(frozen=True)
class Settings:
    """`winograd`: use it where it is faster. `threads`: how many the work is cut for.

    What was measured, or None for the cost model's choice: `tile_of` a convolution; `columns_of`
    windows, how many positions are combined at once.
    """

    winograd: bool = True
    threads: int = 1
    tile_of: Callable[[Convolution], RegisterTile | None] = not_measured
    columns_of: Callable[[Windows], int | None] = not_measured
