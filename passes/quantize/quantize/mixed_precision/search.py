"""The layers that stay float so that bounds hold: the shortest prefix of an order, made minimal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

# How many layers are tried on integers again, each on all feeds, and what part of the time that all
# of the others save makes one worth the look.
_MOST_RETURNS = 16
_LEAST_RETURN = 0.01


def most_tried(order: Sequence[str]) -> int:
    """Return how many choices `fewest_floats` asks of at most."""
    return len(order).bit_length() + 1 + _MOST_RETURNS


def fewest_floats(
    order: Sequence[str],
    losses: Mapping[str, float],
    noise: Mapping[str, float],
    holds: Callable[[frozenset[str]], bool],
) -> frozenset[str]:
    """Return the layers of `order` that stay float; all of them where no bound holds before.

    `holds` says whether the bounds hold with these layers in float. More floats are taken to be
    closer, which bisection needs; what it finds has been checked. Then those that add least noise
    for the time they save go back to integers one by one, where the bounds hold without them: one
    large layer may have stood in the way of several small ones. `noise` adds up, so what has as
    much as the last of them, without which the bounds do not hold, is not tried.
    """
    if holds(frozenset()):
        return frozenset()
    low, high = 0, len(order)  # does not hold at low; at high all is float
    while high - low > 1:
        middle = (low + high) // 2
        if holds(frozenset(order[:middle])):
            high = middle
        else:
            low = middle
    floats = set(order[:high])
    # Without the last one it does not hold, as bisection saw.
    least = _LEAST_RETURN * sum(max(loss, 0.0) for loss in losses.values())
    most = noise[order[high - 1]]
    worthwhile = [k for k in order[: high - 1] if losses[k] > least and noise[k] < most]
    for key in worthwhile[::-1][:_MOST_RETURNS]:
        if holds(frozenset(floats - {key})):
            floats.discard(key)
    return frozenset(floats)
