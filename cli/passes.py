"""`planish passes`: what can be run over a graph."""

from __future__ import annotations

from ..passes.pipeline.presets import PRESETS
from ..passes.pipeline.registry import all_passes
from .show.console import out
from .show.plain import listing_table


def passes() -> None:
    """List the passes and presets."""
    rows = [
        (name, "exact" if item.exact else "approximate", item.summary())
        for name, item in all_passes().items()
    ]
    out.print(listing_table(rows, "pass", "kind", "what it does"))
    out.print()
    presets = [(name, text.replace(",", ", ")) for name, text in PRESETS.items()]
    out.print(listing_table(presets, "preset", "passes"))
