"""What `verify="prove"` proves, and what it costs beside `verify="each"`.

    python -m benchmarks.proofs [NAME | FILE ...] [--width 0.25] [--size 64]

Names are of example networks, all by default. Times are CPU seconds, the best of three runs in
turn.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import onnx_graphsurgeon as gs
import torch
from rich.console import Console
from rich.table import Table

import planish

from examples import models

_RUNS = 3
_WAYS = ("off", "each", "prove")


def graph_of(name: str, width: float, size: int) -> gs.Graph:
    """Return an example network for any batch, or what a file holds."""
    if Path(name).suffix:
        return planish.load(name)
    module = models.build(name, width=width, size=size)
    (x,) = models.example_inputs(name, batch=2, size=size, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return planish.trace(module, (x,), dynamic_shapes=({0: torch.export.Dim("batch", max=64)},))


def main() -> None:
    """Print a row a network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=models.NAMES)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--size", type=int, default=64)
    given = parser.parse_args()
    table = Table("network", "edits", "proved", "off", "each", "prove", "prove / each")
    pipeline = planish.Pipeline.parse("exact")
    for name in given.names:
        graph = graph_of(name, given.width, given.size)
        times: dict[str, list[float]] = {way: [] for way in _WAYS}
        for _ in range(_RUNS):
            for way in _WAYS:
                started = time.process_time()
                result = pipeline.run(graph, verify=way)
                times[way].append(time.process_time() - started)
        off, each, prove = (min(times[way]) for way in _WAYS)
        certificate = result.certificate
        assert certificate is not None
        table.add_row(
            Path(name).stem,
            str(len(certificate.edits)),
            str(certificate.proved),
            *(f"{seconds:.2f}" for seconds in (off, each, prove)),
            f"{prove / each:.2f}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
