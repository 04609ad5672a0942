"""Sums over channels in groups, of which several may be joined where they have few channels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from ..spec.layout import BufferSpec
from .dot import FLOAT_DOT, Dot
from .tiles import Sizes


@dataclass(frozen=True, kw_only=True)
class GroupedSums:
    """What reads the blocks of `x` and makes those of `y` in `group` equal shares.

    A group may be `joined` of several, the last of fewer, with zeros for weights between them
    unless the dot product keeps them apart.
    """

    x: BufferSpec
    y: BufferSpec
    group: int
    dot: Dot = FLOAT_DOT
    joined: int = 1

    @property
    def inputs(self) -> int:
        """Channels of one group; the last may have fewer."""
        return sum(self.x.blocks[: self.x_blocks])

    @property
    def outputs(self) -> int:
        """Channels that one group makes; the last may make fewer."""
        return sum(self.y.blocks[: self.y_blocks])

    @property
    def x_blocks(self) -> int:
        """Blocks of one group's channels."""
        return len(self.x.blocks) // self.group

    @property
    def y_blocks(self) -> int:
        """Blocks of the channels that one group makes."""
        return len(self.y.blocks) // self.group

    @property
    def channel_products(self) -> int:
        """Multiply-adds for one image and position, without what partly filled blocks waste."""
        return self.y.channels * (self.inputs // self.joined)

    def shape_of(self, kernel: Sizes) -> tuple[int, ...]:
        """Return the shape of weights: [M blocks, C blocks, k, k, k, C lanes, M lanes]."""
        lanes = self.x.lanes or self.x.channels
        if self.dot.shared is not None:
            lanes = self.dot.shared.inputs
        return (len(self.y.blocks), self.x_blocks, *kernel, lanes, self.y.lanes)

    def stored_shape(self, kernel: Sizes) -> tuple[int, ...]:
        """Return the shape of weights as they are stored for the dot product."""
        *outer, taps, channels, lanes = self.shape_of(kernel)
        return (*outer, math.ceil(taps / self.dot.taps), -(-channels // self.dot.width), lanes)

    def steps(self, kernel: Sizes) -> int:
        """Return how many steps of the dot product make one sum."""
        inputs = self.inputs if self.dot.shared is None else self.dot.shared.inputs
        *outer, along = kernel
        each = math.ceil(inputs / self.dot.width)
        return each * math.prod(outer) * math.ceil(along / self.dot.taps)

    def alike(self) -> Iterator[tuple[int, int, tuple[int, ...]]]:
        """Yield (first group, groups, channels in each input block) of groups that have as many."""
        if self.dot.shared is not None:
            yield 0, self.group, (self.dot.shared.inputs,)
            return
        each, blocks = self.x_blocks, self.x.blocks
        filled = [blocks[at : at + each] for at in range(0, len(blocks), each)]
        first = 0
        for channels, found in itertools.groupby(filled):
            count = len(list(found))
            yield first, count, channels
            first += count
