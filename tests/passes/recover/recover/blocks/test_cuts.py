"""Where blocks are cut, and which of them are changed."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from planish.ir.graph.clone import clone
from planish.passes.recover.recover.blocks.cuts import find_blocks, same_computation, shared_tensors

from tests.helpers import graph_of
from tests.passes.recover.recover.small import chain, normal, with_masks, with_noise


def _borders(student: gs.Graph, teacher: gs.Graph) -> list[tuple[tuple[str, ...], ...]]:
    blocks = find_blocks(student, teacher, shared_tensors(student, teacher))
    return [(block.inputs, block.outputs) for block in blocks]


def test_a_chain_is_cut_every_three_layers_behind_the_activation() -> None:
    graph = chain(9)
    assert _borders(with_noise(graph), graph) == [
        (("x",), ("r2",)),
        (("r2",), ("r5",)),
        (("r5",), ("y",)),
    ]


def test_a_block_is_changed_where_its_own_nodes_are() -> None:
    teacher = chain(9)
    student = clone(teacher)
    weight = student.nodes[8].inputs[1]
    assert weight.name == "w4"
    weight._values = weight.values + np.float32(1)
    shared = shared_tensors(student, teacher)
    assert [b.changed for b in find_blocks(student, teacher, shared)] == [False, True, False]
    assert not same_computation(student, teacher)
    assert same_computation(clone(teacher), teacher)


def test_a_mask_changes_the_block_of_its_weight_alone() -> None:
    teacher = chain(9)
    student = with_masks(teacher)
    # Wherever the products of masks stand, each belongs to the block that reads it.
    student.nodes.sort(key=lambda node: node.op != "Mul")
    blocks = find_blocks(student, teacher, shared_tensors(student, teacher))
    assert [sum(node.op == "Mul" for node in block.nodes) for block in blocks] == [2, 3, 3]
    assert [block.inputs for block in blocks] == [("x",), ("r2",), ("r5",)]


def test_no_cut_where_a_tensor_was_renamed_or_resized() -> None:
    teacher = chain(9)
    student = with_noise(teacher)
    renamed = next(t for node in student.nodes for t in node.outputs if t.name == "r2")
    renamed.name = "other"
    assert _borders(student, teacher)[0] == (("x",), ("c2",))
    resized = with_noise(teacher)
    at = next(i for i, node in enumerate(resized.nodes) if node.outputs[0].name == "c2")
    resized.nodes[at].attrs["strides"] = [2, 2]
    assert "r2" not in shared_tensors(resized, teacher)


def test_skip_connections_are_tensors_of_a_cut() -> None:
    weights = {f"w{n}": normal(n, 4, 4, 1, 1) for n in range(8)}
    graph = graph_of(
        """g (float[N, 4, 6, 6] x) => (float[N, 4, 6, 6] y) {
            a = Conv (x, w0) b = Conv (a, w1) c = Conv (b, w2) d = Conv (c, w3)
            e = Conv (d, w4) f = Conv (e, w5) h = Conv (f, w6) i = Add (h, a)
            y = Conv (i, w7)
        }""",
        weights,
    )
    borders = _borders(with_noise(graph), graph)
    assert borders[0] == (("x",), ("c", "a")) or set(borders[0][1]) == {"c", "a"}
    assert "a" in borders[1][0]


def test_sizes_of_the_input_are_computed_in_every_block() -> None:
    weights = {f"w{n}": normal(n, 4, 4, 1, 1) for n in range(6)}
    graph = graph_of(
        """g (float[N, 4, 6, 6] x) => (float[] y) {
            s = Shape <start = 0, end = 1> (x)
            m = Constant <value = int64[1] {-1}> ()
            t = Concat <axis = 0> (s, m)
            a = Conv (x, w0) b = Conv (a, w1) c = Conv (b, w2) d = Conv (c, w3)
            e = Conv (d, w4) f = Conv (e, w5)
            y = Reshape (f, t)
        }""",
        weights,
    )
    assert _borders(with_noise(graph), graph) == [(("x",), ("c",)), (("c", "x"), ("y",))]
