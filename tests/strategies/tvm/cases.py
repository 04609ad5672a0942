"""Whole graphs: steps, outputs and feeds."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from .blocks import attention, excitation, heads, residual, separable
from .draft import Draft, info_of, model_of, reference
from .elementwise import binary, cast, clip, compare, logical, unary
from .generated import one_hot, ranges, stated, triangle
from .indexing import gather, scatter
from .movement import concat, pad, rearrange, reshape, slice_, split, squeeze, tile, transpose
from .normalization import normalization
from .products import einsum, product
from .quantized import byte_layers, joined, quantized
from .recurrent import recurrent
from .reductions import arg, reduction, softmax
from .resize import resize, sampled, upsample
from .shapes import computed_reshape, shapes
from .windows import convolution, fed_convolution, global_pooling, pooling, transposed
from tests.strategies.network import Array, Draw
from tests.strategies.random_graphs import Drawn

Step = Callable[[Draft], None]

SIZES = (1, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17)
OPSETS = (9, 11, 13, 13, 17, 17, 18, 20, 21)
_TRIES = 3

STEPS: tuple[Step, ...] = (
    *[convolution] * 5, *[transposed] * 2, *[pooling] * 3, global_pooling, *[resize] * 2, upsample,
    sampled, *[unary] * 3, clip, *[binary] * 3, compare, logical, cast, *[transpose] * 2, reshape,
    computed_reshape, squeeze, *[slice_] * 2, split, *[concat] * 3, gather, scatter, tile, pad,
    rearrange, *[reduction] * 2, arg, softmax, *[normalization] * 2, *[product] * 2, einsum,
    *[quantized] * 2, *[byte_layers] * 2, joined, shapes, fed_convolution, recurrent, attention,
    *[residual] * 2, separable, excitation, heads, triangle, ranges, one_hot, stated,
)  # fmt: skip


def draw_graph(
    rng: random.Random, most_steps: int = 4, steps: Sequence[Step] = STEPS
) -> Drawn | None:
    """Draw a graph of one to `most_steps` steps and feeds for it; None where no node came out."""
    d = Draft(rng, np.random.default_rng(rng.randrange(1 << 32)), rng.choice(OPSETS))
    dynamic = _inputs(d)
    for _ in range(d.between(1, most_steps)):
        _add_one(d, steps)
    if not d.nodes:
        return None
    return _drawn(d, dynamic)


def _inputs(d: Draft) -> bool:
    """Add inputs, and say whether the batch of the first is left unknown."""
    rank = d.pick(0, 1, 2, 3, 3, 4, 4, 4, 4, 4, 5)
    shape = [d.pick(1, 1, 3), *[d.pick(*SIZES) for _ in range(rank - 1)]][:rank]
    while np.prod(shape) > 4096:
        shape[shape.index(max(shape))] = 2
    d.feed("x", d.normal(*shape))
    if d.flip(0.2):
        d.feed("n", d.numbers.integers(-9, 9, [d.pick(1, 3, 4) for _ in range(2)]))
    if d.flip(0.1):
        d.feed("b", d.numbers.random(shape[-2:]) < 0.5)
    return bool(rank) and d.flip(0.2)


def _add_one(d: Draft, steps: Sequence[Step]) -> None:
    """Add a step; another where one finds nothing to add to."""
    before = len(d.nodes)
    for _ in range(_TRIES):
        d.pick(*steps)(d)
        if len(d.nodes) > before:
            return


def _drawn(d: Draft, dynamic: bool) -> Drawn | None:
    outputs = _outputs(d)
    used = {name for node in d.nodes for name in node.input} | set(outputs)
    inputs = {name: values for name, values in d.inputs.items() if name in used}
    graph = helper.make_graph(
        d.nodes,
        "drawn",
        [info_of(name, values, dynamic and name == "x") for name, values in inputs.items()],
        [_untold(name, d.values[name]) for name in outputs],
        [numpy_helper.from_array(v, name) for name, v in d.constants.items() if name in used],
    )
    model = model_of(graph, d.opset)
    feeds = [inputs, *([_longer(d, inputs)] if dynamic and "x" in inputs else [])]
    found = [(feed, got) for feed in feeds if (got := _answers(model, feed, outputs)) is not None]
    if not found or found[0][0] is not inputs:
        return None
    return Drawn(model=model, feeds=[f for f, _ in found], outputs=[got for _, got in found])


def _outputs(d: Draft) -> list[str]:
    """Return what nothing reads, and now and then what is read, an input or a constant."""
    made = [name for node in d.nodes for name in node.output]
    read = {name for node in d.nodes for name in node.input}
    outputs = [name for name in made if name not in read]
    outputs += [name for name in (*made, *d.inputs) if d.flip(0.1)]
    if d.constants and d.flip(0.05):
        outputs.append(d.rng.choice(list(d.constants)))
    return list(dict.fromkeys(outputs))


def _untold(name: str, values: Array) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(values.dtype), None)


def _longer(d: Draft, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return inputs with another number of rows in the first."""
    rows, *rest = inputs["x"].shape
    return {**inputs, "x": d.normal(d.pick(1, 2, rows + 2), *rest)}


def _answers(
    model: onnx.ModelProto, feed: Mapping[str, Array], outputs: Sequence[str]
) -> dict[str, Array] | None:
    try:
        return dict(zip(outputs, reference(model, dict(feed)), strict=True))
    except Exception:  # the binding raises one class per status code
        return None


@st.composite
def compiled_graphs(draw: Draw, *, most_steps: int = 4) -> Drawn:
    """Draw what `draw_graph` does, by a seed: what shrinks is the seed, not the graph."""
    rng = random.Random(draw(st.integers(0, 2**32 - 1)))
    found = None
    while found is None:
        found = draw_graph(rng, most_steps)
    return found
