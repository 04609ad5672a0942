"""`planish explain-int8`: why an integer model is slower or worse, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from ..backends.onnxruntime.explain.explain import apply_exclusions, explain_int8
from ..backends.onnxruntime.explain.report import Int8Report
from ..ir.core.errors import GraphError, SaveError
from ..ir.files.load import load
from ..ir.files.save import bytes_on_disk, save
from .options import feeds_of
from .show import explain as tables_explain
from .show import tables


def explain_model(
    model: Path,
    original: Path | None,
    feeds: tuple[Path | None, list[str] | None, str, str],
    output: Path | None,
    threads: int | None,
    seed: int,
    progress: Callable[[float, str], None],
) -> tuple[Int8Report, list[tuple[str, str]]]:
    """Explain `model`, write what the suggestions make of it to `output` where that is given.

    Returns the report, and the names and sizes of the files it is about. `feeds`: path, shapes,
    mean and std as the options have them.
    """
    graph = load(model)
    floats = None if original is None else load(original)
    path, shape, mean, std = feeds
    data = feeds_of(graph, path, shape, mean, std, seed)
    try:
        report = explain_int8(graph, floats, data, threads=threads, seed=seed, progress=progress)
    except GraphError as error:
        raise GraphError(f"{model}: {error}") from error
    sizes = [
        ("float" if original is None else str(original), _size(original)),
        (str(model), _size(model)),
    ]
    if output is not None:
        chosen = [name for s in report.suggestions if s.applied for name in s.nodes]
        save(apply_exclusions(graph, chosen, floats), output, portable=True)
        sizes.append((str(output), _size(output)))
    return report, sizes


def check_output(apply: bool, output: Path | None) -> None:
    """Refuse --apply without a file, and a file without --apply."""
    if apply and output is None:
        raise SaveError("--apply needs a file to write; add -o OUT")
    if output is not None and not apply:
        raise SaveError("-o writes what --apply makes; add --apply or leave it out")


def show(
    out: Console, report: Int8Report, sizes: list[tuple[str, str]], top: int, applied: bool
) -> None:
    """Print the report."""
    out.print(tables_explain.layers_table(report, top))
    out.print()
    for remark in report.remarks:
        out.print(f"- {remark}", highlight=False, markup=False)
    for note in tables_explain.notes(report):
        out.print(f"- {note}", highlight=False, markup=False)
    if report.suggestions:
        out.print()
        out.print(tables_explain.suggestions_table(report.suggestions))
    else:
        out.print("- no exclusion that was tried pays", highlight=False)
    out.print()
    qualities = [report.original, report.before]
    if applied:
        qualities.append(report.after or report.before)
    rows = [(n, q, size) for (n, size), q in zip(sizes, qualities, strict=True)]
    out.print(tables_explain.quality_table(rows))
    out.print(report.runtime, highlight=False)


def as_json(report: Int8Report, sizes: list[tuple[str, str]]) -> Any:
    """Return the report as JSON has it: what is not finite becomes the text "inf" or "-inf"."""
    return {**_plain(asdict(report)), "files": [name for name, _ in sizes]}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "inf" if value > 0 else "-inf"
    return value


def _size(path: Path | None) -> str:
    return "" if path is None else tables.scaled(bytes_on_disk(path), "B")
