"""Where the channels of a tensor stand in memory.

    x[n, c, z, y, x]  ->  buffer[n, first + block, z + halo, y + halo, x + halo, lane]

A *blocked* tensor keeps its channels in blocks of one vector (NCHW16c), so that a vector register
holds one position of sixteen channels and nothing has to be transposed between layers. A block may
be filled in part; what its other lanes hold is undefined and never read. The *halo* is a border of
zeros around each image that a convolution's padding falls on. A layout may describe a range of a
larger buffer's blocks: parts of a split and of a concatenation are ranges of one buffer.

Source: Liu et al., Optimizing CNN Model Inference on CPUs, USENIX ATC 2019 (the blocked layout).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Halo = tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class BufferSpec:
    """What a kernel must know of one operand: how to find an element in its buffer.

    `lanes` 0: not blocked, buffer [n, channels, *spatial]. `blocks`: channels held by each block.
    `spatial` has three sizes, ones in front; `halo` likewise. `batch` is None for the batch of the
    kernel, or 1 where the operand has one image for all. `dtype` is the type of an element, `zero`
    the number that stands for 0. With a `scale`, what is stored stands for (number - zero) * scale.
    `first` is None where the range of blocks is told at run time. `repeat`: how many images are
    there, which those that follow read again.
    """

    lanes: int
    blocks: tuple[int, ...]
    first: Any
    total: int
    spatial: tuple[int, ...]
    halo: Halo
    rank: int
    single: bool = False
    dtype: str = "float32"
    zero: int = 0
    scale: float | None = None
    repeat: int = 0

    @property
    def channels(self) -> int:
        """Number of channels."""
        return sum(self.blocks)

    def broadcast(self, at: Sequence[Any]) -> list[Any]:
        """Return where a position of a larger tensor is found here: axes of size 1 have one."""
        return [
            0 if size == 1 else position for size, position in zip(self.spatial, at, strict=True)
        ]

    @property
    def padded(self) -> tuple[int, ...]:
        """The three spatial sizes with the halo."""
        return tuple(s + a + b for s, (a, b) in zip(self.spatial, self.halo, strict=True))

    def images(self, batch: Any) -> Any:
        """Return how many images there are, of a kernel that computes `batch`."""
        return 1 if self.single else self.repeat or batch

    def shape(self, batch: Any) -> tuple[Any, ...]:
        """Return the shape of the buffer as the graph has it, with as many axes as the tensor."""
        n = self.images(batch)
        spatial = self.padded[3 - self.rank :]
        if self.lanes:
            return (n, self.total, *spatial, self.lanes)
        return (n, self.channels, *spatial)

    def shape3(self, batch: Any) -> tuple[Any, ...]:
        """Return the shape of the buffer with three spatial axes."""
        n = self.images(batch)
        if self.lanes:
            return (n, self.total, *self.padded, self.lanes)
        return (n, self.channels, *self.padded)

    def index(self, n: Any, block: Any, at: Sequence[Any], lane: Any) -> list[Any]:
        """Return the indices of an element of the three-axis buffer, or of its halo."""
        place = [position + low for position, (low, _) in zip(at, self.halo, strict=True)]
        image = 0 if self.single else n % self.repeat if self.repeat else n
        if self.lanes:
            here = block if isinstance(self.first, int) and self.first == 0 else block + self.first
            return [image, here, *place, lane]
        return [image, 0 if self.blocks == (1,) else lane, *place]


@dataclass(frozen=True)
class Layout:
    """The channels that each block of a blocked tensor holds, and where the blocks are."""

    lanes: int
    blocks: tuple[tuple[int, ...], ...]
    halo: Halo
    first: int = 0
    total: int = 0

    @classmethod
    def plain(cls, channels: int, lanes: int, halo: Halo) -> Layout:
        """Return the layout that keeps channels in order, the last block perhaps part full."""
        return cls.grouped(channels, 1, lanes, halo)

    @classmethod
    def grouped(cls, channels: int, group: int, lanes: int, halo: Halo) -> Layout:
        """Return the layout in which every group of channels starts a block."""
        each = channels // group
        blocks = tuple(
            tuple(range(start + at, start + min(at + lanes, each)))
            for start in range(0, channels, each)
            for at in range(0, each, lanes)
        )
        return cls(lanes, blocks, halo, 0, len(blocks))

    @property
    def channels(self) -> int:
        """Number of channels."""
        return sum(map(len, self.blocks))

    def spec(
        self, spatial: Sequence[int], *, single: bool = False, dtype: str = "float32"
    ) -> BufferSpec:
        """Return what kernels see of a tensor with these spatial sizes."""
        missing = 3 - len(spatial)
        return BufferSpec(
            lanes=self.lanes,
            blocks=tuple(map(len, self.blocks)),
            first=self.first,
            total=self.total,
            spatial=(*[1] * missing, *spatial),
            halo=(*[(0, 0)] * missing, *self.halo),
            rank=len(spatial),
            single=single,
            dtype=dtype,
        )

    def positions(self) -> Array:
        """Return for each channel its block and lane, [C, 2], counted from the first block."""
        found = np.zeros((self.channels, 2), np.int64)
        for block, held in enumerate(self.blocks):
            for lane, channel in enumerate(held):
                found[channel] = block, lane
        return found

    def pack(self, values: Array, fill: float = 0.0) -> Array:
        """Pack values whose first axis is the channel, [C, ...] -> [blocks, ..., lanes]."""
        packed = np.full((len(self.blocks), self.lanes, *values.shape[1:]), fill, values.dtype)
        place = self.positions()
        packed[place[:, 0], place[:, 1]] = values
        return np.ascontiguousarray(np.moveaxis(packed, 1, -1))

    def same_channels(self, other: Layout) -> bool:
        """Say whether both hold the same channels in the same places of their blocks."""
        return self.lanes == other.lanes and self.blocks == other.blocks

    def with_halo(self, halo: Halo) -> Layout:
        """Return the layout with another halo, in a buffer of its own."""
        return replace(self, halo=halo, first=0, total=len(self.blocks))


def plain_spec(channels: int, spatial: Sequence[int], dtype: str = "float32") -> BufferSpec:
    """Return what kernels see of a tensor that is not blocked: one block of all channels."""
    return BufferSpec(
        lanes=0,
        blocks=(channels,),
        first=0,
        total=1,
        spatial=(*[1] * (3 - len(spatial)), *spatial),
        halo=((0, 0),) * 3,
        rank=len(spatial),
        dtype=dtype,
    )


def no_halo(rank: int) -> Halo:
    """Return a halo of nothing."""
    return ((0, 0),) * rank


def covers(halo: Halo, wanted: Halo) -> bool:
    """Say whether a border `halo` is nowhere narrower than `wanted`."""
    return len(halo) == len(wanted) and all(
        low >= a and high >= b for (low, high), (a, b) in zip(halo, wanted, strict=True)
    )
