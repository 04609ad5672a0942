"""Whole graphs: steps, outputs and feeds."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from .draft import Draft, info_of, model_of, reference
from .elementwise import binary, cast, clip, compare, unary
from .indexing import gather, scatter
from .movement import concat, pad, rearrange, reshape, slice_, split, squeeze, tile, transpose
from .normalization import normalization
from .products import product
from .quantized import joined, quantized
from .reductions import arg, reduction, softmax
from .resize import resize
from .shapes import shapes
from .windows import convolution, global_pooling, pooling, transposed
from tests.strategies.network import Case, Draw

SIZES = (1, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17)


OPSETS = (11, 13, 17, 18, 20, 21)


STEPS: tuple[Callable[[Draft], None], ...] = (
    convolution, convolution, convolution, transposed, pooling, pooling, global_pooling, resize,
    resize, unary, unary, clip, binary, binary, compare, cast, transpose, reshape, squeeze, slice_,
    slice_, split, concat, concat, gather, scatter, tile, pad, rearrange, reduction, reduction, arg,
    softmax, normalization, normalization, product, product, quantized, joined, shapes,
)  # fmt: skip


def draw_case(rng: random.Random, most_steps: int = 4, steps: Sequence[Any] = STEPS) -> Case | None:
    """Draw a graph of one to `most_steps` steps and feeds for it; None where no node came out."""
    d = Draft(rng, np.random.default_rng(rng.randrange(1 << 32)), rng.choice(OPSETS))
    rank = d.pick(0, 1, 2, 3, 4, 4, 4, 4, 5)
    batch = d.pick(1, 1, 3)
    shape = [batch, *[d.pick(*SIZES) for _ in range(rank - 1)]][:rank]
    while np.prod(shape) > 4096:
        shape[shape.index(max(shape))] = 2
    d.inputs["x"] = d.values["x"] = d.normal(*shape)
    d.exact.add("x")
    if d.flip(0.2):
        d.inputs["n"] = d.values["n"] = d.numbers.integers(
            -9, 9, [d.pick(1, 3, 4) for _ in range(2)]
        )
        d.exact.add("n")
    for _ in range(d.between(1, most_steps)):
        d.pick(*steps)(d)
    if not d.nodes:
        return None
    return _case(d, dynamic=bool(rank) and d.flip(0.2))


def _case(d: Draft, dynamic: bool) -> Case | None:
    made = [name for node in d.nodes for name in node.output]
    read = {name for node in d.nodes for name in node.input}
    outputs = [name for name in made if name not in read]
    outputs += [name for name in (*made, *d.inputs) if d.flip(0.1)]
    if d.constants and d.flip(0.05):
        outputs.append(d.rng.choice(list(d.constants)))
    outputs = list(dict.fromkeys(outputs))
    used = read | set(outputs)
    inputs = {name: values for name, values in d.inputs.items() if name in used}
    graph = helper.make_graph(
        d.nodes,
        "drawn",
        [info_of(name, values, dynamic and name == "x") for name, values in inputs.items()],
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(d.values[name].dtype), None
            )
            for name in outputs
        ],
        [numpy_helper.from_array(v, name) for name, v in d.constants.items() if name in used],
    )
    model = model_of(graph, d.opset)
    try:
        reference(model, inputs)
    except Exception:
        return None
    return Case(model, inputs)


@st.composite
def compiled_cases(draw: Draw, *, most_steps: int = 4) -> Case:
    """Draw what `draw_case` does, by a seed: what shrinks is the seed, not the graph."""
    rng = random.Random(draw(st.integers(0, 2**32 - 1)))
    found = None
    while found is None:
        found = draw_case(rng, most_steps)
    return found
