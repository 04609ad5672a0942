"""Pipeline runs: what they report, check, refuse and leave untouched."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time

import numpy as np
import onnx_graphsurgeon as gs
import pytest

import planish
from planish import Pipeline, register_pass
from planish.ir.core.errors import FeedError, PassError, PipelineError
from planish.ir.ops.shapes.infer import infer_types
from planish.passes.pipeline import registry

from tests.helpers import assert_same_function, conv_batchnorm, graph_of, model_of, ops, reasons

RELUS = "g (float[N, 4] x) => (float[N, 4] y) { a = Identity(x) b = Neg(a) y = Identity(b) }"


def _bytes(graph):
    return planish.to_model(graph).SerializeToString(deterministic=True)


@pytest.fixture
def script():
    """Register a function as a pass for one test."""
    registry.all_passes()
    before = dict(registry.REGISTERED)

    def add(function, **options):
        register_pass(function, name="script", **options)

    yield add
    registry.REGISTERED.clear()
    registry.REGISTERED.update(before)


@pytest.mark.parametrize("verify", ["each", "end", "off"])
def test_input_graph_is_left_untouched(verify):
    graph = planish.load(conv_batchnorm())
    before = _bytes(graph)
    result = Pipeline.parse("exact").run(graph, verify=verify)
    assert result.edits > 0
    assert _bytes(graph) == before
    assert result.graph is not graph


def test_writable_weights_are_protected_too(script):
    def scale(graph):
        graph.nodes[0].inputs[1].values[:] = 7

    script(scale)
    weight = gs.Constant("w", np.ones(3, np.float32))
    x, y = gs.Variable("x", np.float32, [3]), gs.Variable("y", np.float32, [3])
    graph = gs.Graph([gs.Node("Mul", inputs=[x, weight], outputs=[y])], [x], [y], opset=20)
    with pytest.raises(PassError, match="read-only"):
        Pipeline.parse("script").run(graph)
    np.testing.assert_array_equal(weight.values, np.ones(3))
    weight.values[:] = 2  # still writable for its owner


def test_records():
    graph = graph_of(RELUS)
    started = time.perf_counter()
    result = Pipeline.parse("eliminate-identities,eliminate-dead-code").run(graph, verify="each")
    elapsed = time.perf_counter() - started
    first, second = result.records
    assert (first.name, first.edits, first.nodes_before, first.nodes_after) == (
        "eliminate-identities",
        2,
        3,
        1,
    )
    assert (second.edits, second.nodes_before, second.nodes_after) == (0, 1, 1)
    assert first.error == 0
    assert second.error is None
    assert 0 < first.seconds < elapsed
    assert result.edits == 2
    assert result.error == 0
    assert result.verified
    assert result.tolerance == 1e-5


def test_records_tell_what_was_declined():
    graph = graph_of("g (float[2] x) => (float[2] y) { y = Identity(x) }")
    result = Pipeline.parse("eliminate-identities").run(graph)
    (declined,) = result.records[0].declined
    assert declined.node == "Identity -> 'y'"
    assert reasons(result) == {"it joins a graph input or constant to a graph output"}


@pytest.mark.parametrize(
    ("verify", "measured"), [("each", [True, True]), ("end", [False, True]), ("off", [False] * 2)]
)
def test_verify(verify, measured):
    graph = planish.load(conv_batchnorm())
    pipeline = Pipeline.parse("fold-batchnorm,eliminate-identities,eliminate-dead-code")
    graph.nodes.insert(0, gs.Node("Identity", "i", inputs=[graph.inputs[0]]))
    graph.nodes[0].outputs = [gs.Variable("xi")]
    graph.nodes[1].inputs[0] = graph.nodes[0].outputs[0]
    records = pipeline.run(graph, verify=verify).records
    assert [r.edits for r in records] == [1, 1, 0]
    assert [r.error is not None for r in records] == [*measured, False]
    for record in records:
        assert record.error is None or record.error < 1e-6


def test_verify_of_another_name():
    told = "verify='always' is none of 'each', 'end', 'prove' and 'off'"
    with pytest.raises(PipelineError, match=told):
        Pipeline.parse("exact").run(graph_of(RELUS), verify="always")


def test_progress_events():
    events = []
    Pipeline.parse("cleanup").run(graph_of(RELUS), verify="each", progress=events.append)
    repeated, _ = Pipeline.parse("cleanup").passes
    total = len(repeated.passes) + 1
    done = [e.index for e in events if e.stage == "done"]
    assert done[: total - 1] == list(range(total - 1))
    assert done[-1] == total - 1
    assert set(done) == set(range(total))
    assert {e.total for e in events} == {total}
    assert all(0 <= e.fraction <= 1 for e in events)
    assert "verify" in {e.stage for e in events}


def test_dump_holds_the_graph_after_each_pass_that_edited(tmp_path):
    folder = tmp_path / "deep" / "dump"
    pipeline = Pipeline.parse("eliminate-dead-code,eliminate-identities")
    result = pipeline.run(graph_of(RELUS), dump=folder)
    assert [p.name for p in folder.iterdir()] == ["02-eliminate-identities.onnx"]
    assert result.dumped == (folder / "02-eliminate-identities.onnx",)
    assert _bytes(planish.load(result.dumped[0])) == _bytes(result.graph)


@pytest.mark.parametrize("limit", [0, 1, 2, 3])
def test_limit_counts_over_all_passes(limit):
    graph = graph_of("g (float[4] x) => (float[4] y) { d = Abs(x) a = Identity(x) b = Neg(a) "
                     "c = Identity(b) y = Relu(c) }")  # fmt: skip
    result = Pipeline.parse("eliminate-dead-code,eliminate-identities").run(graph, limit=limit)
    assert [r.edits for r in result.records] == [[0, 0], [1, 0], [1, 1], [1, 2]][limit]


def test_a_script_beyond_the_limit_is_not_run(script):
    calls = []
    script(lambda graph: calls.append(1))
    pipeline = Pipeline.parse("eliminate-identities,script")
    pipeline.run(graph_of(RELUS), limit=2)
    assert not calls
    pipeline.run(graph_of(RELUS), limit=3)
    assert calls


def test_seed_target_and_feeds_reach_the_pass():
    seen = []

    class Look(planish.Pass):
        name = "look"

        def run(self, graph, context):
            seen.append((context.seed, context.target, [list(f) for f in context.feeds]))

    feeds = ({"x": np.zeros((n, 4), np.float32)} for n in (1, 2))
    pipeline = Pipeline((Look(), Look()))
    pipeline.run(graph_of(RELUS), feeds, verify="off", seed=5, target="cuda")
    assert seen == [(5, "cuda", [["x"], ["x"]])] * 2  # a generator serves every pass


@pytest.mark.parametrize(
    ("feeds", "says"),
    [
        ([], "the feeds are empty"),
        ([{}], "no feed for graph input 'x'"),
        ([{"z": np.zeros(4)}], "feed 'z' is no input"),
        ([{"x": np.zeros((2, 5), np.float32)}], r"shape \[2, 5\]"),
        ([{"x": np.zeros((2, 4))}], "feed 'x' is float64"),
        ({"x": np.zeros((2, 4), np.float32)}, r"write feeds=\[\.\.\.\]"),
    ],
)
def test_wrong_feeds(feeds, says):
    with pytest.raises(FeedError, match=says):
        Pipeline.parse("eliminate-identities").run(graph_of(RELUS), feeds)


def _raise(graph):
    raise KeyError("lost")


def _duplicate(graph):
    graph.nodes[0].outputs[0].name = "x"


def _orphan(graph):
    graph.nodes[1].inputs = [gs.Variable("nowhere", np.float32)]


def _cycle(graph):
    graph.nodes[0].inputs = [graph.nodes[2].outputs[0]]


def _domain(graph):
    graph.nodes[1].domain = "no.such.domain"


def _shape(graph):
    graph.nodes[1].op, graph.nodes[1].attrs = "Transpose", {"perm": [0, 2, 1]}


def _rename(graph):
    graph.outputs[0].name = "z"


def _drop(graph):
    graph.outputs = []


def _retype(graph):
    graph.inputs[0].dtype = np.dtype(np.float64)


def _resize(graph):
    graph.inputs[0].shape = [1, 4]


@pytest.mark.parametrize("verify", ["each", "end", "off"])
@pytest.mark.parametrize(
    ("function", "says"),
    [
        (_raise, "KeyError: 'lost'"),
        (_duplicate, "two tensors are named 'x'"),
        (_orphan, "'nowhere', which no node before it produces"),
        (_cycle, "cycle"),
        (_domain, "of domain 'no.such.domain'"),
        (_shape, "types and shapes do not infer any more"),
        (_rename, "changed from output 'y' .* to output 'z'"),
        (_drop, "changed from output 'y' .* to nothing"),
        (_retype, r"changed from input 'x' \(float32.* to input 'x' \(float64"),
        (_resize, "changed from input 'x'"),
    ],
)
def test_broken_passes_are_named_with_their_place(script, tmp_path, function, says, verify):
    script(function)
    pipeline = Pipeline.parse("eliminate-dead-code,script")
    with pytest.raises(PassError, match=f"(?s)^pass 2 of 2, 'script': .*{says}") as caught:
        pipeline.run(graph_of(RELUS), verify=verify, reproducer=tmp_path / "r")
    if verify == "each":
        assert (tmp_path / "r" / "pipeline.txt").read_text() == "script\n"
        again = planish.load(tmp_path / "r" / "before.onnx")
        with pytest.raises(PassError, match=f"(?s){says}"):
            Pipeline.parse("script").run(again)
    else:
        assert "verify='each' (`planish optimize --verify each`) for a reproducer" in str(
            caught.value
        )


def test_nodes_left_unsorted_are_sorted(script):
    script(lambda graph: graph.nodes.reverse())
    result = Pipeline.parse("script").run(graph_of(RELUS))
    assert ops(result.graph) == ["Identity", "Neg", "Identity"]


def test_edits_of_a_script_are_counted(script):
    def shrink(graph):
        graph.nodes[1].op = "Abs"
        graph.nodes[0].attrs["note"] = 1
        del graph.nodes[0].attrs["note"]

    script(shrink)
    graph = graph_of(RELUS)
    first = Pipeline.parse("script").run(graph)
    assert first.records[0].edits == 1
    assert first.records[0].error > 0  # an approximate pass is measured, not refused
    assert Pipeline.parse("script").run(first.graph).records[0].edits == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda c: gs.Constant(c.name, c.values.reshape(1, 4)),
        lambda c: gs.Constant(c.name, c.values.view(np.int32).view(np.float32) * 2),
    ],
)
def test_a_changed_constant_is_an_edit(script, change):
    def constant(graph):
        graph.nodes[0].inputs[1] = change(graph.nodes[0].inputs[1])

    script(constant)
    weights = {"w": np.arange(4, dtype=np.float32)}
    graph = graph_of("g (float[N, 4] x) => (float[N, 4] y) { y = Mul(x, w) }", weights)
    assert Pipeline.parse("script").run(graph).records[0].edits == 1


def test_cleanup_by_graphsurgeon_counts_what_is_gone(script):
    script(lambda graph: graph.cleanup().toposort())
    graph = graph_of("g (float[4] x) => (float[4] y) { d = Abs(x) e = Neg(d) y = Relu(x) }")
    result = Pipeline.parse("script").run(graph)
    assert result.records[0].edits == 2
    assert result.error == 0


def test_same_bytes_twice_and_in_every_process(tmp_path):
    model = tmp_path / "m.onnx"
    model.write_bytes(conv_batchnorm(bias=True).SerializeToString())
    code = (
        "import sys, hashlib, planish\n"
        "r = planish.Pipeline.parse('exact').run(planish.load(sys.argv[1]))\n"
        "print(hashlib.sha256(planish.to_model(r.graph)"
        ".SerializeToString(deterministic=True)).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code, str(model)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
    graph = planish.load(model)
    assert len({_bytes(Pipeline.parse("exact").run(graph).graph) for _ in range(2)}) == 1


def test_custom_domain_is_kept_and_nothing_folds_across_it():
    weights = {
        "w": np.ones((4, 3, 1, 1), np.float32),
        **{name: np.full(4, 2, np.float32) for name in ("s", "b", "m", "v")},
    }
    model = model_of(
        """<ir_version: 10, opset_import: ["" : 20, "my.domain" : 1]>
        g (float[1, 3, 5, 5] x) => (float[1, 4, 5, 5] y) {
            c = Conv(x, w)
            k = my.domain.Thing <level = 3> (c)
            n = BatchNormalization(k, s, b, m, v)
            u = my.domain.Log(k)
            h = Shape(k)
            z = Reshape(n, h)
            y = Identity(z)
        }""",
        weights,
    )
    result = Pipeline.parse("exact").run(planish.load(model), verify="each")
    assert ops(result.graph) == ["Conv", "Thing", "BatchNormalization", "Log", "Shape", "Reshape"]
    thing = result.graph.nodes[1]
    assert (thing.domain, thing.attrs) == ("my.domain", {"level": 3})
    assert not result.verified
    assert "the original graph cannot be run, so nothing was verified" in result.note


def test_exact_computes_the_same_function():
    model = conv_batchnorm(bias=True)
    x = np.random.default_rng(1).standard_normal((3, 3, 9, 9)).astype(np.float32)
    assert_same_function(model, Pipeline.parse("exact").run(planish.load(model)).graph, {"x": x})


def test_reproducer_command_survives_a_shell(script, tmp_path):
    @register_pass(name="quoted")
    def quoted(graph, *, text: str = ""):
        raise ValueError("no")

    folder = tmp_path / "a b'c"
    pipeline = Pipeline.parse('quoted{text="it\'s"}')
    script(lambda graph: None)
    with pytest.raises(PassError) as caught:
        pipeline.run(graph_of(RELUS), verify="each", reproducer=folder)
    words = shlex.split(str(caught.value).split("\n", 1)[1])
    assert words[:2] == ["planish", "optimize"]
    assert words[words.index("-p") + 1] == str(pipeline)
    assert words[words.index("--feeds") + 1] == str(folder / "feeds.npz")


def test_types_are_inferred_once_where_nothing_is_edited(monkeypatch):
    inferred = []

    def infer(graph):
        inferred.append(graph)
        return infer_types(graph)

    monkeypatch.setattr("planish.passes.engine.analyses.infer_types", infer)
    result = Pipeline.parse("simplify").run(
        graph_of("g (float[4] x) => (float[4] y) { y = Sin(x) }")
    )
    assert (result.edits, result.verified, len(inferred)) == (0, True, 1)


def test_a_rewrite_pass_is_not_run_where_no_node_is_of_its_operators(monkeypatch):
    driven = []
    monkeypatch.setattr("planish.passes.engine.rewrite.drive", lambda *_: driven.append("driven"))
    for body, times in (("y = Sin(x)", 0), ("y = BatchNormalization(x, s, s, s, s)", 1)):
        graph = graph_of(f"g (float[1, 4] x, float[4] s) => (float[1, 4] y) {{ {body} }}")
        Pipeline.parse("fold-batchnorm").run(graph, verify="off")
        assert len(driven) == times


def test_options_are_set_on_every_pass_that_has_them():
    pipeline = planish.Pipeline.parse("repeat(fold-constants),int8,quantize")
    changed = pipeline.with_options(max_drop=0.01, metric=None)
    assert str(changed).count("quantize{max-drop=0.01}") == 2
    assert str(changed).replace("{max-drop=0.01}", "") == str(pipeline)
    assert pipeline.with_options(metric=None) == pipeline


def test_options_that_no_pass_has_are_refused():
    with pytest.raises(PipelineError, match="no pass of the pipeline takes class-axis or max-drop"):
        planish.Pipeline.parse("exact").with_options(max_drop=0.01, class_axis=2)


def test_a_complaint_that_was_hidden_before_is_no_fault_of_a_pass():
    """Inference complains of nothing beside an operator that it does not see."""
    graph = graph_of(
        """g (float[1] x) => (bool[] y, float two) {
            y = RegexFullMatch <pattern = "a"> (text)
            two = Constant <value_float = 1.0, value_int = 1> () }""",
        {"text": np.array(["a"], object)},
    )
    result = Pipeline.parse("fold-constants").run(graph, verify="off", strict=True)
    assert "RegexFullMatch" not in ops(result.graph)
