"""The check of well-formed graphs."""

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from planish.ir.core.errors import GraphError
from planish.ir.graph.wellformed import check

from tests.helpers import graph_of

TEXT = """g (bool c, float[2] x) => (float[2] y) {
    s = Sigmoid(x)
    y = If (c) <
        then_branch = a () => (float[2] t) { t = Relu(s) },
        else_branch = b () => (float[2] t) { u = Neg(x)  t = Abs(u) }
    >
}"""


def test_a_well_formed_graph_passes():
    graph = graph_of(TEXT)
    check(graph)
    assert [node.op for node in graph.nodes] == ["Sigmoid", "If"]


def test_nodes_out_of_order_are_sorted_only_on_request():
    graph = graph_of(TEXT)
    graph.nodes.reverse()
    with pytest.raises(GraphError, match="'s', which no node before it produces"):
        check(graph)
    check(graph, sort=True)
    check(graph)


def test_two_tensors_of_one_name():
    graph = graph_of("g (float[2] x) => (float[2] y) { t = Relu(x)\n y = Neg(t) }")
    graph.nodes[1].outputs[0].name = "t"
    with pytest.raises(GraphError, match=r"two tensors are named 't'.*Neg"):
        check(graph)


def test_a_constant_and_a_variable_of_one_name():
    graph = graph_of("g (float[2] x) => (float[2] y) { y = Add(x, w) }", {"w": np.zeros(2, "f")})
    graph.nodes[0].inputs[1].name = "x"
    with pytest.raises(GraphError, match="another tensor has that name"):
        check(graph)


def test_a_tensor_nobody_produces_names_node_and_tensor():
    graph = graph_of("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    graph.nodes[0].name = "act"
    graph.nodes[0].inputs = [gs.Variable("ghost")]
    with pytest.raises(GraphError, match=r"'act' \(Relu\) reads tensor 'ghost'"):
        check(graph)


def test_an_output_nobody_produces():
    graph = graph_of("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    graph.outputs = [gs.Variable("z")]
    with pytest.raises(GraphError, match="output 'z' is produced by no node"):
        check(graph)


def test_subgraphs_are_checked_and_do_not_leak():
    graph = graph_of(TEXT)
    inner = graph.nodes[1].attrs["else_branch"].nodes[0].outputs[0]
    graph.nodes[0].inputs = [inner]  # the main graph reads what only the branch has
    with pytest.raises(GraphError, match="'u'"):
        check(graph)
    graph = graph_of(TEXT)
    graph.nodes[1].attrs["then_branch"].nodes[0].inputs = [gs.Variable("ghost")]
    with pytest.raises(GraphError, match="'ghost'"):
        check(graph)


def test_an_undeclared_domain():
    graph = graph_of("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    graph.nodes[0].domain = "nowhere"
    with pytest.raises(GraphError, match="'nowhere'"):
        check(graph)


def test_a_chain_of_10_000_nodes():
    tensors = [gs.Variable(f"t{i}") for i in range(10_001)]
    nodes = [gs.Node("Relu", f"n{i}", {}, [tensors[i]], [tensors[i + 1]]) for i in range(10_000)]
    graph = gs.Graph(nodes, [tensors[0]], [tensors[-1]])
    check(graph, sort=True)
    graph.nodes[8_000].inputs = [gs.Variable("ghost")]
    with pytest.raises(GraphError, match=r"'n8000' \(Relu\) reads tensor 'ghost'"):
        check(graph, sort=True)
