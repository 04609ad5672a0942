"""How far two networks agree on inputs without labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Console
from rich.progress import track

import planish


def agreement(
    reference: planish.Compiled,
    judged: planish.Compiled,
    feeds: Sequence[Mapping[str, np.ndarray]],
    console: Console,
) -> tuple[float, float]:
    """Return the share of feeds on which the largest logit is the same, and the SQNR in dB.

    Both run on ONNX Runtime with its optimizations on, so that the integer kernels are judged.
    """
    agreed, signal, noise = 0, 0.0, 0.0
    for feed in track(feeds, "judging", console=console, transient=True):
        (a,), (b,) = reference(feed).values(), judged(feed).values()
        agreed += int(a.argmax() == b.argmax())
        signal += float(np.square(a, dtype=np.float64).sum())
        noise += float(np.square(a.astype(np.float64) - b).sum())
    return agreed / len(feeds), 10 * float(np.log10(signal / noise)) if noise else float("inf")
