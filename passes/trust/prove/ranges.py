"""How large the tensors of a graph are on feeds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.errors import ExecutionError
from ...analysis.observe.capture import TensorCapture

# Of the feeds; of more, those behind may be larger.
_MOST_FEEDS = 8


class MeasuredRanges:
    """Runs `graph` on `feeds` where it is asked for ranges."""

    def __init__(
        self, graph: gs.Graph, feeds: Iterable[Mapping[str, np.ndarray[Any, Any]]]
    ) -> None:
        self._graph, self._feeds = graph, feeds

    def __call__(self, names: Sequence[str]) -> Mapping[str, float]:
        """Return the largest |x| of tensors, by name, of those that are there and are finite."""
        made = {t.name for node in self._graph.nodes for t in node.outputs}
        known = made | {tensor.name for tensor in self._graph.inputs}
        wanted = [name for name in names if name in known]
        found: dict[str, float] = {}
        try:
            capture = TensorCapture(self._graph, wanted)
            for feed in itertools.islice(self._feeds, _MOST_FEEDS):
                for name, array in capture(dict(feed)).items():
                    if dtypes.is_float(array.dtype) and array.size:
                        largest = float(np.abs(array.astype(np.float64)).max())
                        found[name] = max(found.get(name, 0.0), largest)
        except ExecutionError:
            return {}
        return {name: largest for name, largest in found.items() if np.isfinite(largest)}
