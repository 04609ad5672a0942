"""Figures as the command line shows them."""

from __future__ import annotations

from collections.abc import Sequence


def three(value: float) -> float:
    """Return `value` with three digits, which is what a measurement is good for."""
    return float(f"{value:.3g}")


def shape_of(shape: Sequence[int | str | None] | None) -> str:
    """Write a shape, `1 x 3 x ? x batch`; "" where there is none, `scalar` of no axes."""
    if shape is None:
        return ""
    return " x ".join("?" if size is None else str(size) for size in shape) or "scalar"
