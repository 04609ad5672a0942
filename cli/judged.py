"""The options that say what outputs are judged by, of every command that judges."""

from __future__ import annotations

from typing import Annotated

import typer

from ..ir.metrics.choose import AUTO, MetricOptions
from .option_groups import takes_group
from .options import LabelsOption


def _judged(
    metric: Annotated[
        str,
        typer.Option(
            help="What outputs are judged by: classification, sequence, segmentation, detection, "
            "image, heatmap, embedding, sqnr, or your own file.py:function; auto: as the graph "
            "says.",
        ),
    ] = AUTO,
    class_axis: Annotated[
        int | None, typer.Option(help="The axis of the classes; default: as the graph says.")
    ] = None,
    labels: LabelsOption = None,
) -> MetricOptions:
    """Return what was asked for. Raises RefusedError, before all work, where it is not there."""
    options = MetricOptions(metric, class_axis, tuple(labels or ()))
    options.users()
    return options


# A command's parameter `judged` is these options on its line.
takes_metric = takes_group("judged", _judged)
