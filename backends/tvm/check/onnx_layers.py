"""Layers of ONNX on three spatial axes, run by ONNX Runtime with its optimizations off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import helper

from ..runtime.onnx_node import session_of
from ..spec.layout import Array

Pads = Sequence[tuple[int, int]]


def run_layer(
    op: str, inputs: Sequence[Array], rank: int, *, pads: Pads = (), **along: Sequence[int] | int
) -> Array:
    """Return the result [N, C, D, H, W] of the ONNX operator `op` on the last `rank` axes.

    `inputs` have five axes. `pads` and the sequences `along` have an entry for each of three axes.
    """
    rank = max(1, rank)
    attrs: dict[str, Any] = {
        name: given if isinstance(given, int) else list(given)[3 - rank :]
        for name, given in along.items()
    }
    if pads:
        befores, afters = zip(*list(pads)[3 - rank :], strict=True)
        attrs["pads"] = [*befores, *afters]
    names = [f"x{index}" for index in range(len(inputs))]
    flat = [values.reshape(*values.shape[:2], *values.shape[5 - rank :]) for values in inputs]
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node(op, names, ["y"], **attrs)],
            "layer",
            [
                helper.make_tensor_value_info(n, 1, v.shape)
                for n, v in zip(names, flat, strict=True)
            ],
            [helper.make_tensor_value_info("y", 1, None)],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=9,
    )
    session = session_of(model.SerializeToString())
    (found,) = session.run(None, dict(zip(names, flat, strict=True)))
    found = np.asarray(found)
    return found.reshape(*found.shape[:2], *[1] * (3 - rank), *found.shape[2:])
