"""`planish passes`: what can be run over a graph, and what one of them is."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from ..ir.core.option_text.options import option_fields
from ..passes.pipeline.describe import PassDescription, describe
from ..passes.pipeline.pipeline import Pipeline
from ..passes.pipeline.presets import PRESETS
from ..passes.pipeline.registry import all_passes
from ..passes.pipeline.stages import stages
from .completion import complete_pass, complete_pipeline
from .options import JsonOption, refuse_unread
from .show.console import is_verbose, out, print_json, print_plain
from .show.describe import show_pass, show_preset
from .show.plain import listing_table
from .show.stages import stage_lines


def passes(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A pass or preset to describe: its law, options, and when it declines.",
            autocompletion=complete_pass,
        ),
    ] = None,
    graph: Annotated[
        bool,
        typer.Option("--graph", help="Show a pipeline as it will run, -p's or the preset NAME."),
    ] = False,
    pipeline: Annotated[
        str | None,
        typer.Option(
            "-p",
            "--pipeline",
            help="The pipeline of --graph; default: exact.",
            autocompletion=complete_pipeline,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the passes and presets, describe one of them, or show a pipeline as it will run."""
    if graph:
        if name is not None:
            refuse_unread("--graph has the pipeline of NAME", pipeline=pipeline)
        return _graph(pipeline or name or "exact", as_json)
    refuse_unread("it is for --graph", pipeline=pipeline)
    if name is None:
        return _list(as_json)
    found = describe(name)
    if as_json:
        return print_json(asdict(found))
    return show_pass(found) if isinstance(found, PassDescription) else show_preset(found)


def _graph(text: str, as_json: bool) -> None:
    steps = stages(Pipeline.parse(text))
    if as_json:
        return print_json({"pipeline": text, "stages": [asdict(each) for each in steps]})
    for line in stage_lines(steps):
        print_plain(line)
    return None


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
