"""What a person asked outputs to be judged by, where no pass has judged by it.

A bound or guard of a pass judges on all feeds and tells so; without one, the question stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import onnx_graphsurgeon as gs

from ....ir.metrics.choose import AUTOMATIC, MetricOptions
from ....ir.run.compare import compare
from ....ir.run.comparison import Comparison
from ...engine.context import Feeds
from ...engine.contract import Pass


def asked_metric(passes: Sequence[Pass]) -> MetricOptions | None:
    """Return what the last of `passes` that judges outputs was told; None for its own choice."""
    names = {field.name for field in fields(MetricOptions)}
    for each in reversed(passes):
        if names <= {field.name for field in fields(each)}:
            found = MetricOptions(**{name: getattr(each, name) for name in names})
            return None if found == AUTOMATIC else found
    return None


def judged_as_asked(
    compared: Comparison, before: gs.Graph, after: gs.Graph, feeds: Feeds, asked: MetricOptions
) -> Comparison:
    """Return `compared` with the metrics that were `asked` for, over all of `feeds`."""
    found = compare(
        before,
        after,
        feeds,
        metric=asked.metric,
        class_axis=asked.class_axis,
        labels=asked.labels,
    )
    return replace(compared, metrics=found.metrics, chosen=found.chosen)
