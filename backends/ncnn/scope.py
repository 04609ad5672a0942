"""What converters see of a graph: tensors of one image as blobs, and layers that are added.

ncnn's blobs have no axis of images: a blob of `shape` stands for a tensor [1, *shape], and at most
four axes. Axes are counted from the outermost, so that axis i of a tensor is axis i - 1 of a blob.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.decline import need
from ...ir.core.variables import label
from ...ir.graph.view import View
from ...ir.ops.quantization.parameters import ConstantParameters
from .model import Array, NcnnLayer, Parameter

MOST_AXES = 4
_SIZES = {1: (0,), 2: (1, 0), 3: (2, 1, 0), 4: (2, 11, 1, 0)}  # keys of sizes, outermost first


class NcnnScope:
    """The layers of a network under construction; `view` is of its graph for one image;
    `precision`: what floats are computed in.

    `grids`: of tensors of integers, what a DequantizeLinear will be told of them, by id. Their
    blobs hold the floats that were quantized: where elements are only moved or chosen by size, the
    grid may come after.
    """

    def __init__(self, view: View, precision: str = "float32") -> None:
        self.view = view
        self.precision = precision
        self.layers: list[NcnnLayer] = []
        self.grids: dict[int, ConstantParameters] = {}
        self.remarks: dict[str, list[str]] = {}
        self._blobs: dict[int, str] = {}
        self._deferred: dict[int, Callable[[], str]] = {}
        self._count = 0
        self._alive: list[gs.Tensor] = []

    def input(self, tensor: gs.Tensor) -> str:
        """Add an input, and return its blob."""
        shape = self.shape(tensor)
        return self.define(tensor, self.add("Input", (), sizes(shape)))

    def define(self, tensor: gs.Tensor, blob: str) -> str:
        """Record that `blob` holds `tensor`."""
        self._blobs[id(tensor)] = blob
        self._alive.append(tensor)
        return blob

    def defer(self, tensor: gs.Tensor, make: Callable[[], str]) -> None:
        """Have `make` give the blob of `tensor` when it is asked for first."""
        self._deferred[id(tensor)] = make
        self._alive.append(tensor)

    def holds(self, tensor: gs.Tensor) -> bool:
        """Say whether `tensor` is held, or can be made."""
        return id(tensor) in self._blobs or id(tensor) in self._deferred

    def blob(self, tensor: gs.Tensor) -> str:
        """Return the blob of `tensor`, of a constant too."""
        if id(tensor) in self._deferred:
            self.define(tensor, self._deferred.pop(id(tensor))())
        if id(tensor) not in self._blobs:
            values = need(self.view.constant(tensor), f"'{tensor.name}' is not float32")
            self.define(tensor, self.constant(need_images(np.asarray(values))))
        return self._blobs[id(tensor)]

    def constant(self, values: Array) -> str:
        """Return a blob that holds `values`, the sizes of one image."""
        need(values.dtype == np.float32, f"a constant is {values.dtype}")
        params = {**sizes(values.shape), 21: 1}
        return self.add("MemoryData", (), params, (values, False))

    def shape(self, tensor: gs.Tensor) -> tuple[int, ...]:
        """Return the sizes of one image of `tensor`; declines what is not known, or no float."""
        kind = need(self.view.type(tensor), f"the type of '{tensor.name}' is not known")
        is_held = kind.dtype == np.float32 or id(tensor) in self.grids
        need(is_held, f"'{tensor.name}' is {kind.dtype}; ncnn takes float32")
        shape = need(kind.shape, f"the rank of '{tensor.name}' is not known")
        need(all(isinstance(s, int) and s > 0 for s in shape), f"'{tensor.name}' has open sizes")
        need(1 < len(shape) <= MOST_AXES + 1, f"'{tensor.name}' has {len(shape)} axes, of 2 to 5")
        need(shape[0] == 1, f"the first axis of '{tensor.name}' is not that of images")
        return tuple(int(size) for size in shape[1:] if isinstance(size, int))

    def add(
        self,
        kind: str,
        inputs: Sequence[str],
        params: Mapping[int, Parameter] | None = None,
        *weights: tuple[Array, bool],
    ) -> str:
        """Add a layer with one result, and return its blob."""
        (blob,) = self.add_many(kind, inputs, 1, params, *weights)
        return blob

    def add_many(
        self,
        kind: str,
        inputs: Sequence[str],
        outputs: int,
        params: Mapping[int, Parameter] | None = None,
        *weights: tuple[Array, bool],
    ) -> tuple[str, ...]:
        """Add a layer, and return its blobs."""
        number = self._count
        self._count += 1
        names = tuple(f"b{number}" if not i else f"b{number}.{i}" for i in range(outputs))
        name = f"{kind.lower()}_{number}"
        self.layers.append(
            NcnnLayer(
                type=kind,
                name=name,
                inputs=tuple(inputs),
                outputs=names,
                params=params or {},
                weights=weights,
            )
        )
        return names

    def reshaped(self, blob: str, shape: Sequence[int]) -> str:
        """Return `blob` with other sizes."""
        return self.add("Reshape", (blob,), sizes(shape))

    def remark(self, text: str, node: gs.Node) -> None:
        """Note what a person should know of `node`."""
        self.remarks.setdefault(text, []).append(label(node))


def sizes(shape: Sequence[int]) -> dict[int, Parameter]:
    """Return the parameters that give a blob its sizes."""
    return dict(zip(_SIZES[len(shape)], map(int, shape), strict=True))


def need_images(values: Array) -> Array:
    """Return `values` without the axis of images, which must be one."""
    need(1 < values.ndim <= MOST_AXES + 1, f"a constant has {values.ndim} axes, of 2 to 5")
    need(values.shape[0] == 1, "a constant differs from image to image")
    found: Array = values[0]
    return found


def axis_of(axis: Any, rank: int) -> int:
    """Return which axis of a blob `axis` of a tensor with `rank` axes is; declines the images'."""
    found = int(axis) % rank
    need(found > 0, "it works along the images")
    return found - 1
