"""Graphs of a generator that nobody here wrote: nnsmith's, through PyTorch's exporter.

    pip install nnsmith

(J. Liu et al., NNSmith: Generating Diverse and Valid Test Cases for Deep Learning Compilers, ASPLOS
2023.) It solves for shapes and attributes with Z3, and has opset 14 exported. Version 0.1.0 knows
the TorchScript exporter alone: PyTorch is asked for that one.
"""

from __future__ import annotations

import functools
import importlib.util
import warnings
from random import Random
from typing import Any

import numpy as np
import onnx
from onnx import helper

from tests.strategies.random_graphs import Drawn, values
from tests.strategies.random_graphs.evaluate import run_session, session_of

IS_THERE = importlib.util.find_spec("nnsmith") is not None
_MOST_NODES = 10
_MILLISECONDS = 5000


def by_nnsmith(number: int) -> Drawn | None:
    """Return a graph; None where it cannot be solved, exported or run."""
    import torch
    from nnsmith.graph_gen import model_gen
    from nnsmith.materialize import Model
    from nnsmith.util import set_seed

    rng = Random(f"nnsmith {number}")
    kind = Model.init("onnx")
    set_seed(number)  # of the weights
    export = torch.onnx.export
    torch.onnx.export = functools.partial(export, dynamo=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = model_gen(
                opset=_operators(),
                seed=rng.getrandbits(31),
                max_nodes=rng.randint(2, _MOST_NODES),
                timeout_ms=_MILLISECONDS,
            )
            made = kind.from_gir(found.make_concrete())
            made.refine_weights()
            return _fed(made.native_model, rng)
    except Exception:  # it asserts, Z3 gives up, the exporter and the runtime refuse
        return None
    finally:
        torch.onnx.export = export


@functools.cache
def _operators() -> Any:
    from nnsmith.materialize import Model

    return Model.init("onnx").operators()


def _fed(model: onnx.ModelProto, rng: Random) -> Drawn:
    session = session_of(model)
    kinds = {
        port.name: (
            np.dtype(helper.tensor_dtype_to_np_dtype(port.type.tensor_type.elem_type)),
            tuple(d.dim_value for d in port.type.tensor_type.shape.dim),
        )
        for port in model.graph.input
    }
    feeds = [
        {name: draw(rng, *kind) for name, kind in kinds.items()}
        for draw in (values.ordinary, values.mild)
    ]
    return Drawn(model=model, feeds=feeds, outputs=[run_session(session, feed) for feed in feeds])
