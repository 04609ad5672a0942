"""`planish passes`: what can be run over a graph, and what one of them is."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from ..ir.core.option_text.options import option_fields
from ..passes.pipeline.describe import PassDescription, describe
from ..passes.pipeline.presets import PRESETS
from ..passes.pipeline.registry import all_passes
from .completion import complete_pass
from .options import JsonOption
from .show.console import is_verbose, out, print_json
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
    as_json: JsonOption = False,
) -> None:
    """List the passes and presets, or describe one of them."""
    if name is None:
        return _list(as_json)
    found = describe(name)
    if as_json:
        return print_json(asdict(found))
    return show_pass(found) if isinstance(found, PassDescription) else show_preset(found)


def _list(as_json: bool) -> None:
    rows: list[tuple[str, ...]] = [
        (name, "exact" if item.exact else "approximate", item.summary())
        for name, item in all_passes().items()
    ]
    if as_json:
        known = [dict(zip(("name", "kind", "summary"), row, strict=True)) for row in rows]
        texts = [{"name": name, "pipeline": text} for name, text in PRESETS.items()]
        return print_json({"passes": known, "presets": texts})
    if is_verbose():
        options = {name: ", ".join(option_fields(item)) for name, item in all_passes().items()}
        rows = [(*row, options[row[0]]) for row in rows]
        out.print(listing_table(rows, "pass", "kind", "what it does", "options"))
    else:
        out.print(listing_table(rows, "pass", "kind", "what it does"))
    out.print()
    presets = [(name, text.replace(",", ", ")) for name, text in PRESETS.items()]
    out.print(listing_table(presets, "preset", "passes"))
    return None
