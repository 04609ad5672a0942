"""Windows read from attributes, against what ONNX Runtime computes with the attributes as given."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import helper
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument

import planish
from planish.ir.core.decline import DeclinedError
from planish.ir.ops.windows.attributes import (
    averages_pads,
    explicit_pool,
    explicit_window,
    pool_window,
    read_window,
    window_attributes,
)
from planish.ir.ops.windows.sizes import outputs_of, reach_of, transposed_outputs

from tests.effort import examples
from tests.helpers import graph_of, model_of, run_ort, view_of

SAME = ("SAME_UPPER", "SAME_LOWER")


def _run(op, attrs, size, kernel, opset=20):
    inputs = [helper.make_tensor_value_info("x", 1, [1, 1, size])]
    y = helper.make_tensor_value_info("y", 1, None)
    weights = []
    if not op.endswith("Pool"):
        taps = (10.0 ** np.arange(kernel)).astype(np.float32)
        weights = [onnx.numpy_helper.from_array(taps.reshape(1, 1, -1), "w")]
    names = ["x", "w"][: 1 + len(weights)]
    node = helper.make_node(op, names, ["y"], kernel_shape=[kernel], **attrs)
    graph = helper.make_graph([node], "g", inputs, [y], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return run_ort(model, {"x": np.arange(1, size + 1, dtype=np.float32).reshape(1, 1, -1)})["y"]


@settings(max_examples=examples(60))
@given(
    op=st.sampled_from(["Conv", "MaxPool", "AveragePool"]),
    auto=st.sampled_from([*SAME, "VALID", ""]),
    size=st.integers(4, 9),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 4),
)
def test_explicit_pads_are_those_of_auto_pad(op, auto, size, kernel, stride):
    # Where most of a stride is skipped, pads are below zero, which no attribute can say.
    assume(kernel >= stride - 2 * (op == "Conv"))
    attrs = {"auto_pad": auto, "strides": [stride]}
    window = window_attributes(op, attrs, [kernel])
    (begin,), (end,) = window.pads([size])
    expected = _run(op, attrs, size, kernel)
    explicit = _run(op, {"strides": [stride], "pads": [begin, end]}, size, kernel)
    assert np.array_equal(explicit, expected)
    assert expected.shape[2] == outputs_of(size, kernel, stride, begin, end)
    assert window.is_padded or begin == end == 0


@settings(max_examples=examples(80))
@given(
    auto=st.sampled_from(SAME),
    size=st.integers(1, 12),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 6),
    dilation=st.integers(1, 3),
)
def test_pads_of_pools_of_same_size_are_the_runtimes(auto, size, kernel, stride, dilation):
    """They leave dilations out, and begin inside where the stride is larger than the kernel."""
    attrs = {"auto_pad": auto, "strides": [stride], "dilations": [dilation]}
    window = window_attributes("AveragePool", attrs, [kernel])
    (begin,), (end,) = window.pads([size])
    assume(window.outputs([size])[0])  # what is smaller than a dilated window is refused
    expected = _run("AveragePool", attrs, size, kernel)
    x = np.arange(1, size + 1, dtype=np.float32)
    padded = np.pad(x, [max(begin, 0), max(end, 0)], constant_values=np.nan)[max(-begin, 0) :]
    padded = padded[: len(padded) + min(end, 0)]
    found = [padded[o * stride :: dilation][:kernel] for o in range(expected.shape[2])]
    assert expected.shape[2] == window.outputs([size])[0]
    inside = [taps[~np.isnan(taps)] for taps in found]
    means = [taps.mean() if taps.size else 0.0 for taps in inside]  # of none the runtime gives 0
    assert np.allclose(expected.reshape(-1), means)


@settings(max_examples=examples(40))
@given(
    op=st.sampled_from(["Conv", "AveragePool"]),
    auto=st.sampled_from(SAME),
    size=st.integers(1, 12),
    kernel=st.integers(1, 2),
    stride=st.integers(1, 6),
)
def test_explicit_attributes_compute_the_same_or_are_declined(op, auto, size, kernel, stride):
    weight = "float[1, 1, {0}] w, " if op == "Conv" else ""
    graph = graph_of(
        f"g ({weight.format(kernel)}float[1, 1, {size}] x) => (float[] y) {{ y = {op} "
        f'<auto_pad = "{auto}", strides = [{stride}], kernel_shape = [{kernel}]> '
        f"(x{', w' if op == 'Conv' else ''}) }}"
    )
    view = view_of(graph)
    names = frozenset({"pads", "strides"})
    try:
        found = explicit_window(graph.nodes[0], view)
    except DeclinedError:
        assume(stride <= kernel)
        raise
    attrs = {name: found[name] for name in names}
    expected = _run(op, {"auto_pad": auto, "strides": [stride]}, size, kernel)
    assert np.array_equal(_run(op, attrs, size, kernel), expected)


@settings(max_examples=examples(80))
@given(
    auto=st.sampled_from([*SAME, "VALID", "NOTSET", ""]),
    size=st.integers(1, 5),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    extra=st.integers(0, 1),
    missing=st.none() | st.integers(-1, 4),
    opset=st.sampled_from([1, 11, 20]),
)
def test_pads_of_a_transposed_window(auto, size, kernel, stride, dilation, extra, missing, opset):
    """ONNX Runtime gives all versions the reading that ConvTranspose-11 wrote down."""
    assume(extra < max(stride, dilation))
    reach = reach_of(kernel, dilation)
    whole = transposed_outputs(size, reach, stride, 0, 0, extra=extra)
    steps = {"strides": [stride], "dilations": [dilation]}
    attrs = {**steps, "output_padding": [extra], "auto_pad": auto}
    if missing is not None:
        assume(whole - missing > 0)
        attrs["output_shape"] = [whole - missing]
    try:
        expected = _run("ConvTranspose", attrs, size, kernel, opset)
    except Exception:
        assume(False)
    (begin,), (end,) = window_attributes("ConvTranspose", attrs, [kernel]).pads([size])
    more = extra - min(end, 0)  # what output_shape asks for beyond the last window
    assume(more < max(stride, dilation))
    plain = {**steps, "output_padding": [more], "pads": [begin, max(end, 0)]}
    found = _run("ConvTranspose", plain, size, kernel, opset)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("auto", SAME)
def test_pads_that_need_no_size(auto):
    for kernel, dilation in ((1, 1), (2, 1), (3, 2), (4, 1)):
        attrs = {"auto_pad": auto, "dilations": [dilation]}
        window = window_attributes("Conv", attrs, [kernel])
        assert {window.pads([size]) for size in range(1, 9)} == {window.fixed_pads()}
    strided = window_attributes("Conv", {"auto_pad": auto, "strides": [2]}, [3])
    assert strided.fixed_pads() is None
    assert strided.pads([5]) != strided.pads([6])


@settings(max_examples=examples(60))
@given(
    size=st.integers(3, 9),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 4),
    begin=st.integers(0, 2),
    end=st.integers(0, 2),
)
def test_outputs_of_ceil_mode(size, kernel, stride, begin, end):
    assume(max(begin, end) < kernel)
    attrs = {"strides": [stride], "pads": [begin, end], "ceil_mode": 1}
    found = outputs_of(size, kernel, stride, begin, end, ceil=True)
    assert _run("MaxPool", attrs, size, kernel).shape[2] == found


@pytest.mark.parametrize(
    ("attrs", "counts"),
    [
        ("", False),
        ("pads = [0, 1, 0, 0]", True),
        ("pads = [0, 1, 0, 0], auto_pad = \"\"", True),
        ('auto_pad = "VALID"', False),
        ('auto_pad = ""', False),
        ('auto_pad = "NOTSET"', False),
        ('auto_pad = "SAME_LOWER"', True),
        ("ceil_mode = 1, strides = [2, 2]", True),
    ],
)  # fmt: skip
def test_means_that_count_what_lies_beside_the_input(attrs, counts):
    for included in (0, 1):
        text = f"kernel_shape = [2, 2], count_include_pad = {included}{', ' * bool(attrs)}{attrs}"
        pool = f"y = AveragePool <{text}> (x)"
        graph = graph_of(f"g (float[1, 2, 5, 5] x) => (float[] y) {{ {pool} }}")
        view = view_of(graph)
        assert averages_pads(graph.nodes[0], view) == (counts and bool(included))


@pytest.mark.parametrize(
    ("attrs", "size", "padded"),
    [
        ("kernel_shape = [2], strides = [2]", 4, False),
        ("kernel_shape = [2], strides = [2]", 5, True),
        ("kernel_shape = [2], strides = [2]", '"H"', True),
        ("kernel_shape = [2]", 4, True),
        ("kernel_shape = [3], strides = [3]", 9, False),
    ],
)
@pytest.mark.parametrize("op", ["MaxPool", "Conv"])
def test_automatic_pads_of_a_known_size_may_be_none(op, attrs, size, padded):
    """Written out they are zeros, which passes then read as such."""
    size = str(size).strip('"')
    weight, known = ("", {}) if op == "MaxPool" else (", w", {"w": np.ones((2, 2, int(attrs[16])))})
    for same in ("SAME_UPPER", "SAME_LOWER"):
        graph = graph_of(
            f"""g (float[1, 2, {size}] x) => (float[] y) {{
                y = {op} <{attrs}, auto_pad = "{same}"> (x{weight}) }}""",
            {name: values.astype(np.float32) for name, values in known.items()},
        )
        view = view_of(graph)
        assert read_window(graph.nodes[0], view).is_padded == padded


def test_attributes_left_out_are_the_defaults():
    window = window_attributes("Conv", {"pads": onnx.AttributeProto()}, [3, 1])
    assert (window.strides, window.dilations, window.begins, window.ends) == (
        (1, 1), (1, 1), (0, 0), (0, 0))  # fmt: skip
    assert window.auto_pad == "NOTSET"
    assert not window.is_pointwise
    assert window_attributes("Conv", {"auto_pad": b"SAME_LOWER"}, [1, 1]).is_pointwise
    assert window_attributes("Conv", {"auto_pad": b"SAME_LOWER"}, [2, 1]).is_padded
    assert not window_attributes("Conv", {"pads": [0, 0, 0, 1]}, [1, 1]).is_pointwise
    assert not window_attributes("Conv", {"strides": [1, 2]}, [1, 1]).is_pointwise


def test_a_pool_has_the_attributes_asked_for():
    graph = graph_of(
        "g (float[1, 2, 6, 6] x) => (float[] y) "
        '{ y = MaxPool <kernel_shape = [3, 2], strides = [2, 2], auto_pad = "SAME_UPPER"> (x) }'
    )
    view = view_of(graph)
    names = frozenset({"kernel_shape", "pads", "strides"})
    assert explicit_pool(graph.nodes[0], view, names) == {
        "kernel_shape": [3, 2], "pads": [0, 0, 1, 0], "strides": [2, 2]}  # fmt: skip
    assert pool_window(graph.nodes[0]).is_same


@pytest.mark.parametrize("same", SAME)
def test_the_pads_of_a_dilated_pool_are_written_out_as_the_runtime_has_them(same):
    """They are those of a kernel without gaps."""
    graph = graph_of(
        f"""g (float[1, 1, 9] x) => (float[] y) {{
            y = MaxPool <kernel_shape = [4], dilations = [2], auto_pad = "{same}"> (x) }}"""
    )
    found = explicit_pool(graph.nodes[0], view_of(graph), frozenset({"dilations", "pads"}))
    expected = _run("MaxPool", {"dilations": [2], "auto_pad": same}, 9, 4)
    assert np.array_equal(_run("MaxPool", found, 9, 4), expected)


def pool(attributes, op="AveragePool", shape="1, 2, 6, 6"):
    graph = graph_of(
        f"g (float[{shape}] x) => (float[] y) "
        f"{{ y = {op} <kernel_shape = [3, 3], {attributes}> (x) }}"
    )
    return graph.nodes[0], view_of(graph)


def test_a_pool_says_how_it_counts():
    names = frozenset({"ceil_mode", "count_include_pad"})
    node, view = pool("strides = [2, 2], ceil_mode = 1, count_include_pad = 1")
    assert explicit_pool(node, view, names) == {"ceil_mode": 1, "count_include_pad": 1}
    node, view = pool("strides = [2, 2]")
    assert explicit_pool(node, view, names) == {"ceil_mode": 0, "count_include_pad": 0}


def test_automatic_pads_and_ceil_mode_have_no_explicit_form():
    node, view = pool('strides = [2, 2], ceil_mode = 1, auto_pad = "SAME_UPPER"')
    with pytest.raises(DeclinedError, match=r"^auto_pad=SAME_UPPER together with ceil_mode$"):
        explicit_pool(node, view, frozenset({"pads"}))
    node, view = pool('strides = [2, 2], auto_pad = "SAME_UPPER"')
    assert explicit_pool(node, view, frozenset({"pads"})) == {"pads": [0, 0, 1, 1]}
    node, view = pool("strides = [2, 2], ceil_mode = 1, pads = [1, 1, 0, 0]")
    assert explicit_pool(node, view, frozenset({"pads"})) == {"pads": [1, 1, 0, 0]}


@pytest.mark.parametrize(
    ("attributes", "op", "expected"),
    [
        ("pads = [1, 1, 1, 1], count_include_pad = 1", "AveragePool", True),
        ("pads = [1, 1, 1, 1]", "AveragePool", False),
        ("count_include_pad = 1", "AveragePool", False),
        ("count_include_pad = 1, strides = [2, 2], ceil_mode = 1", "AveragePool", True),
        ("pads = [1, 1, 1, 1]", "MaxPool", False),
    ],
)
def test_means_that_count_zeros(attributes, op, expected):
    assert averages_pads(*pool(attributes, op)) is expected


def layer(attributes, op="Conv", x="1, 4, 7, 7", w="6, 2, 3, 2"):
    graph = graph_of(
        f"g (float[{x}] x, float[{w}] w) => (float[] y) {{ y = {op} {attributes} (x, w) }}"
    )
    return graph.nodes[0], view_of(graph)


def test_the_kernel_is_that_of_the_weight_where_no_attribute_says_it():
    window = read_window(*layer("<group = 2>"))
    assert (window.kernel, window.strides, window.pads([7, 7])) == (
        (3, 2),
        (1, 1),
        ((0, 0), (0, 0)),
    )
    with pytest.raises(DeclinedError, match=r"^the kernel size is not static$"):
        read_window(*layer("<group = 2>", w="6, 2, k, 2"))
    node, _ = layer("<group = 2>")
    node.inputs[1].shape = None
    with pytest.raises(DeclinedError, match=r"^the rank of its weight is unknown$"):
        read_window(node, view_of(graph_with(node)))


def graph_with(node):
    return gs.Graph([node], list(node.inputs), list(node.outputs), opset=20)


@pytest.mark.parametrize(
    ("attributes", "op", "x", "expected"),
    [
        ('auto_pad = "SAME_UPPER", kernel_shape = [1, 1]', "Conv", "1, 4, 7, 7", "NOTSET"),
        ('auto_pad = "SAME_LOWER", kernel_shape = [2, 2], strides = [2, 2]', "Conv",
         "1, 4, 6, 8", "NOTSET"),
        ('auto_pad = "SAME_LOWER", kernel_shape = [2, 2], strides = [2, 2]', "Conv",
         "1, 4, 7, 8", "SAME_LOWER"),
        ('auto_pad = "SAME_UPPER", kernel_shape = [2, 2], strides = [2, 2]', "Conv",
         "1, 4, N, 8", "SAME_UPPER"),
        ('auto_pad = "SAME_UPPER", kernel_shape = [2, 2], strides = [2, 2]', "ConvTranspose",
         "1, 4, 6, 8", "SAME_UPPER"),
        ('auto_pad = "VALID", kernel_shape = [2, 2]', "Conv", "1, 4, 6, 8", "VALID"),
    ],
)  # fmt: skip
def test_automatic_pads_that_are_none_are_not_set(attributes, op, x, expected):
    node, view = layer(f"<{attributes}>", op, x, "4, 4, 2, 2")
    assert read_window(node, view).auto_pad == expected


def test_the_pads_of_an_input_of_unknown_rank_stay_automatic():
    node, _ = layer('<auto_pad = "SAME_UPPER", kernel_shape = [1, 1]>', w="6, 4, 1, 1")
    node.inputs[0].shape = None
    assert read_window(node, view_of(graph_with(node))).auto_pad == "SAME_UPPER"


def test_everything_that_a_convolution_has_is_written_out():
    plain = {"kernel_shape": [3, 2], "strides": [1, 1], "dilations": [1, 1], "pads": [0, 0, 0, 0]}
    assert explicit_window(*layer("", w="6, 4, 3, 2")) == plain | {"group": 1}
    assert explicit_window(*layer("<group = 2>")) == plain | {"group": 2}
    found = explicit_window(*layer("<strides = [2, 2], output_padding = [1, 0]>", "ConvTranspose",
                                   w="4, 2, 3, 2"))  # fmt: skip
    assert found == plain | {"strides": [2, 2], "group": 1, "output_padding": [1, 0]}


def test_what_has_no_positions_has_no_pads():
    """No runtime takes such a convolution; to read it is no error yet."""
    assert explicit_window(*layer("", x="2, 4", w="6, 4"))["pads"] == []


@pytest.mark.parametrize(
    ("attributes", "op", "x", "reason"),
    [
        ('auto_pad = "SAME_UPPER"', "ConvTranspose", "1, 4, 7, 7",
         "its pads follow from auto_pad=SAME_UPPER"),
        ("output_shape = [8, 8]", "ConvTranspose", "1, 4, 7, 7",
         "its pads follow from output_shape"),
        ('auto_pad = "SAME_UPPER"', "Conv", "1, 4, N, 7", "auto_pad=SAME_UPPER on a dynamic size"),
        ('auto_pad = "SAME_LOWER", strides = [6, 6], kernel_shape = [2, 2]', "Conv", "1, 4, 8, 8",
         "auto_pad=SAME_LOWER and a long stride"),
    ],
)  # fmt: skip
def test_what_has_no_explicit_form(attributes, op, x, reason):
    node, view = layer(f"<{attributes}>", op, x, "4, 4, 2, 2")
    with pytest.raises(DeclinedError) as declined:
        explicit_window(node, view)
    assert str(declined.value) == reason


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("Conv", "<group = 2, strides = [2, 1], dilations = [1, 2], pads = [1, 0, 2, 1]>"),
        ("Conv", '<group = 2, strides = [2, 3], auto_pad = "SAME_LOWER">'),
        ("Conv", '<group = 2, strides = [2, 1], auto_pad = "VALID">'),
        ("ConvTranspose", "<strides = [2, 3], output_padding = [1, 2], pads = [1, 0, 0, 1]>"),
        ("ConvTranspose", "<strides = [3, 2], dilations = [1, 2]>"),
        ("ConvTranspose", '<strides = [2, 3], auto_pad = "SAME_UPPER">'),
        ("ConvTranspose", "<strides = [2, 3], output_shape = [14, 17]>"),
        ("MaxPool", "<kernel_shape = [3, 2], strides = [2, 2], pads = [1, 0, 1, 1]>"),
        ("MaxPool", "<kernel_shape = [2, 4], strides = [3, 4], ceil_mode = 1>"),
        ("AveragePool", '<kernel_shape = [2, 3], strides = [2, 4], auto_pad = "SAME_UPPER">'),
    ],
)
def test_the_result_is_as_large_as_the_runtimes(op, attributes):
    pools = op.endswith("Pool")
    weight, read = ("", "x") if pools else (", float[4, 2, 3, 2] w", "x, w")
    body = f"y = {op} {attributes} ({read})"
    model = model_of(f"g (float[1, 4, 7, 6] x{weight}) => (float[] y) {{ {body} }}")
    feeds = {"x": np.zeros((1, 4, 7, 6)), "w": np.zeros((4, 2, 3, 2))}
    given = {each.name: feeds[each.name].astype(np.float32) for each in model.graph.input}
    expected = run_ort(model, given)["y"].shape[2:]
    graph = planish.load(model)
    window = read_window(graph.nodes[0], view_of(graph))
    assert window.outputs([7, 6]) == expected
    fixed = window.output_shape
    assert window.outputs(["H", 6]) == (fixed[0] if fixed else None, expected[1])


@pytest.mark.parametrize(
    ("op", "attrs"),
    [
        ("Conv", {"auto_pad": "SAME_UPPER"}),
        ("Conv", {"auto_pad": "SAME_LOWER"}),
        ("MaxPool", {"auto_pad": "VALID", "pads": [1, 1]}),
        ("MaxPool", {"auto_pad": "SAME_UPPER", "pads": [1, 1]}),
        ("ConvTranspose", {"output_shape": [5], "pads": [1, 1]}),
        ("ConvTranspose", {"output_shape": [5], "pads": [0, 0]}),
    ],
)
def test_pads_follow_from_what_decides_them(op, attrs):
    """What a pool or a ConvTranspose says twice, the runtime reads once."""
    (begin,), (end,) = window_attributes(op, attrs, [2]).pads([5])
    explicit = _run(op, {"pads": [begin, end]}, 5, 2)
    assert np.array_equal(explicit, _run(op, attrs, 5, 2))


@pytest.mark.parametrize("op", ["Conv", "MaxPool", "ConvTranspose"])
def test_symbolic_sizes_have_a_maximum_of_their_own(op):
    asked = []

    def larger(one, other):
        asked.append((one, other))
        return max(one, other)

    window = window_attributes(op, {"auto_pad": "SAME_UPPER", "strides": [2]}, [3])
    assert window.pads([5], larger) == window.pads([5])
    assert asked


@pytest.mark.parametrize("ceil", [0, 1])
@pytest.mark.parametrize(
    ("size", "kernel", "dilation", "stride", "pads"),
    [
        (1, 2, 2, 2, [1, 0]),
        (1, 2, 2, 2, [0, 1]),
        (1, 2, 2, 3, [0, 1]),
        (1, 2, 2, 1, [0, 1]),
        (2, 2, 3, 1, [1, 0]),
        (1, 2, 3, 1, [0, 0]),
        (2, 3, 1, 2, [0, 0]),
    ],
)
def test_how_many_windows_a_pool_has_that_does_not_fit(size, kernel, dilation, stride, pads, ceil):
    attrs = {"dilations": [dilation], "strides": [stride], "pads": pads, "ceil_mode": ceil}
    (found,) = window_attributes("MaxPool", attrs, [kernel]).outputs([size])
    if found is None:
        with pytest.raises(Exception, match=r"negative|size|shape|Invalid"):
            _run("MaxPool", attrs, size, kernel)
        return
    assert _run("MaxPool", attrs, size, kernel).shape[2] == found


def test_automatic_pads_without_a_size_have_no_explicit_form():
    node, _ = layer('<auto_pad = "SAME_UPPER", kernel_shape = [3, 2]>', w="6, 4, 3, 2")
    node.inputs[0].shape = None
    with pytest.raises(DeclinedError) as declined:
        explicit_window(node, view_of(graph_with(node)))
    assert str(declined.value) == "auto_pad=SAME_UPPER and its input has no known size"


@pytest.mark.parametrize(
    ("op", "text"),
    [
        ("Conv", "kernel_shape = [5], pads = [1, 0], strides = [2]"),
        ("Conv", "kernel_shape = [2], dilations = [3]"),
        ("Conv", 'kernel_shape = [5], auto_pad = "SAME_LOWER", strides = [3]'),
        ("ConvTranspose", "kernel_shape = [3], pads = [4, 3], strides = [2]"),
        ("ConvTranspose", "kernel_shape = [2], pads = [3, 4], strides = [3], output_padding = [1]"),
    ],
)
def test_a_window_fits_where_the_runtime_runs(op, text):
    kernel = int(text[len("kernel_shape = [")])
    weights = {"w": np.ones((1, 1, kernel), np.float32)}
    model = model_of(
        f"g (float[1, 1, N] x) => (float[A, B, C] y) {{ y = {op} <{text}> (x, w) }}", weights
    )
    graph = planish.load(model)
    window = read_window(graph.nodes[0], view_of(graph))
    for size in range(7):
        assert window.fits([size]) == _runs(model, size), size
    assert window.fits([None])


def _runs(model, size):
    try:
        run_ort(model, {"x": np.ones((1, 1, size), np.float32)})
    except (Fail, InvalidArgument):
        return False
    return True
