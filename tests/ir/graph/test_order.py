"""Topological order: stable, linear, without recursion, cycles named."""

import random

import onnx_graphsurgeon as gs
import pytest

from planish.ir.core.errors import GraphError
from planish.ir.graph.order import reads, sort

from tests.helpers import graph_of
from tests.work import calls_in


def chain(count):
    tensors = [gs.Variable(f"t{i}") for i in range(count + 1)]
    nodes = [gs.Node("Relu", f"n{i}", {}, [tensors[i]], [tensors[i + 1]]) for i in range(count)]
    return gs.Graph(nodes, [tensors[0]], [tensors[-1]])


def is_sorted(graph):
    made = set()
    for node in graph.nodes:
        for tensor in node.inputs:
            if tensor.inputs and id(tensor) not in made:
                return False
        made.update(id(tensor) for tensor in node.outputs)
    return True


def test_a_shuffled_chain_of_10_000_nodes():
    graph = chain(10_000)
    names = [node.name for node in graph.nodes]
    random.Random(0).shuffle(graph.nodes)
    assert not is_sorted(graph)
    sort(graph)
    assert [node.name for node in graph.nodes] == names


def test_work_is_linear():
    def work(count):
        graph = chain(count)
        random.Random(0).shuffle(graph.nodes)
        return calls_in(lambda: sort(graph))

    assert work(2000) < 2.5 * work(1000)


def test_a_cycle_of_10_000_nodes_is_found_without_recursion():
    graph = chain(10_000)
    graph.nodes[0].inputs = [graph.nodes[-1].outputs[0]]
    with pytest.raises(GraphError, match="cycle of 10000 nodes"):
        sort(graph)


def test_nodes_keep_their_order_where_they_may():
    graph = graph_of("g (float[2] x) => (float[2] a, float[2] b, float[2] c) "
                     "{ a = Relu(x)\n b = Neg(x)\n c = Abs(x) }")  # fmt: skip
    graph.nodes = [graph.nodes[i] for i in (2, 0, 1)]
    sort(graph)
    assert [node.op for node in graph.nodes] == ["Abs", "Relu", "Neg"]


@pytest.mark.parametrize("seed", range(5))
def test_random_graphs(seed):
    generator = random.Random(seed)
    tensors, nodes = [gs.Variable("x")], []
    for i in range(200):
        made = gs.Variable(f"t{i}")
        inputs = [generator.choice(tensors) for _ in range(generator.randint(1, 3))]
        nodes.append(gs.Node("Sum", f"n{i}", {}, inputs, [made]))
        tensors.append(made)
    generator.shuffle(nodes)
    graph = gs.Graph(nodes, tensors[:1], tensors[-1:])
    sort(graph)
    assert is_sorted(graph)
    assert len(graph.nodes) == 200


def test_only_the_cycle_is_named_and_not_what_hangs_on_it():
    t = {name: gs.Variable(name) for name in "xabcd"}
    nodes = [
        gs.Node("Relu", "after", {}, [t["b"]], [t["c"]]),
        gs.Node("Add", "one", {}, [t["x"], t["b"]], [t["a"]]),
        gs.Node("Neg", "two", {}, [t["a"]], [t["b"]]),
        gs.Node("Relu", "last", {}, [t["c"]], [t["d"]]),
    ]
    with pytest.raises(GraphError) as caught:
        sort(gs.Graph(nodes, [t["x"]], [t["d"]]))
    text = str(caught.value)
    assert "cycle of 2 nodes" in text
    assert "'one' (Add)" in text
    assert "'two' (Neg)" in text
    assert "after" not in text
    assert "last" not in text


def test_a_long_cycle_says_that_nodes_are_left_out():
    graph = chain(9)
    graph.nodes[0].inputs = [graph.nodes[-1].outputs[0]]
    with pytest.raises(GraphError, match=r"cycle of 9 nodes.*-> \.\.\. ->"):
        sort(graph)


def test_a_node_with_a_subgraph_reads_what_the_subgraph_captures():
    graph = graph_of("""g (bool c, float[2] x) => (float[2] y) {
        s = Sigmoid(x)
        y = If (c) <
            then_branch = a () => (float[2] t) { t = Relu(s) },
            else_branch = b () => (float[2] t) { u = Neg(x)  t = Abs(u) }
        >
    }""")
    assert sorted(tensor.name for tensor in reads(graph.nodes[1])) == ["c", "s", "x"]
    graph.nodes.reverse()
    sort(graph)
    assert [node.op for node in graph.nodes] == ["Sigmoid", "If"]
