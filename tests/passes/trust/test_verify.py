"""Verification catches passes that are wrong by a little, and blames nobody else."""

from __future__ import annotations

import shlex
import sys
import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
import pytest

import planish
from planish import Pass, Pipeline, register_pass
from planish.cli.main import main
from planish.ir.core.errors import PassError, VerificationError
from planish.ir.run.reference import Reference
from planish.passes.pipeline import registry

from tests.helpers import conv_batchnorm, graph_of, model_of, ops
from tests.passes.trust.changed import become


@dataclass(frozen=True)
class Wrong(Pass):
    """Change every node of one operator a little."""

    name: ClassVar[str] = "wrong-by-a-little"
    op: str = "Conv"
    scale: float = 1.0
    position: int = 1
    attribute: str = ""
    value: float = 0.0

    def run(self, graph, context):
        """Scale one constant or set one attribute of each node of the operator."""
        with context.editing() as edit:
            for node in list(graph.nodes):
                if node.op != self.op or not edit.begin():
                    continue
                inputs, attrs = list(node.inputs), dict(node.attrs)
                if self.attribute:
                    attrs[self.attribute] = type(attrs[self.attribute])(self.value)
                else:
                    values = inputs[self.position].values
                    scaled = (values * np.float64(self.scale)).astype(values.dtype)
                    inputs[self.position] = edit.constant(scaled, "scaled")
                edit.remove(node)
                edit.node(node.op, inputs, node.outputs, attrs, at=node)


class RoughlyWrong(Wrong):
    """The same, not claimed to be exact."""

    name: ClassVar[str] = "wrong-and-honest"
    exact: ClassVar[bool] = False


@pytest.fixture(autouse=True, scope="module")
def _registered():
    for item in (Wrong, RoughlyWrong):
        register_pass(item)
    yield
    for item in (Wrong, RoughlyWrong):
        del registry.REGISTERED[item.name]


NETWORK = "eliminate-dead-code,wrong-by-a-little{%s}"
SOFTMAX = "g (float[2, 3, 4] x) => (float[2, 3, 4] y) { y = Softmax <axis = 1> (x) }"


def _half_conv():
    generator = np.random.default_rng(0)
    weights = {"w": generator.standard_normal((4, 3, 3, 3)).astype(np.float16)}
    return graph_of(
        """g (float[1, 3, 8, 8] x) => (float[1, 4, 6, 6] y) {
            v = Cast <to = 1> (w) y = Conv(x, v) }""",
        weights,
    )


@pytest.mark.parametrize(
    ("graph", "options"),
    [
        (lambda: planish.load(conv_batchnorm()), "scale=1.001"),
        (lambda: planish.load(conv_batchnorm()), "scale=-1.0"),
        (
            lambda: planish.load(conv_batchnorm(epsilon=1e-5)),
            "op=BatchNormalization,attribute=epsilon,value=1e-3",
        ),
        (lambda: planish.load(conv_batchnorm()), "op=BatchNormalization,position=3,scale=1.001"),
        (lambda: graph_of(SOFTMAX), "op=Softmax,attribute=axis,value=2"),
    ],
    ids=["scale", "sign", "epsilon", "mean", "axis"],
)
@pytest.mark.parametrize("verify", ["each", "end"])
def test_small_mistakes_are_caught_and_reproduced(
    graph, options, verify, tmp_path, monkeypatch, capsys
):
    pipeline = Pipeline.parse(NETWORK % options)
    with pytest.raises(VerificationError) as caught:
        pipeline.run(graph(), verify=verify, reproducer=tmp_path / "r")
    message = str(caught.value)
    place = "pass 2 of 2, 'wrong-by-a-little'" if verify == "each" else "(wrong-by-a-little)"
    assert place in message
    assert "output 'y' differs by" in message
    assert "at most 1e-05 is allowed" in message
    words = shlex.split(message.split("\n", 1)[1])
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # main sets it
    with pytest.raises(SystemExit) as again:
        main()
    assert again.value.code == 3
    assert "output 'y' differs by" in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "r" / "after.onnx").exists()
    # The parts alone show it too, without the command line.
    text = (tmp_path / "r" / "pipeline.txt").read_text()
    before = planish.load(tmp_path / "r" / "before.onnx")
    feeds = list(planish.load_feeds(tmp_path / "r" / "feeds.npz", before))
    with pytest.raises(VerificationError, match="output 'y' differs by"):
        Pipeline.parse(text).run(before, feeds)


def test_a_correct_fold_passes_well_below_the_tolerance():
    result = Pipeline.parse("exact").run(planish.load(conv_batchnorm(epsilon=1e-5)), verify="each")
    assert result.verified
    assert result.error < 1e-6
    assert result.tolerance == 1e-5


@pytest.mark.parametrize(("scale", "caught"), [(1.0003, False), (1.02, True)])
def test_sixteen_bit_weights_have_their_own_tolerance(scale, caught):
    graph = _half_conv()
    pipeline = Pipeline.parse(f"wrong-by-a-little{{op=Cast,position=0,scale={scale}}}")
    if caught:
        with pytest.raises(VerificationError, match=r"at most 0\.001 is allowed"):
            pipeline.run(graph)
    else:
        assert pipeline.run(graph).tolerance == 1e-3


def test_half_precision_by_cast_alone_counts():
    graph = graph_of(
        """g (float[1, 3, 8, 8] x) => (float[1, 3, 8, 8] y) {
            h = Cast <to = 10> (x) n = Neg(h) y = Cast <to = 1> (n) }"""
    )
    assert Pipeline.parse("eliminate-dead-code").run(graph).tolerance == 1e-3


def _amplifier(offset):
    """Conv -> BatchNormalization -> Relu, rounded to a multiple of the last digit of `offset`."""
    model = conv_batchnorm(bias=True)
    (output,) = model.graph.output
    last = next(node for node in model.graph.node if output.name in node.output)
    last.output[0] = "scores"
    constant = np.array(offset, np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(constant, "offset"))
    for op, inputs, result in (
        ("Relu", ["scores"], "positive"),
        ("Add", ["positive", "offset"], "large"),
        ("Sub", ["large", "offset"], output.name),
    ):
        model.graph.node.append(onnx.helper.make_node(op, inputs, [result]))
    return model


def test_a_network_that_amplifies_rounding_is_not_blamed():
    graph = planish.load(_amplifier(1e4))
    result = Pipeline.parse("fold-batchnorm").run(graph, verify="each")
    assert ops(result.graph) == ["Conv", "Relu", "Add", "Sub"]
    assert result.error > 1e-5  # over the plain tolerance
    assert result.tolerance > result.error
    with pytest.raises(VerificationError):
        Pipeline.parse("wrong-by-a-little{scale=1.5}").run(graph)


NAN = "g (float[4] x) => (float[4] y, float[4] z) { r = Sqrt(n) y = Add(x, r) z = Mul(x, w) }"


def _nan_graph(sign=-1.0):
    weights = {"n": np.array([sign, 1, 2, 3], np.float32), "w": np.full(4, 2, np.float32)}
    return graph_of(NAN, weights)


def test_nan_outputs_are_equal_where_they_stay():
    result = Pipeline.parse("fold-constants").run(_nan_graph(), verify="each")
    assert result.records[0].edits == 1
    assert result.error == 0


def test_nan_that_goes_away_is_caught():
    with pytest.raises(VerificationError, match="output 'y' differs by inf"):
        Pipeline.parse("wrong-by-a-little{op=Sqrt,position=0,scale=-1.0}").run(_nan_graph())


def test_the_worst_output_is_named():
    with pytest.raises(VerificationError, match=r"output 'z' differs by 0\.0"):
        Pipeline.parse("wrong-by-a-little{op=Mul,scale=1.01}").run(_nan_graph(1.0))


def test_approximate_passes_are_measured():
    graph = planish.load(conv_batchnorm())
    for verify in ("each", "end"):
        result = Pipeline.parse("wrong-and-honest{scale=1.1}").run(graph, verify=verify)
        assert result.verified
        assert 0.01 < result.error < 1


def test_exact_passes_after_an_approximate_one_are_held_to_it():
    pipeline = Pipeline.parse("wrong-and-honest{scale=2.0},wrong-by-a-little{scale=1.001}")
    with pytest.raises(VerificationError, match="pass 2 of 2, 'wrong-by-a-little'"):
        pipeline.run(planish.load(conv_batchnorm()), verify="each")


RANDOM = """g (float[4] x) => (float[4] y, float[4] z) {
    i = Identity(x) r = RandomNormalLike (i) y = Add(i, r) j = Identity(i) z = Mul(j, w) }"""
TWO = {"w": np.full(4, 2, np.float32)}


def test_random_operators_do_not_break_verification():
    result = Pipeline.parse("exact").run(graph_of(RANDOM, TWO), verify="each")
    assert result.verified
    assert sorted(ops(result.graph)) == ["Add", "Mul", "RandomNormalLike"]


def test_outputs_beside_a_random_operator_are_still_held():
    with pytest.raises(VerificationError, match="output 'z'"):
        Pipeline.parse("wrong-by-a-little{op=Mul,scale=1.001}").run(graph_of(RANDOM, TWO))


@pytest.mark.parametrize(
    "text",
    [
        "g (float[4] x) => (float[4] y) { r = RandomNormalLike(x) s = Identity(r) y = Add(s, x) }",
        """g (float[4] x, bool t) => (float[4] y) { y = If (t) <
            then_branch = a () => (float[4] p) { p = RandomUniformLike(x) },
            else_branch = b () => (float[4] q) { q = Identity(x) }> }""",
    ],
)
def test_nothing_but_random_outputs_is_said(text):
    result = Pipeline.parse("eliminate-identities").run(graph_of(text))
    assert not result.verified
    assert result.note == "nothing was verified: random operators feed every output"


@pytest.mark.parametrize("text", ["d = Dropout(x)", "d = Dropout(x, ratio, off)"])
def test_dropout_at_inference_is_not_random(text):
    weights = {"ratio": np.float32(0.5), "off": np.bool_(False), **TWO}
    graph = graph_of(f"g (float[4] x) => (float[4] y) {{ {text} y = Mul(d, w) }}", weights)
    with pytest.raises(VerificationError, match="output 'y'"):
        Pipeline.parse("wrong-by-a-little{op=Mul,scale=1.001}").run(graph)


def test_integer_outputs():
    weights = {"w": np.array([3, 5], np.int64)}
    graph = graph_of("g (int64[2] x) => (int64[2] y) { m = Mul(w, w) y = Add(x, m) }", weights)
    assert Pipeline.parse("fold-constants").run(graph, verify="each").error == 0
    with pytest.raises(VerificationError, match="output 'y'"):
        Pipeline.parse("wrong-by-a-little{op=Mul,position=0,scale=2.0}").run(graph)


def test_a_graph_that_does_not_run_any_more_is_the_fault_of_the_pass():
    graph = graph_of("g (float[N] x) => (float[M] y) { y = Reshape(x, s) }", {"s": np.array([-1])})
    with pytest.raises(PassError, match="does not run any more"):
        Pipeline.parse("wrong-by-a-little{op=Reshape,scale=-3.0}").run(graph)


def test_reproducer_keeps_text_and_odd_names(tmp_path):
    from planish.passes.trust.reproduce import write_reproducer

    feeds = [{"file": np.array(["a", "é"], object), "b/c": np.ones((2, 3), np.float32)}]
    write_reproducer(tmp_path, planish.load(conv_batchnorm()), "exact", feeds)
    with np.load(tmp_path / "feeds.npz", allow_pickle=False) as found:
        assert found["file"].tolist() == ["a", "é"]
        assert found["b/c"].shape == (2, 3)


@pytest.mark.parametrize(
    ("shapes", "joined"), [([(2, 3), (1, 3)], (3, 3)), ([(2, 3), (2, 4)], (2, 3)), ([()], ())]
)
def test_reproducer_joins_feeds_that_fit(tmp_path, shapes, joined):
    from planish.passes.trust.reproduce import write_reproducer

    feeds = [{"x": np.zeros(shape, np.float32)} for shape in shapes]
    write_reproducer(tmp_path, planish.load(model_of(SOFTMAX)), "exact", feeds)
    with np.load(tmp_path / "feeds.npz") as found:
        assert found["x"].shape == joined


def test_a_script_in_the_reproducer_itself_stays_where_it_is(tmp_path):
    from planish.passes.trust.reproduce import write_reproducer

    (tmp_path / "mine.py").write_text("mine = 1")
    scripts = [tmp_path / "mine.py"]
    write_reproducer(tmp_path, planish.load(conv_batchnorm()), "exact", [], scripts=scripts)
    assert scripts[0].read_text() == "mine = 1"


def test_what_rounding_alone_leaves_is_not_verified():
    """(1e8 + x) - 1e8 + x: of what is left, rounding is the larger part."""
    weights = {"big": np.array([1e8], np.float32)}
    text = """g (float[4, 16] x) => (float[4, 16] y) {
        a = Add(x, big) i = Identity(a) b = Sub(i, big) y = Add(b, x) }"""

    def run(pipeline):
        return Pipeline.parse(pipeline).run(graph_of(text, weights))

    result = run("eliminate-identities")
    assert result.verified
    assert not result.note  # equal outputs need no yardstick
    result = run("wrong-by-a-little{op=Sub,scale=0.99999992}")
    assert not result.verified
    assert result.tolerance is None
    assert "this network amplifies rounding by" in result.note
    assert "give feeds with real samples" in result.note


def test_a_tensor_that_does_not_fit_in_memory_is_not_tried():
    """360 GB: whether the runtime refuses or the system ends the process is not found out."""
    graph = graph_of(
        "g (float[1, 1] x) => (float[] y) { i = Identity(x) y = Expand(i, s) }",
        {"s": np.array([300000, 300000])},
    )
    result = Pipeline.parse("eliminate-identities").run(graph)
    assert result.edits == 1
    assert not result.verified
    assert "tensor 'y' of shape [300000, 300000] does not fit in memory" in result.note


def test_outputs_of_which_few_fit_in_memory_are_not_compared(monkeypatch):
    monkeypatch.setattr("planish.passes.trust.verify._MOST_COMPARED", 100)
    text = "g (float[1] x, int64[1] n) => (float[] y) { i = Identity(x) y = Tile(i, n) }"
    graph = graph_of(text)
    feeds = {"x": np.ones(1, np.float32), "n": np.array([101])}
    result = Pipeline.parse("eliminate-identities").run(graph, [feeds])
    assert result.edits == 1
    assert not result.verified
    assert "output 'y' has 101 elements, which do not fit in memory several times" in result.note
    assert (
        Pipeline.parse("eliminate-identities").run(graph, [feeds | {"n": np.array([9])}]).verified
    )


@pytest.mark.parametrize(("channels", "threads"), [(8, {1}), (2000, {None})])
def test_a_small_network_is_run_without_a_pool_of_threads(channels, threads, monkeypatch):
    asked = set()

    def reference(graph, *, threads=None):
        asked.add(threads)
        return Reference(graph, threads=threads)

    monkeypatch.setattr("planish.passes.trust.verify.Reference", reference)
    result = Pipeline.parse("fold-batchnorm").run(planish.load(conv_batchnorm(channels)))
    assert result.verified
    assert asked == threads


@pytest.mark.parametrize("verify", ["end", "each"])
@pytest.mark.parametrize("wrong", [0, 1])
def test_both_branches_of_a_flag_that_is_drawn_are_compared(wrong, verify):
    text = """g (float[2, 4] x, bool p) => (float[2, 4] y) {{
        y = If (p) <then_branch = t () => (float[2, 4] a) {{ a = {}(x) }},
                    else_branch = f () => (float[2, 4] b) {{ b = {}(x) }}> }}"""
    other = ["Relu", "Exp"]
    other[wrong] = "Tanh"
    with pytest.raises(VerificationError, match="output 'y' differs"):
        become(text.format("Relu", "Exp"), text.format(*other), verify=verify, strict=True)
