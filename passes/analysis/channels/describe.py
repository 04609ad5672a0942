"""A group of channels as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .cells import Array
from .walk import Role

if TYPE_CHECKING:
    from .groups import Group, Slot


def describe(group: Group) -> str:
    """Return a few lines on a group: its size, and what makes, carries and reads it."""
    plural = "channel" if group.channels == 1 else "channels"
    lines = [f"{group.name}: {group.channels} {plural}"]
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


def _slot_text(slot: Slot) -> str:
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
