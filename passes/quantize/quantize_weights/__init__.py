"""Store weights as integers; arithmetic stays in floating point.

    y = f(x, w)  ->  f(x, s (q - z))          q integers of 8, 4, 3 or 2 bits, s and z per channel
                                              or per block of one channel

Two spellings of s (q - z), the same numbers:
- `dequantize`: one DequantizeLinear, which runtimes know. ONNX Runtime fuses it with MatMul and
  plain Gemm to MatMulNBits, which reads the integers themselves (and rounds activations to 8 bits
  in blocks, about 45 dB). With anything else it multiplies the weights out at every run, and a
  convolution so fed stays out of its blocked layout: 1.2 to 6 times slower than float32 measured,
  a transposed Gemm 2 (int8) to 40 times (int4). Gemm is therefore written untransposed.
- `arithmetic`: Cast, Sub and Mul, which every runtime computes once when it loads the model. The
  file is as small and the speed that of float32; memory while running too. A constant folder that
  runs over the file afterwards gives the float weights back, so this pass stands last.
`auto` takes the first for matrices of 2^17 weights and more that few rows meet, where it is the
faster one (0.22 to 0.6 of the time of float32) unless ONNX Runtime fuses the product with what
follows (Relu, Clip, Add), which keeps it from MatMulNBits and takes 5 times as long as float32; the
second for the rest; and the first for all on
other targets than the CPU, whose runtimes look for it.

A table of Gather is looked up as integers of 8 bits, its scales with it, and only what was found is
multiplied out: the table takes a quarter in memory too. The weights of LSTM, GRU and RNN, for which
ONNX has no operator on integers, are of the second spelling.

Size: one float32 scale for 32 weights of 4 bits is 25 % on top, for 128 it is 6 %; per channel of a
layer with 576 inputs 1.4 %. So the default is one scale a channel for convolutions and one for 256
weights (8 bits: 128, from opset 21 on) in matrices, where long blocks are faster than what the
runtime makes of channels; and scales are stored in float16 (rounding chosen for the stored scale,
so nothing is lost) where float32 would cost over 0.5 %.

Source: ONNX operators DequantizeLinear (opset 13; int4 and `block_size` from opset 21) and Cast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.counted import counted
from ....ir.graph.uses import scopes
from ....ir.ops.opsets import has_attribute, takes_type
from ....ir.ops.quantization.nodes import DEQUANTIZE
from ...engine.context import Context
from ...engine.contract import Pass
from ...engine.node_names import NodeSelection
from ...fusion.inline_fused_operators import inline_fused_operators
from ...opset.convert_opset import ensure_opset
from ..grids.blocks import Blocks, Search
from ..grids.formats import IntegerFormat
from .integer_weights import WeightStorage, write_weight
from .linear_weights import WEIGHTED, LinearWeight, WeightedOp, find_weights

# A part of the integers' bytes beyond which scales are stored in 16 bits.
_MOST_FOR_SCALES = 0.005
# Bytes that the nodes around an integer weight take in a file.
_NODES = 400
_OPSET_OF_INT4 = 21
# Where MatMulNBits takes no longer than the float product: measured on two threads.
_FUSED_BLOCKS = (16, 32, 64, 128, 256)
_LEAST_FUSED = 1 << 17
_MOST_ROWS = 4


@dataclass(frozen=True, kw_only=True)
class QuantizeWeights(NodeSelection, Pass):
    """Store weights of layers, also recurrent ones, and tables of Gather as integers with scales.

    - `bits`: of the integers; 2 and 3 lie in 4-bit storage, and below 8 the opset is raised to 21.
    - `signed`: integers below zero too, instead of from zero on.
    - `symmetric`: no zero points; `false` adds them.
    - `block-size`: one scale for so many weights in a row along the axis that is summed over,
      `none` for one a channel (which is taken too where that axis is shorter, or in convolutions no
      multiple of it).
    - `scale`: `mse` finds the scales of least squared error, `max` cuts nothing off; `auto` is
      `max` for 8 bits.
    - `scales`: their type; `auto` is float16 where float32 would add over 0.5 % to the size.
    - `form`: `dequantize` writes a DequantizeLinear, `arithmetic` Cast, Sub and Mul; `auto` takes
      what is faster.
    - `operators`: operators whose weights are stored so.
    """

    name: ClassVar[str] = "quantize-weights"
    exact: ClassVar[bool] = False
    settles: ClassVar[bool] = True
    bits: Literal[2, 3, 4, 8] = 8
    signed: bool = True
    symmetric: bool = True
    block_size: Literal["auto"] | int | None = "auto"
    scale: Literal["auto", "max", "mse"] = "auto"
    scales: Literal["auto", "float32", "float16"] = "auto"
    form: Literal["auto", "dequantize", "arithmetic"] = "auto"
    operators: tuple[WeightedOp, ...] = WEIGHTED

    def __post_init__(self) -> None:
        if isinstance(self.block_size, int) and self.block_size < 2:
            raise ValueError(f"block-size is {self.block_size}; give 2 or more, or none")

    @property
    def integers(self) -> IntegerFormat:
        """The integers that weights become; 8 bits leave out -128, so that signs are equal."""
        narrow = self.bits == 8 and self.signed and self.symmetric
        return IntegerFormat(self.bits, self.signed, narrow)

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Quantize what is worth it, after raising the opset where the integers need it."""
        inline_fused_operators(graph, context)
        self.check_nodes(graph, context, self.operators)
        weights: list[tuple[LinearWeight, WeightStorage]] = []
        for scope in scopes(graph):
            view = context.view(scope)
            found, declined = find_weights(view, self.operators, self)
            for node, reason in declined:
                context.decline(node, reason)
            for weight in found:
                spelling = self._spell(weight, graph, context)
                if self._saves(weight, spelling):
                    weights.append((weight, spelling))
                    continue
                for node in weight.nodes:
                    context.decline(node, "its weight is too small for integers to save space")
        newer = any(self._needs_newer(spelling) for _, spelling in weights)
        if not weights or (newer and not ensure_opset(graph, context, _OPSET_OF_INT4)):
            return
        with context.editing() as edit:
            for done, (weight, spelling) in enumerate(weights):
                context.progress(done / len(weights))
                if not edit.begin():
                    break
                write_weight(edit, weight, spelling)
        self._remark(weights, context)

    def _spell(self, weight: LinearWeight, graph: gs.Graph, context: Context) -> WeightStorage:
        role, view = weight.role, weight.view
        if role.is_table and self.bits == 8:
            return self._lookup(weight)
        half = weight.values.dtype == np.float16
        size = self.block_size
        form = self.form
        if form == "auto":
            fused = role.is_matrix and view.scope is graph and not half
            fused &= size in (*_FUSED_BLOCKS, "auto", None)
            fused &= weight.values.size >= _LEAST_FUSED and _rows(weight) <= _MOST_ROWS
            fused = fused and not _fuses_otherwise(weight)
            on_cpu = context.target.partition("{")[0] == "cpu"
            form = "dequantize" if fused or not on_cpu else "arithmetic"
        oriented = role.is_matrix and form == "dequantize"
        channels, sums = (1, 0) if oriented else (role.channels, role.sums)
        shape = weight.values.shape[::-1] if oriented and role.transposed else weight.values.shape
        if size == "auto":
            size = (256 if self.bits < 8 else 128) if oriented else None
            if self.bits == 8 and not has_attribute(DEQUANTIZE, "block_size", graph.opset):
                size = None  # no reason to raise the opset
        if size is not None and (
            shape[sums] < size or (form == "arithmetic" and shape[sums] % size)
        ):
            size = None
        # Older opsets have it for a whole tensor, or with scales of float32 alone.
        per_channel = has_attribute(DEQUANTIZE, "axis", graph.opset)
        takes_scales = takes_type(DEQUANTIZE, weight.values.dtype, graph.opset, 1)
        if self.bits == 8 and size is None and not (per_channel and takes_scales):
            form = "arithmetic"
            oriented, channels, shape = False, role.channels, weight.values.shape
        blocks = Blocks(channels) if size is None else Blocks(sums, size)
        search: Search = "max" if self.scale == "max" else "mse"
        if self.scale == "auto" and self.bits == 8:
            search = "max"
        scale_type = np.float16 if half else self._scale_type(blocks, shape)
        return WeightStorage(
            form=form,
            integers=self.integers,
            blocks=blocks,
            symmetric=self.symmetric,
            search=search,
            scale_type=scale_type,
            oriented=oriented,
        )

    def _lookup(self, weight: LinearWeight) -> WeightStorage:
        """Return the form of a table that stays integers in memory, with one scale an entry."""
        blocks = Blocks(weight.role.channels)
        half = weight.values.dtype == np.float16
        return WeightStorage(
            form="lookup",
            integers=self.integers,
            blocks=blocks,
            symmetric=self.symmetric,
            search="mse" if self.scale == "mse" else "max",
            scale_type=np.float16 if half else self._scale_type(blocks, weight.values.shape),
            oriented=False,
        )

    def _scale_type(self, blocks: Blocks, shape: tuple[int, ...]) -> type[np.floating]:
        if self.scales != "auto":
            return np.float16 if self.scales == "float16" else np.float32
        integers = dtypes.byte_size(math.prod(shape), self.integers.dtype)
        return np.float16 if 4 * blocks.count(shape) > _MOST_FOR_SCALES * integers else np.float32

    def _needs_newer(self, spelling: WeightStorage) -> bool:
        return self.bits < 8 or (spelling.form == "dequantize" and spelling.blocks.size is not None)

    def _saves(self, weight: LinearWeight, spelling: WeightStorage) -> bool:
        values = weight.values
        integers = dtypes.byte_size(values.size, self.integers.dtype)
        scales = spelling.blocks.count(spelling.shape(weight)) * spelling.scale_bytes
        return integers + scales + _NODES < values.nbytes

    def _remark(self, weights: list[tuple[LinearWeight, WeightStorage]], context: Context) -> None:
        before = sum(weight.values.nbytes for weight, _ in weights)
        matrices = sum(s.form == "dequantize" and w.role.is_matrix for w, s in weights)
        context.remark(
            f"{counted(len(weights), 'weight')} of {before / 1e6:.1f} MB became {self.integers} "
            "with scales"
        )
        if matrices and context.target.partition("{")[0] == "cpu":
            context.remark(
                f"ONNX Runtime fuses {matrices} of them to MatMulNBits, which also rounds what is "
                "multiplied to 8 bits; its session option session.qdq_matmulnbits_accuracy_level=1 "
                "keeps float32"
            )


def _fuses_otherwise(weight: LinearWeight) -> bool:
    """Say whether ONNX Runtime joins a product with what reads it, before it looks for integers."""
    for node in weight.nodes:
        for reader in weight.view.readers(node.outputs[0]):
            if reader.op in ("Relu", "Clip"):
                return True
            if node.op == "MatMul" and reader.op == "Add":
                return not any(weight.view.is_constant(t) for t in reader.inputs)
    return False


def _rows(weight: LinearWeight) -> int:
    """Return how many rows are multiplied with the matrix, a size that is not known taken as 1."""
    shapes = [weight.view.shape(node.inputs[0]) for node in weight.nodes]
    sizes = [[d for d in shape[:-1] if isinstance(d, int)] for shape in shapes if shape]
    return max((math.prod(known) for known in sizes), default=1)
