"""Outputs of several samples seen as one batch, so that no sample alone decides what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from .choose import MetricOptions, see_outputs
from .reading import OutputReading
from .result import Array, Outputs
from .seen import SeenOutput

# So many feeds are looked at, and fewer where they have more elements than that in all.
POOLED = 16
_MOST_ELEMENTS = 1 << 24


def enough(*seen: Sequence[Mapping[str, Array]]) -> bool:
    """Say whether as many samples as are looked at, or as can be kept, lie in each of `seen`."""
    elements = sum(a.size for arrays in seen for each in arrays for a in each.values())
    return len(seen[0]) >= POOLED or elements > _MOST_ELEMENTS


def see_pooled(
    readings: Mapping[str, OutputReading],
    options: MetricOptions,
    outputs: Sequence[Outputs],
    feeds: Sequence[Mapping[str, Array]],
) -> list[SeenOutput]:
    """Return the outputs of a graph, joined along their batch over `feeds`, one or more.

    Feeds of other shapes than those of the first that is not empty are left out, and all but that
    one where an output of steps or maps has no batch. Raises RefusedError as `see_outputs` does.
    """
    first = next((i for i, each in enumerate(feeds) if all(a.size for a in each.values())), 0)
    seen = see_outputs(readings, options, outputs[first], feeds[first])
    alike = _alike(outputs, feeds, first)
    if len(alike) == 1 or any(s.batch is None and s.values.ndim > 2 for s in seen):
        return seen
    feed = {
        name: np.concatenate([feeds[i][name] for i in alike]) if array.ndim else array
        for name, array in feeds[first].items()
    }
    return [_joined(each, [outputs[i][each.name] for i in alike], feed) for each in seen]


def _alike(
    outputs: Sequence[Outputs], feeds: Sequence[Mapping[str, Array]], first: int
) -> list[int]:
    """Return the places whose inputs and outputs have the shapes of those at `first`."""
    wanted = _shapes(outputs[first]), _shapes(feeds[first])
    size = sum(array.size for array in outputs[first].values())
    most = max(1, _MOST_ELEMENTS // max(size, 1))
    places = range(first, len(feeds))
    return [i for i in places if (_shapes(outputs[i]), _shapes(feeds[i])) == wanted][:most]


def _shapes(arrays: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
    return {name: np.shape(array) for name, array in arrays.items()}


def _joined(seen: SeenOutput, values: Sequence[Array], feed: Mapping[str, Array]) -> SeenOutput:
    if seen.batch is None:
        return seen
    return replace(
        seen, values=np.concatenate(values, seen.batch), feed=feed, known_batch=seen.batch
    )
