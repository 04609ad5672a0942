"""Peak memory of quantizing a network on 50 and on 500 samples, beside ONNX Runtime's own tool.

    python -m benchmarks.calibration_memory [SAMPLES ...]

Each run is a fresh process that reads its samples from an .npz file or a generator. Prints the peak
resident memory in MiB, how it grows from the fewest samples to the most, and the seconds of the
longest run.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console

CHANNELS, LAYERS, SIDE = 8, 4, 64
SAMPLES = (50, 500)
METHODS = {
    "planish": ("min-max", "moving-average", "percentile", "entropy", "mse"),
    "quantize_static": ("MinMax", "Percentile", "Entropy"),
}
Sample = dict[str, np.ndarray[Any, Any]]


def network() -> onnx.ModelProto:
    """Return a chain of convolutions, each with its Relu."""
    generator = np.random.default_rng(0)
    nodes, weights, x = [], [], "x"
    for i in range(LAYERS):
        weight = generator.standard_normal((CHANNELS, CHANNELS, 3, 3)) / 6
        weights.append(numpy_helper.from_array(weight.astype(np.float32), f"w{i}"))
        nodes += [
            helper.make_node("Conv", [x, f"w{i}"], [f"c{i}"], f"conv{i}", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"c{i}"], [f"r{i}"], f"relu{i}"),
        ]
        x = f"r{i}"
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, CHANNELS, SIDE, SIDE])
        for name in ("x", x)
    ]
    graph = helper.make_graph(nodes, "chain", ports[:1], ports[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def drawn(samples: int) -> Iterator[Sample]:
    """Draw one sample after the other."""
    generator = np.random.default_rng(0)
    for _ in range(samples):
        yield {"x": generator.standard_normal((1, CHANNELS, SIDE, SIDE), np.float32)}


def by_planish(model: Path, out: Path, method: str, source: str, samples: int) -> None:
    """Run the pass `quantize`, placement unmeasured, so that calibration is what is seen."""
    import planish

    graph = planish.load(model)
    feeds = drawn(samples) if source == "generator" else planish.load_feeds(source, graph)
    pipeline = planish.Pipeline.parse(f"quantize{{calibration={method},measure=false}}")
    planish.save(pipeline.run(graph, feeds, verify="off").graph, out)


def by_quantize_static(model: Path, out: Path, method: str, source: str, samples: int) -> None:
    """Run ONNX Runtime's static quantization."""
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, quantize_static

    class StreamedReader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.feeds = drawn(samples) if source == "generator" else rows(source)

        def get_next(self) -> Sample | None:
            return next(self.feeds, None)

    quantize_static(
        model, out, StreamedReader(), calibrate_method=getattr(CalibrationMethod, method)
    )


def rows(path: str) -> Iterator[Sample]:
    """Yield the samples of an .npz file as numpy reads it."""
    for row in np.load(path)["x"]:
        yield {"x": row[None]}


TOOLS: dict[str, Callable[[Path, Path, str, str, int], None]] = {
    "planish": by_planish,
    "quantize_static": by_quantize_static,
}


def peak_memory(folder: Path, tool: str, method: str, source: str, samples: int) -> float | None:
    """Return the peak memory in MiB of one run in a fresh process, None where it fails."""
    place = str(folder / f"{samples}.npz") if source == "npz" else source
    command = [
        sys.executable,
        "-m",
        "benchmarks.calibration_memory",
        "--run",
        str(folder),
        tool,
        method,
        place,
        str(samples),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def run_one(folder: str, tool: str, method: str, source: str, samples: str) -> None:
    """Run one tool in this process and print its peak memory."""
    out = Path(folder) / "out.onnx"
    TOOLS[tool](Path(folder) / "model.onnx", out, method, source, int(samples))
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    assert found is not None
    print(int(found[1]) / 1024)


def main(samples: list[int]) -> None:
    """Print one line for each tool, method and source of samples."""
    from planish.cli.show.plain import listing_table

    columns = ["tool", "method", "samples from", *(f"{count} samples" for count in samples)]
    lines: list[tuple[str, ...]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(network(), folder / "model.onnx")
        for count in samples:
            held = np.concatenate([sample["x"] for sample in drawn(count)])
            np.savez(folder / f"{count}.npz", x=held)
        for tool, methods in METHODS.items():
            for method in methods:
                for source in ("npz", "generator"):
                    peaks, seconds = [], 0.0
                    for count in samples:
                        started = time.perf_counter()
                        peaks.append(peak_memory(folder, tool, method, source, count))
                        seconds = time.perf_counter() - started
                    cells = ["failed" if peak is None else f"{peak:.0f}" for peak in peaks]
                    grows = "" if None in peaks else f"{peaks[-1] / peaks[0]:.2f}"
                    lines.append((tool, method, source, *cells, grows, f"{seconds:.1f}"))
    Console().print(listing_table(lines, *columns, "growth", "seconds"))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run_one(*sys.argv[2:])
    else:
        main([int(text) for text in sys.argv[1:]] or list(SAMPLES))
