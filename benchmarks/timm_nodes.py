"""How many operators optimizers leave of networks of timm, beside one another.

    pip install timm onnxsim onnxslim
    python -m benchmarks.timm_nodes [--static] [--dynamo] [NETWORK ...]

Each network has seeded random weights (nothing is downloaded) and is exported by the TorchScript
exporter, opset 17, with a dynamic batch unless `--static` says otherwise; `--dynamo` takes the
exporter on torch.export. Counted are all nodes but Constants, those of subgraphs too. Planish's
file is the portable one: fused operators are written out, so that none hides in a function. "GELUs
split" takes the 0.5 of a GELU into the layers after it (`push-affine{split-gelu=true}`). "At opset
20" the model was raised to the opset that has Gelu as one operator (`convert-opset{to=20}`, or the
exporter's own). Rows are judged by the column `planish`, at the opset of the exporter: one that
ends in `*` has more nodes than the better of onnxsim and onnxslim. The last column is the error of
planish's file on ONNX Runtime without its optimizations, of the range of the output.
"""

from __future__ import annotations

import argparse
import io
import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from rich.console import Console

from planish.cli.show.plain import listing_table

from .peers import by_onnxruntime, by_onnxsim, by_onnxslim, by_planish

# A name of timm, and the size of the image.
NETWORKS = {
    "resnet18": 64, "seresnext26d_32x4d": 64, "regnety_002": 64, "densenet121": 64, "dpn68": 64,
    "mobilenetv2_100": 64, "mobilenetv3_small_100": 64, "mobilenetv4_conv_small": 64,
    "efficientnet_lite0": 64, "efficientnet_b0": 64, "mnasnet_small": 64, "ghostnet_100": 64,
    "hardcorenas_a": 64, "tinynet_e": 64, "mixnet_s": 64, "rexnet_100": 64, "repvit_m0_9": 64,
    "convnext_atto": 64, "convnextv2_atto": 64, "edgenext_xx_small": 64, "mobilevit_xxs": 64,
    "mobilevitv2_050": 64, "fastvit_t8": 128, "efficientformer_l1": 224,
    "efficientformerv2_s0": 224, "levit_128s": 224, "vit_tiny_patch16_224": 224,
    "deit_tiny_distilled_patch16_224": 224, "swin_tiny_patch4_window7_224": 224, "pvt_v2_b0": 64,
    "poolformer_s12": 64, "xcit_nano_12_p16_224": 64, "coat_lite_tiny": 224,
    "coatnet_nano_rw_224": 224, "crossvit_tiny_240": 240, "nest_tiny": 224, "repvgg_a0": 64,
    "mobileone_s0": 64, "hrnet_w18_small": 64, "inception_v3": 96, "nfnet_l0": 64,
    "ese_vovnet19b_dw": 64, "dla34": 64, "res2net50_26w_4s": 64, "selecsls42b": 64,
    "cspdarknet53": 64, "gernet_s": 64, "botnet26t_256": 256, "mixer_s32_224": 224,
    "sequencer2d_s": 224, "davit_tiny": 64,
}  # fmt: skip

Array = np.ndarray[Any, Any]
Optimizer = Callable[[onnx.ModelProto], onnx.ModelProto]


OPTIMIZERS: dict[str, Optimizer] = {
    "planish": by_planish,
    "GELUs split": lambda model: by_planish(model, text="exact{split-gelu=true}"),
    "at opset 20": lambda model: by_planish(model, text="convert-opset{to=20},exact"),
    "onnxsim": by_onnxsim,
    "onnxslim": by_onnxslim,
    "ONNX Runtime, basic": lambda model: by_onnxruntime(model, "BASIC"),
}


def exported(name: str, *, static: bool, dynamo: bool) -> onnx.ModelProto:
    """Export a network of timm with random weights."""
    import timm

    torch.manual_seed(0)
    size = NETWORKS.get(name, 224)
    network = timm.create_model(name, pretrained=False).eval()
    image = torch.randn(1 if static else 2, 3, size, size)
    given = {"input_names": ["x"], "output_names": ["y"]}
    if dynamo:
        shapes = None if static else ({0: torch.export.Dim("batch", min=1, max=64)},)
        program = torch.onnx.export(
            network, (image,), dynamo=True, verbose=False, dynamic_shapes=shapes, **given
        )
        return program.model_proto
    axes = {} if static else {"x": {0: "batch"}, "y": {0: "batch"}}
    file = io.BytesIO()
    torch.onnx.export(
        network, (image,), file, dynamo=False, opset_version=17, dynamic_axes=axes, **given
    )
    return onnx.load_from_string(file.getvalue())


def count(graph: onnx.GraphProto) -> int:
    """Count the nodes of a graph and of those inside it, without Constants."""
    inside = [
        body
        for node in graph.node
        for attribute in node.attribute
        for body in ([attribute.g] if attribute.HasField("g") else attribute.graphs)
    ]
    return sum(node.op_type != "Constant" for node in graph.node) + sum(map(count, inside))


def error(before: onnx.ModelProto, after: onnx.ModelProto) -> float:
    """Return the largest difference of the first output, of its range, on random images."""
    dims = before.graph.input[0].type.tensor_type.shape.dim
    shape = [dim.dim_value or 3 for dim in dims]
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    expected, found = (_run(model, image) for model in (before, after))
    return float(np.abs(expected - found).max() / np.ptp(expected))


def _run(model: onnx.ModelProto, image: Array) -> Array:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: image})[0]


def row(name: str, model: onnx.ModelProto) -> tuple[str, ...]:
    """Return a row: name, nodes before, nodes after each optimizer, error of planish's file."""
    counts: dict[str, int | None] = {}
    found = float("nan")
    for label, optimizer in OPTIMIZERS.items():
        try:
            after = optimizer(model)
        except Exception as problem:
            print(f"{name}: {label} failed: {type(problem).__name__}")
            counts[label] = None
            continue
        counts[label] = count(after.graph)
        if label == "planish":
            found = error(model, after)
    peers = [counts[label] for label in ("onnxsim", "onnxslim")]
    best = min((nodes for nodes in peers if nodes is not None), default=None)
    ours = counts["planish"]
    more = ours is None or (best is not None and ours > best)
    cells = ["failed" if nodes is None else str(nodes) for nodes in counts.values()]
    return (name + (" *" if more else ""), str(count(model.graph)), *cells, f"{found:.1e}")


def main() -> None:
    """Print the table of the networks named, or of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--static", action="store_true")
    parser.add_argument("--dynamo", action="store_true")
    parser.add_argument("networks", nargs="*")
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    rows: list[tuple[str, ...]] = []
    for name in chosen.networks or NETWORKS:
        model = exported(name, static=chosen.static, dynamo=chosen.dynamo)
        rows.append(row(name, model))
        print("  ".join(rows[-1]), flush=True)
    headings = ["network", *(f">{each}" for each in ("exported", *OPTIMIZERS, "error"))]
    Console().print(listing_table(rows, *headings))


if __name__ == "__main__":
    main()
