"""`planish passes`: what can be run over a graph, and what one of them is."""

from __future__ import annotations

from typing import Annotated

import typer

from ..passes.pipeline.describe import PassDescription, describe
from ..passes.pipeline.presets import PRESETS
from ..passes.pipeline.registry import all_passes
from .completion import complete_pass
from .show.console import out
from .show.describe import show_pass, show_preset
from .show.plain import listing_table


def passes(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A pass or preset to describe: its law, options, and when it declines.",
            autocompletion=complete_pass,
        ),
    ] = None,
) -> None:
    """List the passes and presets, or describe one of them."""
    if name is None:
        return _list()
    found = describe(name)
    return show_pass(found) if isinstance(found, PassDescription) else show_preset(found)


def _list() -> None:
    rows = [
        (name, "exact" if item.exact else "approximate", item.summary())
        for name, item in all_passes().items()
    ]
    out.print(listing_table(rows, "pass", "kind", "what it does"))
    out.print()
    presets = [(name, text.replace(",", ", ")) for name, text in PRESETS.items()]
    out.print(listing_table(presets, "preset", "passes"))
