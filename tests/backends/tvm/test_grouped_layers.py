"""Convolutions and transposed ones of any groups, whose channels come from and meet anything.

Where groups share a block of channels, a kernel may depend on where in it a channel stands; that is
for the layouts of a shuffle, a concatenation or a slice to break.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import planish

from .instructions import make_runnable
from .quantized_net import Net, check
from tests.helpers import Array, relative_error, run_ort

pytest.importorskip("tvm")

SOURCES = ("as it is", "shuffle", "concat", "slice")
ISA = {"int8": "avx512-vnni", "uint8": "avx512-vnni", "bfloat16": "avx512-bf16"}
MOST = {"float32": 1e-5, "bfloat16": 16 * 2.0**-9}  # of the largest value; one unit a rounding
DEVIATION = 0.4  # of weights, about
STEP = 0.03  # of a value of deviation 1


@dataclass(frozen=True, kw_only=True)
class Case:
    """A layer of `group` groups of `ins` channels, which make `outs` each."""

    op: str = "ConvTranspose"
    group: int
    ins: int
    outs: int
    size: tuple[int, ...] = (6, 5)
    kernel: tuple[int, ...] = (3, 3)
    strides: tuple[int, ...] = (1, 1)
    dilations: tuple[int, ...] = (1, 1)
    pads: tuple[int, ...] = (1, 1, 1, 1)
    more: tuple[int, ...] = (0, 0)  # output_padding
    source: str = "as it is"
    meets: bool = False  # the halves of what is added to the result
    dtype: str = "int8"

    @property
    def y_size(self) -> tuple[int, ...]:
        rank = len(self.size)
        found = []
        for i in range(rank):
            reach = (self.kernel[i] - 1) * self.dilations[i] + 1
            pads = self.pads[i] + self.pads[rank + i]
            if self.op == "Conv":
                found.append((self.size[i] + pads - reach) // self.strides[i] + 1)
            else:
                found.append((self.size[i] - 1) * self.strides[i] + reach - pads + self.more[i])
        return tuple(found)


class Text(Net):
    """Text of one type: between pairs where it is quantized, else without them."""

    def __init__(self, case: Case, seed: int) -> None:
        self.is_quantized = case.dtype in ("int8", "uint8")
        super().__init__(seed, np.uint8 if case.dtype == "uint8" else np.int8)
        self.zero = int(self.random.choice([37, 128, 200])) - (128 if case.dtype == "int8" else 0)

    def grid(self, name: str, deviation: float) -> str:
        if not self.is_quantized:
            return name
        return self.quantized(name, STEP * deviation, self.zero)

    def weight(self, name: str, *shape: int) -> str:
        if self.is_quantized:
            return self.integers(name, shape, axis=None)
        values = self.random.standard_normal(shape) * DEVIATION
        return self.constant(name, values.astype(np.float32))

    def mixed(self, name: str, x: str, ins: int, outs: int, rank: int) -> str:
        """Return what a convolution of one position makes of `x`."""
        w = self.weight(f"{name}_w", outs, ins, *[1] * rank)
        self.op(f"{name} = Conv ({x}, {w})")
        return self.grid(name, DEVIATION * ins**0.5)

    def halves(self, name: str, x: str, ins: int, outs: int, rank: int) -> str:
        first = max(1, outs // 2)
        a = self.mixed(f"{name}_a", x, ins, first, rank)
        if first == outs:
            return a
        b = self.mixed(f"{name}_b", x, ins, outs - first, rank)
        self.op(f"{name} = Concat <axis = 1> ({a}, {b})")
        return name

    def source(self, case: Case, x: str, channels: int) -> str:
        rank = len(case.size)
        if case.source == "concat":
            return self.halves("s", x, channels, channels, rank)
        if case.source == "slice":
            first = int(self.random.integers(0, 6))
            whole = self.mixed("s", x, channels, channels + 5, rank)
            starts, ends = np.array([first]), np.array([first + channels])
            given = [self.constant("starts", starts), self.constant("ends", ends)]
            axes = self.constant("axes", np.array([1]))
            self.op(f"part = Slice ({whole}, {given[0]}, {given[1]}, {axes})")
            return "part"
        s = self.mixed("s", x, channels, channels, rank)
        if case.source == "as it is" or channels % 2:
            return s
        apart = self.constant("apart", np.array([0, 2, channels // 2, *case.size]))
        flat = self.constant("flat", np.array([0, channels, *case.size]))
        order = ", ".join(map(str, [0, 2, 1, *range(3, rank + 3)]))
        self.op(f"split = Reshape({s}, {apart})")
        self.op(f"turned = Transpose <perm = [{order}]> (split)")
        self.op(f"shuffled = Reshape(turned, {flat})")
        return "shuffled"


def compare(case: Case, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    net, rank = Text(case, seed), len(case.size)
    channels, outputs = case.group * case.ins, case.group * case.outs
    x = net.source(case, net.grid("x", 1.0), channels)
    behind = (case.outs, channels) if case.op == "ConvTranspose" else (case.ins, outputs)
    w = net.weight("w", behind[1], behind[0], *case.kernel)
    attributes: dict[str, Any] = {
        "group": case.group,
        "strides": list(case.strides),
        "dilations": list(case.dilations),
        "pads": list(case.pads),
    }
    if case.op == "ConvTranspose":
        attributes["output_padding"] = list(case.more)
    listed = ", ".join(f"{name} = {value}" for name, value in attributes.items())
    net.op(f"c = {case.op} <{listed}> ({x}, {w})")
    taps = case.ins * np.prod(case.kernel)
    taps = taps / np.prod(case.strides) if case.op == "ConvTranspose" else taps
    deviation = DEVIATION**2 * float(channels * max(taps, 1)) ** 0.5
    shapes = {"x": (2, channels, *case.size)}
    result = "c"
    if case.meets:
        shapes["z"] = (2, outputs, *case.y_size)
        other = net.halves("o", net.grid("z", 1.0), outputs, outputs, rank)
        net.op(f"m = Add({net.grid('c', deviation)}, {other})")
        # No multiple of the steps that are added: nothing but few results are halfway between two.
        result, deviation = "m", 1.0471 * deviation + DEVIATION * outputs**0.5
    net.op(f"r = LeakyRelu <alpha = 0.5> ({result})")
    net.op(f"y = Identity({net.grid('r', deviation)})")
    given = ", ".join(f"float[{', '.join(map(str, s))}] {name}" for name, s in shapes.items())
    model = net.model(given, "float[] y")
    feeds: dict[str, Array] = {
        name: net.random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()
    }
    target = make_runnable(ISA[case.dtype], monkeypatch) if case.dtype in ISA else "cpu"
    if net.is_quantized:
        check(model, feeds, {"y": STEP * deviation}, target)
        return
    graph = planish.load(model)
    if case.dtype == "bfloat16":
        pipeline = planish.Pipeline.parse("convert-precision{to=bfloat16,compute=half}")
        graph = pipeline.run(graph, verify="off").graph
    found = planish.lower(graph, backend="tvm", target=target, threads=1)(feeds)["y"]
    assert relative_error(run_ort(model, feeds)["y"], found) < MOST[case.dtype]


def draw(seed: int) -> Case:
    random = np.random.default_rng(seed)

    def some(numbers: Any, count: int) -> tuple[int, ...]:
        return tuple(int(n) for n in random.choice(numbers, count))

    op = str(random.choice(["Conv", "ConvTranspose", "ConvTranspose"]))
    while True:
        rank = int(random.choice([1, 2, 2, 3]))
        group, ins = (
            int(random.choice([2, 2, 3, 4, 5, 8, 20])),
            int(random.choice([1, 2, 4, 8, 12])),
        )
        outs = ins if random.random() < 0.6 else int(random.choice([1, 2, 4, 8]))
        kernel, strides = some([1, 2, 3, 4], rank), some([1, 1, 2, 3], rank)
        dilations = some([1, 1, 1, 2, 3], rank)
        case = Case(
            op=op,
            group=group,
            ins=ins,
            outs=outs,
            size=some(range(3, 8 if rank < 3 else 5), rank),
            kernel=kernel,
            strides=strides,
            dilations=dilations,
            pads=some([0, 0, 1, 1, 2], 2 * rank),
            more=tuple(int(random.integers(0, s)) for s in strides),  # all that ONNX Runtime takes
            source=str(random.choice(SOURCES)),
            meets=bool(random.random() < 0.3),
            dtype=str(random.choice(["int8", "int8", "uint8", "float32", "bfloat16"])),
        )
        if group * max(ins, outs) <= 48 and min(case.y_size) > 0:
            return case


# Where groups share a block, or a phase has no taps.
KNOWN = {
    "transposed behind a shuffle": Case(group=2, ins=8, outs=8, source="shuffle"),
    "its result meets halves": Case(op="Conv", group=2, ins=8, outs=8, meets=True),
    "the last block has fewer groups": Case(
        group=20, ins=2, outs=2, kernel=(2, 2), strides=(3, 1), more=(2, 0), pads=(0, 0, 0, 0)
    ),
    "phases without taps": Case(
        group=4, ins=4, outs=4, kernel=(1, 1), strides=(2, 2), dilations=(3, 3), more=(0, 1)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_groups_that_share_a_block(monkeypatch, name) -> None:
    compare(KNOWN[name], 0, monkeypatch)


@pytest.mark.parametrize(
    "seed", [pytest.param(n, marks=[pytest.mark.slow] if n >= 2 else []) for n in range(80)]
)
def test_random_layers(monkeypatch, seed) -> None:
    compare(draw(seed), seed, monkeypatch)
