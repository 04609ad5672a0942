"""How many times faster than float32 the int8 networks are, beside ONNX Runtime's own quantizer.

    python -m benchmarks.quantized_speed [NETWORK ...] [--threads 2] [--seconds 8]

All three sessions of a network run in turns in one process, so that what else the machine does
falls on all alike; the 20th percentile of a run's time is compared. float32 is what the preset
`exact` gives; `quantize_static` gets that file too, normalizations folded, so that placement is
what is compared, with per-channel weights, unsigned activations (the fast kind on x86) and the same
feeds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

import planish

from examples import models

Feed = Mapping[str, np.ndarray[Any, Any]]
INT8 = "exact,inline-fused-operators,align-depthwise{multiple=16},lower-conv-transpose,quantize"


class CalibrationReader(CalibrationDataReader):  # type: ignore[misc]
    """Gives the feeds to `quantize_static` one by one."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        """Start at the first of `feeds`."""
        self._rest = iter(feeds)

    def get_next(self) -> Feed | None:
        """Return the next feed, or None at the end."""
        return next(self._rest, None)


def quantized_statically(model: Path, feeds: Sequence[Feed], folder: Path) -> Path:
    """Quantize with ONNX Runtime's tool and return the file."""
    made = folder / "quantize_static.onnx"
    quantize_static(
        str(model),
        str(made),
        CalibrationReader(feeds),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
    )
    return made


def session(path: Path, threads: int) -> ort.InferenceSession:
    """Open a session on the CPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def milliseconds(paths: Sequence[Path], feed: Feed, threads: int, seconds: float) -> list[float]:
    """Return the 20th percentile of one run's time for each file, measured in turns."""
    sessions = [session(path, threads) for path in paths]
    times: list[list[float]] = [[] for _ in sessions]
    for each in sessions:
        each.run(None, feed)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 15:
        for each, taken in zip(sessions, times, strict=True):
            start = time.perf_counter()
            each.run(None, feed)
            taken.append(time.perf_counter() - start)
    return [float(np.percentile(taken, 20)) * 1e3 for taken in times]


def measure(name: str, threads: int, seconds: float, folder: Path) -> str:
    """Quantize one network both ways and return a row of the table."""
    graph = planish.trace(models.build(name), models.example_inputs(name))
    feeds = planish.random_feeds(graph, samples=4)
    exact, int8 = (folder / f"{n}.onnx" for n in ("exact", "int8"))
    for pipeline, path in (("exact", exact), (INT8, int8)):
        target = f"cpu{{threads={threads}}}"
        result = planish.Pipeline.parse(pipeline).run(graph, feeds, verify="off", target=target)
        planish.save(result.graph, path, portable=True)
    paths = [exact, int8]
    note = ""
    try:
        paths.append(quantized_statically(exact, feeds, folder))
    except Exception as error:  # whatever the peer cannot do is a result
        note = f"  quantize_static fails: {type(error).__name__}"
    float_time, *others = milliseconds(paths, feeds[0], threads, seconds)
    cells = [f"{time:8.2f} ms {float_time / time:5.2f}x" for time in others]
    return f"{name:18} {float_time:8.2f} ms  {'  '.join(cells)}{note}"


def main() -> None:
    """Print one row a network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=models.NAMES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=8)
    given = parser.parse_args()
    print(f"{'':18} {'float32':>11}  {'planish int8':>18}  {'quantize_static':>18}")
    for name in given.networks:
        with tempfile.TemporaryDirectory() as folder:
            print(measure(name, given.threads, given.seconds, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
