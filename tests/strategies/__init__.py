"""Random valid convolutional networks, as a hypothesis strategy.

Small networks over one to three spatial dimensions: branches, residuals, concatenations, grouped,
depthwise, dilated and transposed convolutions with odd strides and pads, shared weights, dynamic
batch, the shape arithmetic that exporters leave behind, and no-ops of every kind.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper

from .affine import STEPS as AFFINE
from .basic import STEPS, head
from .channels import STEPS as CHANNELS
from .cleanup import STEPS as CLEANUP
from .decompose import STEPS as DECOMPOSE
from .fusion import STEPS as FUSION
from .layout import STEPS as LAYOUT
from .linear import STEPS as LINEAR
from .masks import STEPS as MASKS
from .network import Case, Draw, Network, Step
from .precision import STEPS as PRECISION
from .quantize import STEPS as QUANTIZE
from .recognition import STEPS as RECOGNITION
from .shuffle import STEPS as SHUFFLE

BATCH = 2

# One file a subject, each with its own STEPS: what the passes of that subject look for.
PATTERNS: tuple[Step, ...] = (
    *CLEANUP,
    *AFFINE,
    *CHANNELS,
    *LAYOUT,
    *LINEAR,
    *DECOMPOSE,
    *FUSION,
    *MASKS,
    *PRECISION,
    *QUANTIZE,
    *RECOGNITION,
    *SHUFFLE,
)


@st.composite
def networks(draw: Draw, *, most_steps: int = 12, patterns: Sequence[Step] = PATTERNS) -> Case:
    """Draw a random valid network with one input, one to seven outputs, and feeds for it.

    About every third step is one of `patterns`; a pass's own tests name the steps it looks for.
    """
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    net = Network(draw, generator, opset=draw(st.sampled_from((18, 20, 22))))
    rank = draw(st.sampled_from((1, 2, 2, 2, 3)))
    side = {1: 12, 2: 7, 3: 4}[rank]
    sizes = tuple(draw(st.integers(3, side)) for _ in range(rank))
    net.shapes["x"] = (BATCH, draw(st.integers(1, 4)), *sizes)
    last = "x"
    for _ in range(draw(st.integers(1, most_steps))):
        use_pattern = patterns and draw(st.integers(0, 2)) == 0
        last = draw(st.sampled_from(tuple(patterns) if use_pattern else STEPS))(net)
    if draw(st.booleans()):
        last = head(net)
    if last == "x" or last in net.integers:
        last = net.add("Relu", ["x"], net.shapes["x"])
    kept = net.integers | net.private
    made = [node.output[0] for node in net.nodes if node.output[0] not in kept]
    extra = draw(st.lists(st.sampled_from(made), max_size=2)) if made else []
    read = {name for node in net.nodes for name in node.input}
    unread = [name for name in made if name not in read][-draw(st.integers(1, 4)) :]
    outputs = list(dict.fromkeys([last, *unread, *extra]))
    dynamic = draw(st.booleans())
    model = helper.make_model(
        helper.make_graph(
            net.nodes,
            "network",
            [_info("x", net.shapes["x"], dynamic)],
            [_info(name, None, dynamic) for name in outputs],
            net.initializers,
        ),
        opset_imports=[helper.make_opsetid("", net.opset)],
        ir_version=10,
    )
    feed = net.generator.standard_normal(net.shapes["x"]).astype(np.float32)
    if draw(st.integers(0, 7)) == 0:
        feed.flat[0] = draw(st.sampled_from((np.nan, np.inf, -np.inf, -0.0, 1e-40)))
    return Case(model, {"x": feed})


def _info(name: str, shape: tuple[int, ...] | None, dynamic: bool) -> onnx.ValueInfoProto:
    if shape is None:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
    return helper.make_tensor_value_info(
        name, TensorProto.FLOAT, ["batch" if dynamic else shape[0], *shape[1:]]
    )
