"""From the nodes of a builder to a whole model, with feeds: the ends, and what lies beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from . import values
from .builder import Builder, info, reads
from .evaluate import Array, run_session, session_of

# On tensors without elements the runtime joins what does not fit together, or crashes.
_NOT_EMPTY = ("Concat", "InstanceNormalization", "ConvTranspose", "Scan")
# Elements of an output; of a feed of other values, sizes that are computed may be of any size.
_LARGEST = 1 << 24


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A model that ONNX Runtime runs, and feeds for it with what it gave; the first is ordinary.

    `feeds` and `outputs` belong together by position. `fragile` as in `Builder`.
    """

    model: onnx.ModelProto
    feeds: Sequence[Mapping[str, Array]]
    outputs: Sequence[Mapping[str, Any]]
    fragile: bool = False
    proposed: int = 0
    refused: int = 0

    def __repr__(self) -> str:
        """Show the graph, so that a falsifying example can be read."""
        return onnx.printer.to_text(self.model)


@dataclass
class _Ends:
    """The declared sizes of the inputs: numbers, symbols or nothing, and the numbers they have."""

    dims: dict[str, list[int | str | None] | None] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)


def finish(b: Builder) -> Drawn | None:
    """Return the model of `b` with feeds, or None where the runtime refuses the whole."""
    ends = _declared(b)
    overridable = _overridable(b)
    model = _model(b, ends, overridable)
    try:
        session = session_of(model)
    except Exception:  # the binding raises one class per status code
        return None
    feeds, outputs = [], []
    for feed in _feeds(b, ends, overridable):
        try:
            found = run_session(session, feed)
        except Exception:
            if not feeds:
                return None
            continue
        if any(getattr(value, "size", 0) > _LARGEST for value in found.values()):
            continue
        feeds.append(feed)
        outputs.append(found)
    if not feeds:
        return None
    return Drawn(
        model=model,
        feeds=feeds,
        outputs=outputs,
        fragile=b.fragile,
        proposed=b.proposed,
        refused=b.refused,
    )


def _declared(b: Builder) -> _Ends:
    ends = _Ends()
    dynamic = b.chance(0.5)
    for name, array in b.inputs.items():
        dims: list[int | str | None] = list(array.shape)
        for axis, size in enumerate(array.shape):
            if dynamic and b.chance(0.6 if axis == 0 else 0.25):
                symbol = f"{b.pick('n', 'm')}{size}" if b.chance(0.7) else f"{name}_{axis}"
                ends.sizes[symbol] = size
                dims[axis] = symbol
            elif dynamic and b.chance(0.05):
                dims[axis] = None
        ends.dims[name] = None if dynamic and b.chance(0.03) else dims
    return ends


def _overridable(b: Builder) -> list[str]:
    """Return the initializers that are inputs as well: few, or, as of IR version 3, all."""
    if not b.chance(0.1):
        return []
    arrays = b.initializers.items()
    fed = [n for n, a in arrays if a.dtype != values.BFLOAT16 and not values.is_narrow(a.dtype)]
    return [name for name in fed if b.chance(0.3)]


def _model(b: Builder, ends: _Ends, overridable: Sequence[str]) -> onnx.ModelProto:
    old = b.chance(0.06) and not b.functions
    listed = list(b.initializers) if old else overridable
    inputs = [info(name, array, ends.dims[name]) for name, array in b.inputs.items()]
    inputs += [info(name, b.initializers[name], b.initializers[name].shape) for name in listed]
    weights = [numpy_helper.from_array(array, name) for name, array in b.initializers.items()]
    if b.chance(0.05) and not old:
        weights.append(numpy_helper.from_array(np.ones(3, np.float32), "unused"))
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in b.nodes]
    for node in nodes:
        if b.chance(0.05):
            node.name = ""
    outputs = _outputs(b)
    graph = helper.make_graph(
        nodes,
        "g",
        inputs,
        [info(name, b.arrays[name]) for name in outputs],
        weights,
        value_info=_known(b, outputs),
    )
    imports = [helper.make_opsetid("", b.opset)]
    if b.functions:
        imports.append(helper.make_opsetid("local", 1))
    return helper.make_model(
        graph,
        opset_imports=imports,
        ir_version=3 if old else b.pick(8, 9, 10),
        functions=b.functions,
        producer_name="planish-tests",
    )


def _known(b: Builder, outputs: Sequence[str]) -> list[onnx.ValueInfoProto]:
    """Declare the types of some inner tensors."""
    if not b.chance(0.15):
        return []
    made = [name for node in b.nodes for name in node.output if name in b.arrays]
    inner = [name for name in made if name not in outputs]
    return [info(name, b.arrays[name]) for name in inner if b.chance(0.3)]


def _outputs(b: Builder) -> list[str]:
    """Return most of what nobody reads, some inner tensors, and rarely an input or a constant."""
    read = {name for node in b.nodes for name in reads(node)}
    made = [name for node in b.nodes for name in node.output if name in b.arrays]
    lively = [name for name in made if name not in b.constants]
    ends = [name for name in lively if name not in read]
    chosen = [name for name in ends if b.chance(0.85)] or ends[-1:]
    if lively and b.chance(0.5):
        chosen += b.rng.sample(lively, min(len(lively), b.rng.randint(1, 2)))
    if b.chance(0.06):
        chosen.append(b.rng.choice(list(b.inputs)))
    if b.constants and b.chance(0.06):
        chosen.append(b.rng.choice(sorted(b.constants)))
    chosen = chosen or list(b.inputs)[:1]
    return list(dict.fromkeys(chosen))


def _feeds(b: Builder, ends: _Ends, overridable: Sequence[str]) -> list[dict[str, Array]]:
    """Return the feed that the values come from, one of other sizes, one of other values."""
    feeds = [dict(b.inputs)]
    joined = any(node.op_type in _NOT_EMPTY for node in b.nodes)
    unfit = joined and any(array.size == 0 for array in b.arrays.values())
    if ends.sizes and not b.fragile and not unfit:
        least = 1 if joined else 0
        sizes = {symbol: b.pick(least, 1, 2, 3, 5, size) for symbol, size in ends.sizes.items()}
        feeds.append(_feed(b, ends, sizes, values.ordinary))
    if not b.fragile:
        draw = b.pick(values.extreme, values.mild)
        feeds.append(_feed(b, ends, ends.sizes, draw))
    if overridable and not unfit:
        feeds.append(
            dict(b.inputs) | {n: _other(b.initializers[n]) for n in overridable if b.chance(0.7)}
        )
    return feeds


def _other(array: Array) -> Array:
    """Return values near `array`, of its signs; of sizes and axes, the same in another order."""
    if not values.is_float(array.dtype):
        return np.flip(array).copy() if array.ndim else array
    return np.asarray(array * array.dtype.type(1.25))


def _feed(b: Builder, ends: _Ends, sizes: Mapping[str, int], draw: Any) -> dict[str, Array]:
    feed = {}
    for name, array in b.inputs.items():
        dims = ends.dims[name] or list(array.shape)
        shape = tuple(
            sizes.get(d, size) if isinstance(d, str) else size
            for d, size in zip(dims, array.shape, strict=True)
        )
        feed[name] = draw(b.rng, array.dtype, shape)
    return feed
