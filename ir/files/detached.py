"""A graph as a proto and its weights beside it: what other programs are handed, without a copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ..core.variables import dense_values
from ..proto.left_out import DataBeside, can_leave_out
from ..proto.to_proto import to_proto
from .load import import_model

Weights = Sequence[np.ndarray[Any, Any]]


def detach(graph: gs.Graph) -> tuple[onnx.ModelProto, Weights]:
    """Return `graph` as a proto, and the arrays of its weights, which are the graph's own.

    Tensors that are left out of the proto, those of subgraphs, functions and attributes too, say at
    which place of the list they are (`ir/proto/left_out`). Strings, sparse tensors and elements of
    less than a byte stay inside.
    """
    model, left_out = to_proto(graph, leave_out=can_leave_out, everywhere=True, keep_version=True)
    found = [dense_values(constant) for constant in left_out]
    return model, [values for values in found if values is not None]


def attach(model: onnx.ModelProto, weights: Weights, where: str) -> gs.Graph:
    """Return the graph of `model`, which errors call `where`, over `weights`, without a copy.

    Raises LoadError where the model is malformed.
    """
    return import_model(model, DataBeside(weights), where)
