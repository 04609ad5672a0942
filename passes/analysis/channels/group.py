"""A group of channels that can only be removed together, and its text for a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.counted import counted
from ....ir.core.shown import Shown, Summary
from ....ir.core.variables import node_key
from .cells import Array
from .findings import Role


@dataclass(frozen=True, kw_only=True, repr=False)
class ChannelSlice(Shown):
    """Where the channels of a group stand in one constant.

    `role` is what the constant is to them:

    - "makes": the weight of a layer that computes them, "bias": the bias of it;
    - "reads": the weight of a layer that sums over them;
    - "carries": the weight of a depthwise convolution, which passes each on;
    - "scales", "shifts": what they are multiplied by or what is added to them, such as scale and
      bias of a BatchNormalization; "follows": any other value per channel.

    Channel c stands at `index[c]`, an array [channels, k] of places along `axis` (k > 1 behind a
    Flatten). Where `blocks` is more than one, as for the groups of a convolution, places count
    through the blocks into which axis 0 is divided. `mask` is the constant it is multiplied by.
    """

    node: gs.Node
    position: int
    constant: gs.Constant
    mask: gs.Constant | None
    axis: int
    role: Role
    index: Array
    blocks: int = 1

    def _summary(self) -> Summary:
        return Summary(f"{self.role} in {_slot_text(self)}")

    @property
    def layer(self) -> str:
        """What options call the node that reads the constant."""
        return node_key(self.node)

    def rows(self, values: Array) -> Array:
        """Return the values of each channel, [channels, n], of an array of the constant's shape."""
        if self.blocks == 1:
            lines = np.moveaxis(values, self.axis, 0)
        else:
            own = values.reshape(self.blocks, -1, *values.shape[1:])
            lines = own.swapaxes(1, 2).reshape(self.blocks * values.shape[1], -1)
        return lines[self.index].reshape(len(self.index), -1)

    def where(self, channels: Array) -> Array:
        """Return which elements of the constant belong to `channels`: bool, of its shape."""
        shape = tuple(self.constant.shape)
        flags = np.zeros(self.blocks * shape[self.axis], bool)
        flags[self.index[channels]] = True
        if self.blocks == 1:
            line = flags.reshape(-1, *[1] * (len(shape) - self.axis - 1))
            return np.broadcast_to(line, shape).copy()
        parts = flags.reshape(self.blocks, 1, shape[1], *[1] * (len(shape) - 2))
        each = shape[0] // self.blocks
        return np.broadcast_to(parts, (self.blocks, each, *shape[1:])).reshape(shape)


@dataclass(frozen=True, repr=False)
class ChannelCarrier(Shown):
    """A tensor of the graph in which the channels stand: channel c at `index[c]` along `axis`."""

    tensor: gs.Tensor
    axis: int
    index: Array  # [channels, k]

    def _summary(self) -> Summary:
        return Summary(f"{self.tensor.name}[{_places(self.index)}] axis {self.axis}")


@dataclass(frozen=True, kw_only=True, repr=False)
class ChannelGroup(Shown):
    """Interchangeable channels: what makes, carries and reads them, and whether any can go.

    `reason` says why none can; None where they can. `balance` holds arrays [channels] of block
    numbers: in each block as many channels have to stay as in every other (the groups of a grouped
    convolution). At least one channel of a group has to stay.
    """

    channels: int
    slots: tuple[ChannelSlice, ...]
    carriers: tuple[ChannelCarrier, ...]
    reason: str | None = None
    balance: tuple[Array, ...] = ()
    cells: Array = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)

    def of_role(self, *roles: Role) -> tuple[ChannelSlice, ...]:
        """Return the slots with one of `roles`."""
        return tuple(slot for slot in self.slots if slot.role in roles)

    @property
    def makers(self) -> tuple[ChannelSlice, ...]:
        """The weights of the layers that compute the channels."""
        return self.of_role("makes")

    @property
    def readers(self) -> tuple[ChannelSlice, ...]:
        """The weights of the layers that sum over the channels."""
        return self.of_role("reads")

    @property
    def name(self) -> str:
        """What options call the group: the first layer that makes it."""
        return next((slot.layer for slot in (*self.makers, *self.slots)), "")

    def _summary(self) -> Summary:
        why = "" if self.reason is None else f", none can go: {self.reason}"
        rows = [(slot.role, _slot_text(slot)) for slot in self.slots]
        line = f"{self.name!r}: {counted(self.channels, 'channel')}{why}"
        return Summary(line, rows, ("role", "constant"))

    def __str__(self) -> str:
        """Show the group for a person to look at before it is cut."""
        return _describe(self)


def _describe(group: ChannelGroup) -> str:
    """Return a few lines on a group: its size, and what makes, carries and reads it."""
    lines = [f"{group.name}: {counted(group.channels, 'channel')}"]
    if group.reason is not None:
        lines[0] += f", none can go: {group.reason}"
    titles: tuple[tuple[str, tuple[Role, ...]], ...] = (
        ("made by", ("makes",)),
        ("carried by", ("carries",)),
        ("read by", ("reads",)),
        ("sliced along", ("bias", "scales", "shifts", "follows")),
    )
    for title, roles in titles:
        slots = group.of_role(*roles)
        if slots:
            lines.append(f"  {title:<13}" + _listed([_slot_text(slot) for slot in slots]))
    if group.carriers:
        names = [f"{carrier.tensor.name}[{_places(carrier.index)}]" for carrier in group.carriers]
        lines.append(f"  {'tensors':<13}" + _listed(names))
    for blocks in group.balance:
        count = int(blocks.max()) + 1
        lines.append(f"  {'balanced':<13}as many in each of {count} groups of a convolution")
    return "\n".join(lines)


def _slot_text(slot: ChannelSlice) -> str:
    masked = ", masked" if slot.mask is not None else ""
    where = f"{slot.constant.name}{list(slot.constant.shape)} axis {slot.axis}"
    return f"{slot.layer} ({slot.node.op}: {where}, {_places(slot.index)}{masked})"


def _places(index: Array) -> str:
    """Return the places of all channels in short: a range where they are one."""
    flat = index.reshape(-1)
    low, high = int(flat.min()), int(flat.max())
    if high - low + 1 == flat.size:
        return f"{low}:{high + 1}"
    return f"{flat.size} of {low}:{high + 1}"


def _listed(texts: Sequence[str]) -> str:
    shown = list(dict.fromkeys(texts))
    more = len(shown) - 4
    return ("\n" + " " * 15).join(shown[:4] + ([f"and {more} more"] if more > 0 else []))
