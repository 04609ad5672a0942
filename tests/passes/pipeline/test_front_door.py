"""`planish.optimize` and `planish.quantize`: two lines from a file to a better model."""

import numpy as np
import pytest

import planish
from planish.ir.core.errors import PipelineError

from tests.helpers import conv_batchnorm, graph_of, ops, run_ort

RNG = np.random.default_rng(0)
W = {
    "w": RNG.standard_normal((8, 3, 3, 3)).astype(np.float32),
    "v": RNG.standard_normal((4, 8, 3, 3)).astype(np.float32),
}
BODY = "a = Conv(x, w) b = Relu(a) y = Conv(b, v)"
TEXT = f"g (float[1, 3, 8, 8] x{{}}) => (float[1, 4, 4, 4] y) {{{{ {BODY} }}}}"
FEEDS = [{"x": RNG.standard_normal((1, 3, 8, 8)).astype(np.float32)} for _ in range(4)]


def judge(run, feeds):
    """A metric of our own, which reads labels of any kind."""
    return float(np.mean([run(feed)["y"].mean() + feed["kind"].mean() for feed in feeds]))


@pytest.fixture
def path(tmp_path):
    (tmp_path / "m.onnx").write_bytes(conv_batchnorm(4).SerializeToString())
    return tmp_path / "m.onnx"


def test_optimize_takes_a_file(path):
    result = planish.optimize(path)
    assert ops(result.graph) == ["Conv"]
    assert result.verified
    assert ops(planish.optimize(str(path), "fold-batchnorm", verify="off").graph) == ["Conv"]


def test_one_label_and_a_percentage_are_taken_as_a_command_takes_them():
    graph = graph_of(TEXT.format(""), W)
    feeds = [{**feed, "kind": np.array([0])} for feed in FEEDS]
    text = {
        str(most): [
            record.text
            for record in planish.optimize(
                graph, "quantize{measure=false}", feeds, labels=labels, max_drop=most, metric=judge
            ).records
        ]
        for labels, most in (("kind", "1%"), (["kind"], 0.01))
    }
    assert text["1%"] == text["0.01"]
    assert "labels=[kind]" in text["1%"][0]
    with pytest.raises(PipelineError, match=r"max_drop is 'few'; give a percentage"):
        planish.quantize(graph, FEEDS, max_drop="few")


def test_quantize_takes_a_metric_and_a_bound(tmp_path):
    graph, seen = graph_of(TEXT.format(""), W), []
    np.savez(tmp_path / "feeds.npz", x=np.concatenate([feed["x"] for feed in FEEDS]))

    model = planish.to_model(graph)
    wanted = np.concatenate([run_ort(model, feed)["y"] for feed in FEEDS])

    def closeness(run, feeds):
        outputs = [run(feed)["y"] for feed in feeds]
        seen.append(len(outputs))
        return 1 - float(np.abs(np.concatenate(outputs) - wanted).max() / np.abs(wanted).max())

    for feeds in (FEEDS, tmp_path / "feeds.npz"):
        seen.clear()
        result = planish.quantize(graph, feeds, metric=closeness, max_drop=0.9, measure=False)
        assert seen
        assert set(seen) == {4}
        assert "QuantizeLinear" in ops(result.graph)
    exacting = planish.quantize(graph, FEEDS, metric=closeness, max_drop=0.0, measure=False)
    assert "QuantizeLinear" not in ops(exacting.graph)


def test_an_option_that_no_pass_has(path):
    with pytest.raises(PipelineError, match="no pass of the pipeline takes max-drop"):
        planish.optimize(path, max_drop=0.1)
    with pytest.raises(PipelineError, match="calibrate"):
        planish.quantize(path, calibrate="entropy")
    with pytest.raises(PipelineError, match="'measure' takes true or false, not 'off'"):
        planish.quantize(path, measure="off")


def test_weights_that_are_inputs_are_frozen_unless_feeds_name_them():
    graph = graph_of(TEXT.format(", float[8, 3, 3, 3] w"), W)
    assert len(graph.inputs) == 2
    frozen = planish.optimize(graph)
    assert [t.name for t in frozen.graph.inputs] == ["x"]
    assert "1 weight is also an input, now frozen" in frozen.remarks[0]
    assert len(graph.inputs) == 2
    for kept in (
        planish.optimize(graph, mutable_initializers=True),
        planish.optimize(graph, feeds=[{**FEEDS[0], "w": W["w"]}]),
    ):
        assert [t.name for t in kept.graph.inputs] == ["x", "w"]
        assert kept.remarks == ()


def test_compare_takes_a_function():
    graph = graph_of(TEXT.format(""), W)
    found = planish.compare(graph, graph, FEEDS, metric=lambda run, feeds: 0.25 * len(list(feeds)))
    (metric,) = found.metrics
    assert (metric.value, metric.reference) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"pipeline": None}, "the pipeline is None; give its text"),
        ({"pipeline": 3}, "the pipeline is an int"),
        ({"seed": -1}, "seed is -1; give a whole number"),
        ({"seed": "a"}, "seed is 'a'; give a whole number"),
        ({"target": "tpu"}, "target 'tpu' is not available"),
        ({"target": "cpu{sped=1}"}, "unknown option 'sped'"),
        ({"input_shape": 3}, "input_shape is an int"),
        ({"input_shape": [3]}, "input_shape is a list"),
        ({"input_shape": {"x": None}}, "input_shape gives 'x' None"),
        ({"feeds": np.zeros((1, 3, 8, 8), np.float32)}, r"feeds=\[{'x': array}\]"),
        ({"feeds": [np.zeros((1, 3, 8, 8), np.float32)]}, "a batch of the feeds is an ndarray"),
        ({"feeds": 3}, "feeds are an int"),
    ],
)
@pytest.mark.parametrize("verify", ["end", "off"])
def test_what_is_not_to_be_used_is_refused_in_a_sentence(asked, says, verify):
    with pytest.raises(planish.PlanishError, match=says):
        planish.optimize(graph_of(TEXT.format(""), W), verify=verify, **asked)


@pytest.mark.parametrize(
    "sizes", ["x=1,3,9,9", ["x=1,3,9,9"], {"x": (1, 3, 9, 9)}, {"x": np.array([1, 3, 9, 9])}]
)
def test_sizes_are_a_text_several_or_a_dict(sizes):
    result = planish.optimize(graph_of(TEXT.format(""), W), input_shape=sizes, verify="off")
    assert list(result.graph.inputs[0].shape) == [1, 3, 9, 9]
    assert list(result.graph.outputs[0].shape) == [1, 4, 5, 5]


def test_a_size_of_a_name_is_a_number():
    text = TEXT.format("").replace("[1, 3", "[N, 3").replace("[1, 4", "[N, 4")
    result = planish.optimize(graph_of(text, W), input_shape={"N": 2}, verify="off")
    assert list(result.graph.inputs[0].shape) == [2, 3, 8, 8]


def test_the_messages_have_their_articles():
    for given, says in ((3, "an int is given"), (None, "None is given"), ([], "a list is given")):
        with pytest.raises(planish.PlanishError, match=f"^{says}"):
            planish.optimize(given)
    with pytest.raises(planish.PlanishError, match=r"^None is given; name the file"):
        planish.load_compiled(None)
    with pytest.raises(planish.PlanishError, match=r"^the given data decodes but"):
        planish.optimize(b"xx")


ODD = {
    "lower": lambda odd: planish.lower(graph_of(TEXT.format(""), W), odd),
    "target": lambda odd: planish.lower(graph_of(TEXT.format(""), W), target=odd),
    "load_compiled": lambda odd: planish.load_compiled("m.onnx", odd or 3),
    "parse": planish.Pipeline.parse,
    "load": planish.load,
    "save": lambda odd: planish.save(graph_of(TEXT.format(""), W), odd),
    "load_feeds": lambda odd: planish.load_feeds(odd, graph_of(TEXT.format(""), W)),
    "bench": planish.bench,
}


@pytest.mark.parametrize("name", ODD)
def test_what_has_another_type_is_named_with_what_to_give(name):
    for odd, says in ((None, r"\b(None|an int)\b"), (3, r"\ban int\b")):
        with pytest.raises(planish.PlanishError, match=rf"{says}.*; (give|name) "):
            ODD[name](odd)


TAKE_FEEDS = {
    "run": lambda graph, feeds: planish.Pipeline.parse("exact").run(graph, feeds),
    "compare": lambda graph, feeds: planish.compare(graph, graph, feeds),
    "lower": lambda graph, feeds: planish.lower(graph, verify=True, feeds=feeds),
    "explain": lambda graph, feeds: planish.explain_int8(graph, None, feeds),
    "bisect": lambda graph, feeds: planish.bisect(planish.Pipeline.parse("exact"), graph, feeds),
    "recover": lambda graph, feeds: planish.recover(graph, graph, feeds),
}


@pytest.mark.parametrize("name", TAKE_FEEDS)
def test_what_are_no_feeds_is_said_wherever_feeds_are_taken(name):
    graph = graph_of(TEXT.format(""), W)
    array = FEEDS[0]["x"]
    for feeds, says in (
        (array, r"feeds=\[{'x': array}\]"),
        ({"x": array}, "feeds are a sequence of dicts"),
        (3, "feeds are an int"),
        ([array], "a batch of the feeds is an ndarray"),
        ("feeds.npz", r"write planish\.load_feeds\("),
    ):
        with pytest.raises(planish.FeedError, match=says):
            TAKE_FEEDS[name](graph, feeds)
