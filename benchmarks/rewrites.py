"""Which optimizer rewrites what: a row a pattern, a column an optimizer, numbers checked.

    python -m benchmarks.rewrites [PATTERN ...]

A cell says `yes` where the pattern is gone and the outputs are those of the model before, `no`
where it is still there, `wrong` where the outputs differ by more than 1e-4 of their range, and
`fails` where the optimizer or its result cannot be run. Ends with an error where planish's column
holds anything but yes.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from rich.console import Console

import planish
from benchmarks.patterns import Pattern
from benchmarks.patterns.subjects import PATTERNS
from benchmarks.peers import PEERS, Optimizer, by_planish
from planish.cli.show.plain import listing_table

TOLERANCE = 1e-4
Outputs = Mapping[str, np.ndarray[Any, Any]]


def run(model: onnx.ModelProto, feed: Outputs) -> Outputs:
    """Run a model on ONNX Runtime with its optimizations off."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feed)), strict=True))


def agree(expected: Outputs, found: Outputs) -> bool:
    """Say whether names, shapes, types and, within the tolerance, values are equal."""
    if list(expected) != list(found):
        return False
    for name, a in expected.items():
        b = found[name]
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        scale = max(float(np.abs(a).max(initial=0)), 1e-30)
        if not np.abs(a.astype(np.float64) - b).max(initial=0) <= TOLERANCE * scale:
            return False
    return True


def cell(pattern: Pattern, model: onnx.ModelProto, optimizer: Optimizer) -> str:
    """Return what `optimizer` does with the pattern: yes, no, wrong or fails."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)  # some optimizers work in place
    feed = planish.random_feeds(planish.load(model))[0]
    expected = run(model, feed)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optimized = optimizer(copy)
        found = run(optimized, feed)
    except Exception:  # the peers raise what they like
        return "fails"
    if not agree(expected, found):
        return "wrong"
    return "yes" if pattern.folded(optimized) else "no"


def row(pattern: Pattern, peers: Mapping[str, Optimizer]) -> list[str]:
    """Return the cells of a pattern, planish's first."""
    # Some peers want the shapes of outputs declared.
    model = onnx.shape_inference.infer_shapes(pattern.build(), data_prop=True)
    if pattern.folded(model):
        raise AssertionError(f"'{pattern.name}' counts as folded before anything was done")
    optimizers = [partial(by_planish, portable=pattern.portable), *peers.values()]
    return [cell(pattern, model, optimizer) for optimizer in optimizers]


def main(names: Sequence[str]) -> int:
    """Print the table; return 1 where planish leaves a pattern."""
    logging.disable(logging.WARNING)
    console = Console()
    chosen = [p for p in PATTERNS if not names or any(name in p.name for name in names)]
    rows, failed = [], []
    for pattern in chosen:
        cells = row(pattern, PEERS)
        rows.append((pattern.name, *cells))
        console.print(" | ".join(rows[-1]), highlight=False, style="dim")
        if cells[0] != "yes":
            failed.append(pattern.name)
    totals = [str(sum(cells[i] == "yes" for cells in rows)) for i in range(1, len(PEERS) + 2)]
    rows.append((f"yes, of {len(chosen)}", *totals))
    console.print(listing_table(rows, "pattern", "planish", *PEERS))
    if failed:
        console.print(f"planish leaves: {', '.join(failed)}", highlight=False)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
