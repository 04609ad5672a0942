"""The register tile of a direct convolution, and whether blocks or positions vary slower."""

from __future__ import annotations

import itertools
from dataclasses import asdict, replace
from typing import Any, ClassVar

from ..kernels.convolution import Convolution, choose_tile, convolution, problem_of
from ..kernels.tile_sizes import RegisterTile, costs
from ..spec.machine import CpuMachine
from .choice import Choice


class TileChoice(Choice[Convolution, RegisterTile]):
    """The tile of a convolution."""

    name: ClassVar[str] = "tile"

    def covers(self, op: Any) -> bool:
        """Say whether `op` is a direct convolution."""
        return isinstance(op, Convolution)

    def ranked(self, op: Convolution, machine: CpuMachine) -> list[RegisterTile]:
        """Return tiles by the cycles that the model expects, each in both orders of its loops."""
        found = sorted(costs(machine, problem_of(op, machine)), key=lambda item: item[1])
        both = ((tile, _turned(tile)) for tile, _ in found)
        return list(dict.fromkeys([choose_tile(op, machine), *itertools.chain(*both)]))

    def neighbours(
        self, op: Convolution, candidate: RegisterTile, machine: CpuMachine
    ) -> list[RegisterTile]:
        """Return tiles with one size more or less by one, and the other order of the loops."""
        work = problem_of(op, machine)
        steps = [
            replace(candidate, **{axis: getattr(candidate, axis) + step})
            for axis in ("rows", "columns", "blocks")
            for step in (-1, 1)
        ]
        return [tile for tile in (*steps, _turned(candidate)) if work.fits(tile, machine)]

    def kernel(self, op: Convolution, candidate: RegisterTile, machine: CpuMachine) -> Any:
        """Return the convolution with this tile."""
        return convolution(op, machine, candidate)

    def to_json(self, candidate: RegisterTile) -> Any:
        """Return the fields of the tile."""
        return asdict(candidate)

    def from_json(self, value: Any, op: Convolution, machine: CpuMachine) -> RegisterTile:
        """Return the tile with these fields; raises ValueError where it does not fit `op`."""
        try:
            tile = RegisterTile(**value)
        except TypeError as error:
            raise ValueError(f"{value!r} is no tile") from error
        sizes = (tile.rows, tile.columns, tile.blocks)
        if not all(type(size) is int for size in sizes) or type(tile.positions_first) is not bool:
            raise ValueError(f"{value!r} is no tile")
        if not problem_of(op, machine).fits(tile, machine):
            raise ValueError(f"{tile} does not fit the operator")
        return tile


def _turned(tile: RegisterTile) -> RegisterTile:
    return replace(tile, positions_first=not tile.positions_first)
