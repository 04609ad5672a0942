"""EfficientNet-Lite0 with its ImageNet weights on integers: agreement with float, noise and speed.

Calibrated on random crops of six photographs, judged on other crops, without a single label:

    python examples/quantize_efficientnet_lite.py [--judge 300] [--peer]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from agreement import agreement
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

import planish
from planish.backends.timing.bench import Subject, bench
from planish.cli.show.records import remark_lines

import efficientnet_lite
from photographs import Crops

PIPELINES = {
    "float32": "exact",
    "quantize": "exact,quantize",
    "int8": "int8",
}
Array = np.ndarray


def main() -> None:
    """Quantize in each way, and print agreement, noise, size and speed side by side."""
    options = _options()
    console = Console()
    traced = planish.trace(efficientnet_lite.load(), (torch.zeros(efficientnet_lite.INPUT_SHAPE),))
    name = traced.inputs[0].name
    calibration = Crops(name, options.calibrate, options.seed)
    judging = Crops(name, options.judge, options.seed + 1)
    graphs = {}
    for label, pipeline in track(PIPELINES.items(), "quantizing", console=console):
        result = planish.Pipeline.parse(pipeline).run(
            traced, calibration, verify="off", target=f"cpu{{threads={options.threads}}}"
        )
        graphs[label] = result.graph
        for line in remark_lines(result.records):
            console.print(f"{label}: {line}", highlight=False, markup=False)
    if options.peer:
        graphs["quantize_static"] = _peer(graphs["float32"], calibration)
    table = Table("", "top-1 agreement", "SQNR", "size", "time", "times as fast", box=box.SIMPLE)
    compiled = {label: planish.lower(g, threads=options.threads) for label, g in graphs.items()}
    feed = next(iter(judging))
    timings = bench(
        [Subject(label, each, feed) for label, each in compiled.items()], rounds=options.rounds
    )
    for timing, (label, graph) in zip(timings, graphs.items(), strict=True):
        agreed, sqnr = agreement(compiled["float32"], compiled[label], judging, console)
        size = len(planish.to_model(graph, portable=True).SerializeToString())
        table.add_row(
            label,
            f"{agreed:.1%}",
            f"{sqnr:.1f} dB",
            f"{size / 1e6:.2f} MB",
            f"{timing.median_ms:.2f} ms",
            f"{1 / timing.ratio:.2f}",
        )
    console.print(table)


def _peer(graph: object, calibration: Crops) -> object:
    """Return what ONNX Runtime's `quantize_static` makes of the same float graph."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._feeds = iter(calibration)

        def get_next(self) -> dict[str, Array] | None:
            return next(self._feeds, None)

    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        planish.save(graph, before, portable=True)
        quantize_static(
            before,
            after,
            Reader(),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return planish.load(after)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--calibrate", type=int, default=64, help="crops to calibrate on")
    parser.add_argument("--judge", type=int, default=300, help="other crops to judge on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=100, help="interleaved runs to time")
    parser.add_argument("--peer", action="store_true", help="quantize_static beside it")
    return parser.parse_args()


if __name__ == "__main__":
    main()
