"""Take pictures as cameras and decoders give them.

f(x)   ->   f((p / 255 - mean) / std)        p: uint8 [N, H, W, C], or whatever is asked for

What a caller would do to each image is part of the model: one product and one sum a channel, which
exact passes fold into the first layer where its border allows it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core import dtypes
from ...ir.core.bounds import require_within
from ...ir.core.errors import RefusedError
from ...ir.core.nearest import nearest
from ...ir.graph.edit import Edit
from ...ir.graph.types import TensorType
from ...ir.graph.view import View
from ...ir.run.feeds import is_size
from ..engine.context import Context
from ..engine.contract import Pass
from .marked import is_marked, mark

_NAME = "preprocessing"
_TO_NCHW, _TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


@dataclass(frozen=True, kw_only=True)
class EmbedPreprocessing(Pass):
    """Put scaling, channel order, layout and type of pictures into the model.

    The input keeps its name and takes pictures; `shape` and size stay what they are.

    - `mean`: subtracted from pixels once they are divided; one value or one a channel.
    - `std`: what they are divided by then; one value or one a channel.
    - `divide-by`: what pixels are divided by first; 1 for a network that takes 0..255.
    - `layout`: how the pictures lie: `nhwc` as decoders give them, or `nchw`.
    - `dtype`: the type of the pictures.
    - `bgr`: whether the network takes blue first, and the pictures have red first.
    - `input`: the input that is meant, where several are images.
    """

    name: ClassVar[str] = "embed-preprocessing"
    keeps_interface: ClassVar[bool] = False

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    divide_by: float = 255.0
    layout: Literal["nhwc", "nchw"] = "nhwc"
    dtype: Literal["uint8", "float32"] = "uint8"
    bgr: bool = False
    input: str = ""

    def __post_init__(self) -> None:
        """Check that all are finite, and that nothing is divided by zero."""
        for name, values in (("mean", self.mean), ("std", self.std)):
            for value in values:
                require_within(name, value, -math.inf)
        require_within("divide-by", self.divide_by, -math.inf)
        if 0 in (*self.std, self.divide_by):
            raise RefusedError("std and divide-by divide pixels, and cannot be 0; give 1 for none")

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Put the steps in front of the input."""
        view = context.view()
        tensor = _image_input(graph, self.input)
        if is_marked(view.readers(tensor), _NAME):
            return
        channels = _channels(tensor)
        scale, shift = self._affine(channels)
        with context.editing() as edit:
            if edit.begin():
                self._embed(tensor, (scale, shift), view, edit)
        first = f", {'blue' if self.bgr else 'red'} first in the network" if channels == 3 else ""
        context.remark(f"{tensor.name} takes {self.dtype} pictures {tensor.shape}{first}")

    def _affine(self, channels: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return factor and summand of each channel, in the order in which the network has them."""
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                raise RefusedError(
                    f"{name} has {len(values)} values, and there are {channels} channels"
                )
        mean, std = (np.resize(np.array(v, np.float64), channels) for v in (self.mean, self.std))
        factor = 1 / (self.divide_by * std)
        return factor.reshape(1, -1, 1, 1), (-mean / std).reshape(1, -1, 1, 1)

    def _embed(
        self,
        tensor: gs.Variable,
        affine: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]],
        view: View,
        edit: Edit,
    ) -> None:
        dtype, shape = dtypes.numpy_dtype(tensor.dtype), list(tensor.shape)
        inner = edit.variable(f"{tensor.name}_normalized", TensorType(dtype, tuple(shape)))
        edit.replace(tensor, inner)
        at = edit.graph.nodes[0]
        steps: list[tuple[str, list[np.ndarray[Any, Any]], dict[str, Any]]] = []
        if np.dtype(self.dtype) != dtype:
            steps.append(("Cast", [], {"to": dtypes.elem_type(dtype)}))
        if self.layout == "nhwc":
            steps.append(("Transpose", [], {"perm": list(_TO_NCHW)}))
        if self.bgr:
            steps.append(("Gather", [np.arange(shape[1])[::-1].copy()], {"axis": 1}))
        if np.any(affine[0] != 1):
            steps.append(("Mul", [affine[0].astype(dtype)], {}))
        if np.any(affine[1]):
            steps.append(("Add", [affine[1].astype(dtype)], {}))
        current: gs.Tensor = tensor
        for place, (op, values, attrs) in enumerate(steps or [("Identity", [], {})]):
            last = place == max(len(steps) - 1, 0)
            made = inner if last else edit.variable(f"{tensor.name}_{op.lower()}")
            operands = [edit.constant(v, f"{tensor.name}_{op.lower()}_by") for v in values]
            mark(edit.node(op, [current, *operands], [made], attrs, at=at), _NAME, edit)
            current = made
        given = [shape[axis] for axis in _TO_NHWC] if self.layout == "nhwc" else shape
        edit.declare(tensor, np.dtype(self.dtype), given)


def _image_input(graph: gs.Graph, name: str) -> gs.Variable:
    """Return the input called `name`, or the one that may be images."""
    inputs = [t for t in graph.inputs if isinstance(t, gs.Variable)]
    named = [t for t in inputs if t.name == name]
    if name and not named:
        raise RefusedError(
            f"the graph has no input '{name}'{nearest(name, [t.name for t in inputs])}"
        )
    found = named or [t for t in inputs if t.shape is not None and len(t.shape) == 4]
    if len(found) != 1:
        which = ", ".join(t.name for t in found or inputs)
        raise RefusedError(f"which of the inputs takes pictures ({which}) does not follow; name it")
    return found[0]


def _channels(tensor: gs.Variable) -> int:
    fits = tensor.shape is not None and len(tensor.shape) == 4 and dtypes.is_float(tensor.dtype)
    if not fits or not is_size(tensor.shape[1]) or tensor.shape[1] > 4:
        raise RefusedError(
            f"input '{tensor.name}' {tensor.shape} is no float image [N, C, H, W] with 1 to 4 "
            "channels"
        )
    return int(tensor.shape[1])
