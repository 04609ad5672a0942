"""`planish diff`: what differs between two models, whatever their nodes are called."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ..ir.core.atomic import require_writable
from ..tools.diff.diff import diff as diff_models
from ..tools.diff.model_explorer import SIDES, node_data
from ..tools.report.build import GivenModel, two_models
from ..tools.report.figures import Measuring
from ..tools.report.write import write_json
from .exit_codes import DIFFERENCE
from .files import model_file, size_on_disk
from .given import given_model
from .options import InputShapeOption, JsonOption, ModelFile, MutableOption
from .reporting import how_made, require_report, write_told
from .show.console import print_json, print_plain, tell, teller
from .show.diff import diff_lines
from .supervise import doing


def diff(
    a: ModelFile,
    b: ModelFile,
    input_shape: InputShapeOption = None,
    mutable_initializers: MutableOption = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with both graphs side by side.")
    ] = None,
    model_explorer: Annotated[
        Path | None,
        typer.Option(
            help="Write what became of nodes as node data of Model Explorer: for the second model, "
            "and in NAME.before.json for the first.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what differs between two models; exit with 1 where something does.

    Nodes are matched by what they compute and by their weights, so that names may all differ.
    """
    require_report(html, 1)
    data_files = _data_files(model_explorer)
    before, after = (
        given_model(path, input_shape, mutable=mutable_initializers, tell=teller(as_json=as_json))
        for path in (a, b)
    )
    doing(f"match '{a}' with '{b}'")
    found = diff_models(before, after)
    for path, graph, side in zip(data_files, (before, after), SIDES, strict=False):
        write_json(node_data(found, graph, side), path)
    if html is not None:
        one, two = (
            GivenModel(graph=graph, file=str(path), bytes=size_on_disk(model_file(path)))
            for graph, path in ((before, a), (after, b))
        )
        still = Measuring(backends=(), roofline=False, runs=False)
        write_told(two_models(one, two, made=how_made(), measuring=still, found=found), html, tell)
    if as_json:
        told = {key: value for key, value in asdict(found).items() if key != "bodies"}
        print_json({"before": str(a), "after": str(b), "counts": found.counts, **told})
    else:
        print_plain(f"{a} -> {b}")
        for line in diff_lines(found):
            print_plain(line)
    if not found.is_empty:
        raise typer.Exit(DIFFERENCE)


def _data_files(path: Path | None) -> tuple[Path, ...]:
    """Return where the node data of the first and the second model go; raise where they cannot."""
    if path is None:
        return ()
    found = (path.with_name(f"{path.stem}.before.json"), path)
    for each in found:
        require_writable(each)
    return found
