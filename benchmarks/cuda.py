"""Target cuda of backend tvm on a GPU: outputs and times, beside ONNX Runtime's CUDA provider.

    python -m benchmarks.cuda MODEL.onnx [...]

Runs are interleaved, copies to and from the GPU included; prints the median time of each, their
ratio, and the largest difference over the range of the output. Needs a GPU.
"""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np
import onnxruntime as ort
from rich.console import Console

import planish
from planish.backends.tvm.cuda.spec.gpu import arch_here
from planish.cli.show.plain import listing_table

ROUNDS = 50


def row(path: str) -> tuple[str, ...]:
    """Compile, compare and time the model at `path`."""
    graph = planish.load(path)
    generator = np.random.default_rng(0)
    feeds = {
        tensor.name: generator.standard_normal(
            [size if isinstance(size, int) else 1 for size in tensor.shape]
        ).astype(tensor.dtype)
        for tensor in graph.inputs
    }
    compiled = planish.lower(graph, backend="tvm", target="cuda")
    session = ort.InferenceSession(path, providers=["CUDAExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    expected = dict(zip(names, session.run(names, feeds), strict=True))
    found = compiled(feeds)
    worst = max(
        float(np.abs(found[n] - expected[n]).max() / np.abs(expected[n]).max()) for n in names
    )
    ours, theirs = [], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        compiled(feeds)
        middle = time.perf_counter()
        session.run(names, feeds)
        ours.append(middle - started)
        theirs.append(time.perf_counter() - middle)
    mine, other = statistics.median(ours), statistics.median(theirs)
    return (
        path,
        f"{1e3 * mine:.2f} ms",
        f"{1e3 * other:.2f} ms",
        f"{mine / other:.2f}",
        f"{worst:.1e}",
    )


def main() -> None:
    """Measure and print; ends with status 2 where there is no GPU or no provider for it."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if arch_here() is None:
        print("benchmarks.cuda: TVM sees no CUDA driver or GPU here", file=sys.stderr)
        sys.exit(2)
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        print("benchmarks.cuda: pip install onnxruntime-gpu to compare with", file=sys.stderr)
        sys.exit(2)
    rows = [row(path) for path in sys.argv[1:]]
    columns = ("model", ">planish", ">ONNX Runtime", ">ratio", ">difference")
    Console().print(listing_table(rows, *columns))


if __name__ == "__main__":
    main()
