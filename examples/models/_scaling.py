"""Channel scaling shared by every architecture."""

from collections.abc import Sequence

# A row a stage, of the numbers that the table of each paper has.
Stages = Sequence[tuple[int, ...]]


def scaled(channels: int, width: float, divisor: int = 8) -> int:
    """Multiply a channel count by ``width`` and round it to a multiple of ``divisor``.

    A width of exactly 1.0 keeps the published count, even when it is not a multiple.
    """
    if width == 1.0:
        return channels
    return max(divisor, int(channels * width / divisor + 0.5) * divisor)
