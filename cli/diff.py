"""`planish diff`: what differs between two models, whatever their nodes are called."""

from __future__ import annotations

from dataclasses import asdict

import typer

from ..tools.diff.diff import diff as diff_models
from .exit_codes import DIFFERENCE
from .given import given_model
from .options import InputShapeOption, JsonOption, ModelFile, MutableOption
from .show.console import print_json, print_plain, teller
from .show.diff import diff_lines
from .supervise import doing


def diff(
    a: ModelFile,
    b: ModelFile,
    input_shape: InputShapeOption = None,
    mutable_initializers: MutableOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show what differs between two models; exit with 1 where something does.

    Nodes are matched by what they compute and by their weights, so that names may all differ.
    """
    before, after = (
        given_model(path, input_shape, mutable=mutable_initializers, tell=teller(as_json=as_json))
        for path in (a, b)
    )
    doing(f"match '{a}' with '{b}'")
    found = diff_models(before, after)
    if as_json:
        print_json({"before": str(a), "after": str(b), "counts": found.counts, **asdict(found)})
    else:
        print_plain(f"{a} -> {b}")
        for line in diff_lines(found):
            print_plain(line)
    if not found.is_empty:
        raise typer.Exit(DIFFERENCE)
