"""The report of one model that was timed, or of two side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import onnx_graphsurgeon as gs

from ...tools.report.build import GivenModel, model_report, two_models
from ...tools.report.figures import Measuring
from ..files import size_on_disk
from ..reporting import how_made, measuring, write_told
from ..show.console import tell


def write_bench_report(
    models: Sequence[Path], read: Callable[[Path], gs.Graph], path: Path, timed: Measuring
) -> None:
    """Time the layers of one or two models as `timed` says, and write the report to `path`."""
    given = [GivenModel(graph=read(m), file=str(m), bytes=size_on_disk(m)) for m in models]
    with measuring(timed) as options:
        if len(given) == 1:
            made = model_report(given[0], made=how_made(), measuring=options)
        else:
            made = two_models(given[0], given[1], made=how_made(), measuring=options)
    write_told(made, path, tell)
