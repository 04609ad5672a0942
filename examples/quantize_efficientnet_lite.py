"""EfficientNet-Lite0 with its ImageNet weights on integers: agreement with float, noise and speed.

Calibrated on random crops of six photographs, judged on other crops, without a single label:

    python examples/quantize_efficientnet_lite.py [--judge 300] [--peer]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

import planish
from planish.backends.bench import Subject, bench

import efficientnet_lite
import photographs

PIPELINES = {
    "float32": "exact",
    "quantize": "exact,quantize",
    "int8": "int8",
}
Array = np.ndarray


class Crops:
    """`count` random square crops of the photographs, drawn with `seed` at every reading."""

    def __init__(self, name: str, count: int, seed: int) -> None:
        self._name = name
        self._count = count
        self._seed = seed
        self._photographs = list(photographs.load().values())

    def __len__(self) -> int:
        """Return the number of crops."""
        return self._count

    def __iter__(self) -> Iterator[dict[str, Array]]:
        """Yield one feed a crop: half to all of the short side wide, anywhere."""
        generator = np.random.default_rng(self._seed)
        for index in range(self._count):
            image = self._photographs[index % len(self._photographs)]
            height, width = image.shape[:2]
            edge = int(min(height, width) * generator.uniform(0.5, 1))
            top = generator.integers(0, height - edge + 1)
            left = generator.integers(0, width - edge + 1)
            yield {self._name: photographs.prepare(image[top : top + edge, left : left + edge])}


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
        for record in result.records:
            for remark in record.remarks:
                console.print(f"{label}: {record.name}: {remark}", highlight=False, markup=False)
    if options.peer:
        graphs["quantize_static"] = _peer(graphs["float32"], calibration)
    table = Table("", "top-1 agreement", "SQNR", "size", "time", "times as fast", box=box.SIMPLE)
    compiled = {label: planish.lower(g, threads=options.threads) for label, g in graphs.items()}
    feed = next(iter(judging))
    timings = bench(
        [Subject(label, each, feed) for label, each in compiled.items()], rounds=options.rounds
    )
    for timing, (label, graph) in zip(timings, graphs.items(), strict=True):
        agreement, sqnr = _judge(compiled["float32"], compiled[label], judging, console)
        size = len(planish.to_model(graph, portable=True).SerializeToString())
        table.add_row(
            label,
            f"{agreement:.1%}",
            f"{sqnr:.1f} dB",
            f"{size / 1e6:.2f} MB",
            f"{timing.median_ms:.2f} ms",
            f"{1 / timing.ratio:.2f}",
        )
    console.print(table)


def _judge(
    reference: planish.Compiled, judged: planish.Compiled, crops: Crops, console: Console
) -> tuple[float, float]:
    """Return the share of crops on which the largest logit is the same, and the SQNR in dB.

    Both run on ONNX Runtime with its optimizations on, so that the integer kernels are judged.
    """
    agreed, signal, noise = 0, 0.0, 0.0
    for feed in track(crops, "judging", console=console, transient=True):
        (a,), (b,) = reference(feed).values(), judged(feed).values()
        agreed += int(a.argmax() == b.argmax())
        signal += float(np.square(a, dtype=np.float64).sum())
        noise += float(np.square(a.astype(np.float64) - b).sum())
    return agreed / len(crops), 10 * float(np.log10(signal / noise)) if noise else float("inf")


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
