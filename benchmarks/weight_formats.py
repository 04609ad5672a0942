"""Weights in fewer bits: size, accuracy and latency of each format, and of two peers.

    python -m benchmarks.weight_formats [NETWORK ...]

`weights` are the bytes of all constants that are not biases and the like, scales and zero points
included, as a part of float32's; `over` is what that is beyond the bits alone (1/4 for int8).
`time` is the latency over that of float32, each the fastest of interleaved runs on one thread.
Ends with an error where int8 or int4 weights of planish take over 3 % more than their bits.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from rich.console import Console

import planish
from planish.cli.show.plain import listing_table
from planish.ir.core import dtypes

Array = np.ndarray[Any, Any]
Model = onnx.ModelProto
MOST_OVER = 0.03
_ROUNDS = 8
_LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Format:
    """How weights are stored: the bits of one, and what makes it so."""

    name: str
    bits: int
    make: Callable[[Model], Model]
    judged: bool = False


def by_pass(text: str) -> Callable[[Model], Model]:
    """Return what runs the pipeline `text`."""

    def make(model: Model) -> Model:
        result = planish.Pipeline.parse(text).run(planish.load(model), verify="off")
        return planish.to_model(result.graph, portable=True)

    return make


def by_dynamic_peer(model: Model) -> Model:
    """Run onnxruntime.quantization.quantize_dynamic on matrices, one scale a channel."""
    from onnxruntime.quantization import quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.onnx"
        kinds = ["MatMul", "Gemm"]
        quantize_dynamic(model, path, op_types_to_quantize=kinds, per_channel=True)
        return onnx.load(path)


def by_nbits_peer(model: Model) -> Model:
    """Run onnxruntime's MatMulNBitsQuantizer with its defaults (4 bits, blocks of 128)."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(model, bits=4)
    quantizer.process()
    made: Model = quantizer.model.model
    return made


FORMATS = (
    Format("float32", 32, lambda model: model),
    Format("quantize-weights", 8, by_pass("quantize-weights"), True),
    Format("quantize-weights{bits=4}", 4, by_pass("quantize-weights{bits=4}"), True),
    Format(
        "quantize-weights{bits=4,signed=false,symmetric=false}", 4,
        by_pass("quantize-weights{bits=4,signed=false,symmetric=false}"),
    ),
    Format("quantize-weights{bits=2}", 4, by_pass("quantize-weights{bits=2}")),
    Format("quantize-dynamically", 8, by_pass("quantize-dynamically")),
    Format("convert-precision", 16, by_pass("convert-precision")),
    Format("convert-precision{compute=float32}", 16, by_pass("convert-precision{compute=float32}")),
    Format("convert-precision{to=bfloat16}", 16, by_pass("convert-precision{to=bfloat16}")),
    Format("onnxruntime quantize_dynamic", 8, by_dynamic_peer),
    Format("onnxruntime MatMulNBitsQuantizer", 4, by_nbits_peer),
)  # fmt: skip


def head() -> Model:
    """Return a classifier's head: 2048 features, 1024 hidden units, 1000 classes."""
    generator = np.random.default_rng(0)
    sizes = {"v": (2048, 1024), "w": (1024, 1000)}
    weights = [
        onnx.numpy_helper.from_array(
            (generator.standard_normal(shape) / shape[0] ** 0.5).astype(np.float32), name
        )
        for name, shape in sizes.items()
    ]
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[1, 2048] x) => (float[1, 1000] y) '
        "{ h = MatMul (x, v) r = Relu (h) y = MatMul (r, w) }"
    )
    model.graph.initializer.extend(weights)
    return model


def network(name: str, size: int, width: float = 0.5) -> Model:
    """Return an example network after the exact passes, at a small image size."""
    import torch

    from examples.models import build

    torch.set_num_threads(1)
    module = build(name, size=size, width=width)
    example = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    graph = planish.trace(module, (example,))
    result = planish.Pipeline.parse("exact").run(graph, verify="off")
    return planish.to_model(result.graph, portable=True)


NETWORKS: Mapping[str, Callable[[], Model]] = {
    "head": head,
    "mobilenet_v2": lambda: network("mobilenet_v2", 96, 1.0),
    "resnet18": lambda: network("resnet18", 64, 0.25),
}


def constant_bytes(model: Model) -> int:
    """Return the bytes of all constants, packed as files hold them."""
    return sum(dtypes.byte_size(int(np.prod(t.dims)), t.data_type) for t in model.graph.initializer)


def weight_bytes(model: Model) -> int:
    """Return the bytes of the weights of linear operators."""
    names = {node.input[1] for node in model.graph.node if node.op_type in _LINEAR}
    sizes = {t.name: 4 * int(np.prod(t.dims)) for t in model.graph.initializer}
    return sum(sizes.get(name, 0) for name in names)


def session(model: Model) -> ort.InferenceSession:
    """Return `model` ready to run on one thread."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def seconds(
    sessions: Mapping[str, ort.InferenceSession], feed: dict[str, Array]
) -> dict[str, float]:
    """Return the fastest run of each, taken in turns."""
    taken = dict.fromkeys(sessions, float("inf"))
    for _ in range(_ROUNDS):
        for name, run in sessions.items():
            started = time.process_time()
            run.run(None, feed)
            taken[name] = min(taken[name], time.process_time() - started)
    return taken


def rows(model: Model) -> list[tuple[Format, tuple[float, float, float, float]]]:
    """Return file, weights, SQNR in dB and time of each format, the first relative to float32."""
    feed = planish.random_feeds(planish.load(model))[0]
    made = {f.name: f.make(_copy(model)) for f in FORMATS}
    sessions = {name: session(found) for name, found in made.items()}
    expected = sessions["float32"].run(None, feed)[0].astype(np.float64)
    taken = seconds(sessions, feed)
    whole = weight_bytes(model)
    others = constant_bytes(model) - whole
    found = []
    for each in FORMATS:
        result = made[each.name]
        noise = float(((sessions[each.name].run(None, feed)[0] - expected) ** 2).sum())
        quality = 10 * np.log10(float((expected**2).sum()) / noise) if noise else float("inf")
        size = result.ByteSize() / model.ByteSize()
        weights = (constant_bytes(result) - others) / whole
        found.append((each, (size, weights, quality, taken[each.name] / taken["float32"])))
    return found


def _copy(model: Model) -> Model:
    copy = Model()
    copy.CopyFrom(model)
    return copy


def main() -> int:
    """Print one table a network; return how many sizes are over."""
    logging.disable(logging.WARNING)
    console = Console()
    failures = 0
    for name in sys.argv[1:] or NETWORKS:
        lines = []
        for each, (size, weights, quality, latency) in rows(NETWORKS[name]()):
            over = weights * 32 / each.bits - 1
            failures += each.judged and over > MOST_OVER
            numbers = (f"{size:.4f}", f"{weights:.4f}", f"{over:+.1%}", f"{quality:.1f}")
            lines.append((each.name, *numbers, f"{latency:.2f}"))
        headers = (name, "file", "weights", "over", "SQNR dB", "time")
        console.print(listing_table(lines, *headers))
    return failures


if __name__ == "__main__":
    sys.exit(main())
