"""What the tiles of a convolution do besides the sums: where those stand, and what is asked for."""

from __future__ import annotations

import itertools
import re

import pytest

from planish.backends.tvm.compile.kernel import compile_kernel
from planish.backends.tvm.kernels.convolution import Convolution, convolution
from planish.backends.tvm.kernels.prefetch import Prefetch
from planish.backends.tvm.kernels.tile_sizes import RegisterTile
from planish.backends.tvm.spec.chain import ElementwiseChain
from planish.backends.tvm.spec.layout import Layout, no_halo
from planish.backends.tvm.spec.machine import MACHINES

tvm = pytest.importorskip("tvm")

HERE = MACHINES["avx512"]


def pointwise(channels: int, results: int) -> Convolution:
    """A 1x1 convolution of 6 x 6 positions."""
    x, y = (
        Layout.plain(count, HERE.lanes, no_halo(2)).spec((6, 6)) for count in (channels, results)
    )
    ones = (1, 1, 1)
    return Convolution(
        x=x,
        y=y,
        kernel=ones,
        strides=ones,
        dilations=ones,
        pads=((0, 0),) * 3,
        group=1,
        epilogue=ElementwiseChain(),
        batch=1,
    )


def assembly(conv: Convolution, tile: RegisterTile) -> str:
    return compile_kernel(convolution(conv, HERE, tile), HERE, 1).inspect_source("asm")


@pytest.mark.parametrize(
    "tile",
    [RegisterTile(1, 6, 2, False), RegisterTile(1, 14, 2, True), RegisterTile(1, 28, 1, True)],
)
def test_sums_are_not_allocated(tile) -> None:
    code = assembly(pointwise(32, 64), tile)
    assert "vfmadd" in code
    assert "AllocWorkspace" not in code


@pytest.mark.parametrize(
    ("results", "tile", "asked"),
    [
        (64, RegisterTile(1, 6, 2, False), True),
        (
            64,
            RegisterTile(1, 6, 2, True),
            False,
        ),  # all weights are read for every tile of positions
        (32, RegisterTile(1, 6, 2, False), False),  # no further blocks
        (64, RegisterTile(1, 28, 1, False), True),
    ],
)
def test_weights_of_the_next_blocks_are_asked_for(results, tile, asked) -> None:
    assert ("prefetch" in assembly(pointwise(32, results), tile)) is asked


@pytest.mark.parametrize("isa", ["avx2", "avx512", "neon"])
@pytest.mark.parametrize(("blocks", "turns", "inner"), [(1, 3, (2, 1, 3, 3)), (2, 7, (4, 1, 1, 1))])
def test_all_weights_are_asked_for_once(isa, blocks, turns, inner) -> None:
    lanes = MACHINES[isa].lanes
    shape = (6, *inner, lanes, lanes)
    steps = inner[0] * inner[1] * inner[2] * inner[3]
    # Sixteen numbers of four bytes make a line of 64 bytes.
    lines = blocks * steps * lanes * lanes // 16
    found = [
        line
        for turn, step in itertools.product(range(turns), range(steps))
        for line in asked_lines(shape, blocks, (turn, turns), (step, steps))
    ]
    assert set(range(lines)) <= set(found)
    assert max(found) < lines + turns
    assert len(found) <= 2 * (lines + turns * steps)


def asked_lines(shape, blocks, turn, step) -> list[int]:
    """Return the lines, counted from output block 3, that one step of a turn asks for."""
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script.builder import ir as script

    with IRBuilder() as builder, script.prim_func(s_tir=True):
        script.func_name("f")
        w = script.arg("W", script.buffer(shape, "float32"))
        Prefetch(w, 3, blocks, *turn).emit(*step)
    found = re.findall(r"address_of\(W\[(.*?)\]\)", builder.get().script())
    places = [[int(index) for index in one.split(",")] for one in found]
    assert all(place[:-1] == [3, 0, 0, 0, 0, 0] and place[-1] % 16 == 0 for place in places)
    return [place[-1] // 16 for place in places]
