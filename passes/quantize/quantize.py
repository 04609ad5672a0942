"""Insert quantize/dequantize pairs, so that runtimes compute on integers.

q = clip(round(x / scale) + zero_point, qmin, qmax)      x ~ scale * (q - zero_point)

`grid.py` gives the numbers, `calibration` the ranges, `placement.py` the tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from ..context import Context
from ..contract import DeclinedError, Pass
from ..driver import make_view
from ..fusion.inline_fused_operators import inline_fused_operators
from .calibration.calibrate import Method, calibrate
from .feeds import calibration_feeds
from .formats import Format
from .grid import Grid, grid_of_range
from .insert import Inserter
from .operators import Unit, read_unit
from .placement import Placement, is_dequantized, place


@dataclass(frozen=True)
class Quantize(Pass):
    """Quantize weights and activations: integer operators between quantize/dequantize pairs."""

    name: ClassVar[str] = "quantize"
    exact: ClassVar[bool] = False

    calibration: Method = "min-max"
    per_channel: bool = True
    symmetric: bool = False
    exclude: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Read the units, calibrate their tensors, insert the pairs."""
        inline_fused_operators(graph, context)
        edit = context.edit()
        view = make_view(graph, edit, context)
        units: list[Unit] = []
        for node in graph.nodes:
            if node.name in self.exclude or (self.operators and node.op not in self.operators):
                continue
            try:
                unit = read_unit(node, view)
            except DeclinedError as reason:
                context.decline(node, str(reason))
                continue
            if unit is not None:
                units.append(unit)
        placement = place(units, view)
        form = Format(8, False)
        names = [t.name for t in placement.tensors if not is_dequantized(t, view)]
        ranges = calibrate(
            graph,
            names,
            calibration_feeds(graph, context),
            method=self.calibration,
            form=form,
            symmetric=self.symmetric,
            progress=context.progress,
        )
        grids: dict[int, Grid] = {}
        for group in placement.groups:
            lows = [ranges[t.name].minimum for t in group]
            highs = [ranges[t.name].maximum for t in group]
            grid = grid_of_range(min(lows), max(highs), form, symmetric=self.symmetric)
            grids.update((id(t), grid) for t in group)
        Inserter(edit, view, Format(8, True, narrow=True), self.per_channel).insert(
            placement, grids
        )
        edit.commit()
