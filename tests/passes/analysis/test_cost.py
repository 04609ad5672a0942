"""Multiply-accumulates, parameters and bytes against formulas and published figures."""

import numpy as np
import onnx
import pytest

import planish
from planish.passes.analysis.cost import costs_in_bodies

from tests.helpers import graph_of, model_of


def zeros(*shape):
    return np.zeros(shape, np.float32)


def macs(text, **weights):
    (only,) = planish.cost(graph_of(text, weights)).nodes
    return only.macs


@pytest.mark.parametrize(
    ("text", "weight", "expected"),
    [
        # batch * out channels * out positions * in channels of a group * kernel positions
        ("float[2,3,9,9] x) => (float[2,8,7,7] y) { y = Conv(x, w) }",
         (8, 3, 3, 3), 2 * 8 * 7 * 7 * 3 * 9),
        ("float[1,8,9,9] x) => (float[1,8,5,5] y) "
         "{ y = Conv<group=8,strides=[2,2],pads=[1,1,1,1]>(x, w) }",
         (8, 1, 3, 3), 8 * 25 * 9),
        ("float[1,8,9,9] x) => (float[1,12,9,9] y) { y = Conv<group=4>(x, w) }",
         (12, 2, 1, 1), 12 * 81 * 2),
        ("float[1,4,100] x) => (float[1,6,98] y) { y = Conv(x, w) }",
         (6, 4, 3), 6 * 98 * 4 * 3),
        ("float[1,4,5,6,7] x) => (float[1,6,4,5,6] y) { y = Conv(x, w) }",
         (6, 4, 2, 2, 2), 6 * 4 * 5 * 6 * 4 * 8),
        ("float[1,4,9,9] x) => (float[1,6,5,5] y) { y = Conv<dilations=[2,2]>(x, w) }",
         (6, 4, 3, 3), 6 * 25 * 4 * 9),
        # transposed: every input element meets every kernel position of its group's outputs
        ("float[2,4,5,5] x) => (float[2,6,11,11] y) { y = ConvTranspose<strides=[2,2]>(x, w) }",
         (4, 6, 3, 3), 2 * 4 * 25 * 6 * 9),
        ("float[1,4,5,5] x) => (float[1,6,7,7] y) { y = ConvTranspose<group=2>(x, w) }",
         (4, 3, 3, 3), 4 * 25 * 3 * 9),
        ("float[5,4] x) => (float[5,6] y) { y = Gemm(x, w) }", (4, 6), 5 * 4 * 6),
        ("float[4,5] x) => (float[5,6] y) { y = Gemm<transA=1,transB=1>(x, w) }",
         (6, 4), 5 * 4 * 6),
        ("float[2,3,5,4] x) => (float[2,3,5,6] y) { y = MatMul(x, w) }", (4, 6), 6 * 5 * 4 * 6),
        ("float[4] x) => (float y) { y = MatMul(x, w) }", (4,), 4),
        ("float[2,3] x) => (float[2,3] y) { y = Add(x, w) }", (2, 3), 0),
    ],
)  # fmt: skip
def test_formulas(text, weight, expected):
    assert macs("g (" + text, w=zeros(*weight)) == expected


def test_the_formula_of_a_convolution_by_counting():
    """An all-ones convolution of ones counts its own valid multiplications."""
    text = "g (float[1,2,6,7] x) => (float[1,3,3,2] y) { y = Conv<strides=[2,3]>(x, w) }"
    graph = graph_of(text, {"w": np.ones((3, 2, 2, 3), np.float32)})
    ones = planish.lower(graph)({"x": np.ones((1, 2, 6, 7), np.float32)})["y"]
    assert planish.cost(graph).macs == ones.sum()


def test_bytes_and_parameters():
    text = "g (float[2,3,9,9] x) => (float[2,8,7,7] y) { y = Conv(x, w, b) }"
    found = planish.cost(graph_of(text, {"w": zeros(8, 3, 3, 3), "b": zeros(8)}))
    parameters = 8 * 3 * 9 + 8
    assert found.parameters == parameters
    assert found.weight_bytes == 4 * parameters
    assert found.bytes_moved == 4 * (2 * 3 * 81 + parameters + 2 * 8 * 49)
    half = "g (float16[2,3] x) => (float16[2,4] y) { y = MatMul(x, w) }"
    found = planish.cost(graph_of(half, {"w": np.zeros((3, 4), np.float16)}))
    assert found.bytes_moved == 2 * (6 + 12 + 8)


def test_shared_weights_are_counted_once():
    text = "g (float[2,4] x) => (float[2,4] y) { t = MatMul(x, w)\n y = MatMul(t, w) }"
    found = planish.cost(graph_of(text, {"w": zeros(4, 4)}))
    assert [n.parameters for n in found.nodes] == [16, 0]
    assert (found.parameters, found.weight_bytes) == (16, 64)
    assert found.macs == 2 * 2 * 4 * 4


def test_dynamic_dimensions_count_as_drawn_or_as_told():
    text = "g (float[N,3,H,9] x) => (float[N,8,H,9] y) { y = Conv(x, w) }"
    graph = graph_of(text, {"w": zeros(8, 3, 1, 1)})
    assert planish.cost(graph).macs == 8 * 64 * 9 * 3
    assert planish.cost(graph, {"H": 1}).macs == 8 * 9 * 3
    assert planish.cost(graph, {"N": 5, "H": 7}).macs == 5 * 8 * 7 * 9 * 3


def test_sizes_go_through_strides_and_unnamed_dimensions():
    text = (
        "g (float[N,3,H,W] x) => (float[N,8,P,Q] y) { c = Conv<strides=[2,2]>(x, w)\n y = Relu(c) }"
    )
    graph = graph_of(text, {"w": zeros(8, 3, 3, 3)})
    found = planish.cost(graph, {"N": 2, "H": 21, "W": 31})
    assert found.macs == 2 * 8 * 10 * 15 * 3 * 9
    assert found.unknown == 0
    assert found.nodes[0].output_shape[0] == "N"
    assert graph.inputs[0].shape == ["N", 3, "H", "W"]
    graph.inputs[0].shape = [None, 3, 9, 9]
    assert planish.cost(graph).macs == 8 * 16 * 3 * 9


def test_sizes_that_depend_on_data_are_unknown():
    body = "{ n = NonZero(x)\n f = Cast<to=1>(n)\n y = Transpose(f) }"
    text = f"g (float[9] x) => (float[K, 1] y) {body}"
    found = planish.cost(graph_of(text))
    assert [node.bytes_moved for node in found.nodes] == [None] * 3
    assert found.unknown == 3


@pytest.mark.parametrize("declared", ["N, 3, H, W", "1, 3, 17, 12"])
def test_sizes_that_are_computed_by_way_of_floats(declared):
    """As exporters write scale factors; the second Resize asks for what the first one gives."""
    resize = """
        s{i} = Shape({x}) f{i} = Cast<to = 1>(s{i}) g{i} = Mul(f{i}, factors) h{i} = Floor(g{i})
        i{i} = Cast<to = 7>(h{i}) u{i} = Resize<mode = "nearest">({x}, , , i{i})
        c{i} = Conv(u{i}, w)"""
    body = resize.format(i=1, x="x") + resize.format(i=2, x="c1") + " y = Relu(c2)"
    weights = {
        "factors": np.array([1, 1, 1.5, 2.5], np.float32),
        "w": np.zeros((3, 3, 3, 3), np.float32),
    }
    graph = graph_of(f"g (float[{declared}] x) => (float[a, b, c, d] y) {{ {body} }}", weights)
    found = planish.cost(graph, {} if "H" not in declared else {"H": 17, "W": 12})
    assert found.unknown == 0
    height, width, macs = 17, 12, 0
    for _ in range(2):
        height, width = int(height * 1.5) - 2, int(width * 2.5) - 2
        macs += 3 * 3 * 9 * height * width
    assert found.macs == macs
    assert found.nodes[-1].bytes_moved == 2 * 4 * 3 * height * width
    assert found.parameters == 4 + 3 * 3 * 9
    if "H" not in declared:
        assert found.nodes[-1].output_shape == (1, 3, height, width)


def test_unknown_shapes_and_subgraphs_are_left_out_and_said():
    graph = graph_of("""g (bool c, float[2] x) => (float[2] y, float[K, 1] z) {
        y = If (c) <then_branch = a () => (float[2] t) { t = Relu(x) },
                    else_branch = b () => (float[2] t) { t = Neg(x) }>
        n = NonZero(x)
        f = Cast<to=1>(n)
        z = Transpose(f)
    }""")
    found = planish.cost(graph)
    assert found.nodes[0].macs is None
    assert found.unknown >= 1
    assert found.macs == 0


def test_nodes_in_bodies_cost_what_they_cost_outside_for_one_run():
    layer = "Conv<pads=[1,1,1,1]>"
    graph = graph_of(
        f"""g (float[N,3,9,9] x, bool c) => (float[] y) {{
        a = {layer}(x, w)
        y = If (c) <then_branch = t () => (t1) {{ t0 = Relu(a) t1 = {layer}(t0, v) }},
                    else_branch = e () => (e2) {{ e2 = If (c) <
                        then_branch = d () => (d1) {{ d1 = {layer}(a, w2) }},
                        else_branch = f () => (f1) {{ f1 = {layer}(x, w) }}> }}>
        }}""",
        {"w": zeros(8, 3, 3, 3), "v": zeros(8, 8, 3, 3), "w2": zeros(8, 8, 3, 3)},
    )
    alone = planish.cost(
        graph_of(
            f"""g (float[N,3,9,9] x) => (float[] y, float[] z, float[] u) {{
            a = {layer}(x, w) b = Relu(a) y = {layer}(b, v) z = {layer}(a, w2) u = {layer}(x, w)
            }}""",
            {"w": zeros(8, 3, 3, 3), "v": zeros(8, 8, 3, 3), "w2": zeros(8, 8, 3, 3)},
        )
    )
    expected = {(n.op, n.macs, n.parameters, n.bytes_moved) for n in alone.nodes[1:]}
    found = costs_in_bodies(graph)
    holders = [each for each in found.values() if each.op == "If"]
    inner = [each for each in found.values() if each.op != "If"]
    assert {(n.op, n.macs, n.parameters, n.bytes_moved) for n in inner} == expected
    assert [(each.macs, each.bytes_moved) for each in holders] == [(None, None)]
    assert len(inner) == 4


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose", "Gemm", "MatMul"])
def test_a_malformed_operator_is_unknown(op):
    text = "g (float[1,3,4,4] x) => (float[1,3,4,4] y) {{ y = {}(x, x) }}"
    graph = graph_of(text.format(op))
    graph.nodes[0].inputs.pop()
    found = planish.cost(graph)
    assert found.macs == 0
    assert found.unknown == 1
    scalar = model_of(f"g (float x, float w) => (float y) {{ y = {op}(x, w) }}")
    assert planish.cost(planish.load(scalar)).macs == 0


@pytest.mark.parametrize(
    ("text", "weight", "op"),
    [
        ("float[1,3,9,9] x) => (float[1,8,7,7] y) { c = Conv(x, w)\n y = Relu(c) }",
         (8, 3, 3, 3), "Conv"),
        ("float[1,3,9,9] x) => (float[1,8,7,7] y) { c = Conv(x, w)\n s = Sigmoid(c)\n"
         "y = Mul(c, s) }", (8, 3, 3, 3), "Conv"),
        ("float[3,5] x) => (float[5,8] y) { c = Gemm<transA=1>(x, w)\n y = Relu(c) }",
         (3, 8), "Gemm"),
    ],
)  # fmt: skip
def test_fused_operators_cost_the_same(text, weight, op):
    before = graph_of("g (" + text, {"w": zeros(*weight)})
    after = planish.Pipeline.parse("fuse-conv-activation").run(before, verify="off").graph
    (node,) = after.nodes
    assert (node.domain, node.op.startswith(op)) == ("planish", True)
    unfused, fused = planish.cost(before), planish.cost(after)
    assert fused.macs == unfused.macs > 0
    explicit_bias = weight[0] if op == "Conv" else 0
    assert fused.parameters == unfused.parameters + explicit_bias
    assert fused.unknown == 0


def resnet18():
    """Return ResNet-18 from the table of its paper, weights left at zero."""
    lines, weights, channels = [], {}, 64

    def conv(name, source, out, kernel, stride):
        weights[f"w{name}"] = zeros(out, sizes[source], kernel, kernel)
        pad = kernel // 2
        options = f"strides=[{stride},{stride}],pads=[{pad},{pad},{pad},{pad}]"
        lines.append(f"{name} = Conv<{options}>({source}, w{name})")
        sizes[name] = out
        return name

    sizes = {"x": 3}
    top = conv("stem", "x", 64, 7, 2)
    lines.append(f"pool = MaxPool<kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1]>({top})")
    sizes["pool"], top = 64, "pool"
    for stage in range(4):
        for block in range(2):
            out, stride = 64 << stage, 2 if stage and not block else 1
            name = f"s{stage}b{block}"
            inner = conv(f"{name}d", conv(f"{name}c", top, out, 3, stride), out, 3, 1)
            skip = top if channels == out else conv(f"{name}s", top, out, 1, stride)
            lines.append(f"{name} = Add({inner}, {skip})")
            sizes[name], channels, top = out, out, name
    weights["fc"] = np.zeros((512, 1000), np.float32)
    lines += [f"mean = GlobalAveragePool({top})", "flat = Flatten(mean)", "y = MatMul(flat, fc)"]
    text = "g (float[1,3,224,224] x) => (float[1,1000] y) {" + "\n".join(lines) + "}"
    return graph_of(text, weights)


def test_resnet18_has_1_814_billion_macs():
    found = planish.cost(resnet18())
    assert round(found.macs / 1e9, 3) == 1.814
    # 11.69 million parameters, less batch normalization's 9,600 and the classifier's bias.
    assert found.parameters == 11_689_512 - 9_600 - 1000
    assert found.unknown == 0


def test_mobilenet_v2_has_about_0_3_billion_macs():
    """From the paper's table: expansion, channels, repeats, stride of each stage."""
    stages = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
              (6, 160, 3, 2), (6, 320, 1, 1)]  # fmt: skip
    nodes, weights, channels, top = [], [], 32, "stem"

    def conv(name, source, into, out, kernel=1, stride=1, group=1):
        shape = (out, into // group, kernel, kernel)
        weights.append(onnx.numpy_helper.from_array(zeros(*shape), f"w{name}"))
        nodes.append(
            onnx.helper.make_node(
                "Conv", [source, f"w{name}"], [name], group=group,
                strides=[stride] * 2, pads=[kernel // 2] * 4,
            )
        )  # fmt: skip
        return name

    conv("stem", "x", 3, 32, 3, 2)
    for stage, (expansion, out, repeats, first) in enumerate(stages):
        for i in range(repeats):
            name, wide = f"s{stage}b{i}", channels * expansion
            if expansion > 1:
                top = conv(f"{name}e", top, channels, wide)
            top = conv(f"{name}d", top, wide, wide, 3, first if i == 0 else 1, wide)
            top, channels = conv(f"{name}p", top, wide, out), out
    top = conv("head", top, 320, 1280)
    nodes.append(onnx.helper.make_node("GlobalAveragePool", [top], ["mean"]))
    top = conv("y", "mean", 1280, 1000)
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes, "g", [value("x", 1, [1, 3, 224, 224])], [value("y", 1, [1, 1000, 1, 1])], weights
    )
    imports = [onnx.helper.make_opsetid("", 20)]
    model = onnx.helper.make_model(graph, opset_imports=imports, ir_version=10)
    assert round(planish.cost(planish.load(model)).macs / 1e9, 3) == 0.301


def test_shape_reads_no_values():
    """The exporter asks weights for their shape, which neither moves nor owns them."""
    body = "{ s = Shape(w)\n c = Conv(x, w)\n f = Cast<to=1>(s)\n y = ReduceSum(f) }"
    graph = graph_of(
        f"g (float[1,3,9,9] x) => (float[] y, float[] c) {body}", {"w": zeros(8, 3, 1, 1)}
    )
    shape, conv, *_ = planish.cost(graph).nodes
    assert (shape.parameters, shape.bytes_moved) == (0, 4 * 8)
    assert conv.parameters == 24


def test_weights_in_constant_nodes_are_parameters_of_their_readers():
    """They are counted as initializers are: once, at the first reader, and nothing is moved."""
    text = """
        g (float[1,3,8,8] x) => (float[1,4,6,6] y)
        { w = Constant<value = float[4,3,3,3] {%s}> () a = Conv(x, w) b = Conv(x, w) y = Add(a, b) }
    """
    found = planish.cost(graph_of(text % ",".join(["1"] * 108), {}))
    held = {"w": np.ones((4, 3, 3, 3), np.float32)}
    other = planish.cost(
        graph_of(
            "g (float[1,3,8,8] x) => (float[1,4,6,6] y) { a = Conv(x, w) b = Conv(x, w) "
            "y = Add(a, b) }",
            held,
        )
    )
    assert [node.parameters for node in found.nodes] == [0, 108, 0, 0]
    assert (found.parameters, found.weight_bytes) == (other.parameters, other.weight_bytes)
    assert (found.macs, found.bytes_moved) == (other.macs, other.bytes_moved)


def test_local_functions_with_layers_are_unknown():
    graph = graph_of(
        """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
        g (float[1, 3, 8, 8] x) => (float[1, 3, 8, 8] y) {
            a = own.outer(x, w) b = own.plain(a) y = Conv<pads = [1,1,1,1]>(b, w) }
        <domain: "own", opset_import: ["" : 17, "own" : 1]>
        outer (x, w) => (y) { y = own.inner(x, w) }
        <domain: "own", opset_import: ["" : 17]>
        inner (x, w) => (y) { t = Conv<pads = [1,1,1,1]>(x, w) y = Relu(t) }
        <domain: "own", opset_import: ["" : 17]>
        plain (x) => (y) { y = Relu(x) }""",
        {"w": np.zeros((3, 3, 3, 3), np.float32)},
    )
    found = planish.cost(graph)
    assert [node.macs for node in found.nodes] == [None, 0, 3 * 64 * 27]
    assert found.unknown >= 1
