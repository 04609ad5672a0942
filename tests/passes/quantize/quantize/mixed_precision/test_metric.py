"""Bounds in terms of the task's metric, where classes do not lie along axis 1."""

import itertools
import re

import numpy as np
import onnxruntime as ort
import pytest

import planish
from planish.ir.core.errors import PassError, PlanishError

from tests.helpers import graph_of, run_ort, run_pass

STEPS, CLASSES = 24, 11


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def recognizer(layout="NTC"):
    """A recogniser of which all classes come first now and then, the blank more often."""
    raw = planish.to_model(scorer("NTC", np.zeros(CLASSES, np.float32)))
    means = np.mean([run_ort(raw, feed)["y"].mean(axis=(0, 1)) for feed in FEEDS], axis=0)
    return scorer(layout, 8 * np.eye(1, CLASSES, dtype=np.float32)[0] - means)


def scorer(layout, bias):
    """A text recogniser in small: columns of an image are steps, a dense layer scores classes."""
    weights = {
        "a": normal(16, 1, 3, 3) / 2,
        "b": normal(16, 16, 3, 3, seed=1) / 8,
        "w": normal(16, CLASSES, seed=2) * 2,
        "c": bias,
    }
    weights["b"][:, 0, 0, 0] = 3.0  # an outlier that 8 bits pay for
    shape, order = {"NTC": (f"N, {STEPS}", ""), "TNC": (f"{STEPS}, N", "1, 0, 2")}[layout]
    tail = f"y = Transpose<perm = [{order}]>(p)" if order else "y = Identity(p)"
    return graph_of(
        f"""g (float[N, 1, 8, {STEPS}] x) => (float[{shape}, {CLASSES}] y) {{
            f = Conv<pads = [1, 1, 1, 1]>(x, a) g = Relu(f)
            h = Conv<pads = [1, 1, 1, 1]>(g, b) i = Relu(h)
            m = ReduceMean<keepdims = 0>(i, two) t = Transpose<perm = [0, 2, 1]>(m)
            q = MatMul(t, w) s = Add(q, c) p = LogSoftmax<axis = 2>(s) {tail} }}""",
        weights | {"two": np.array([2])},
    )


FEEDS = [{"x": normal(2, 1, 8, STEPS, seed=50 + i)} for i in range(20)]


def strings(outputs, layout):
    """Decode greedily, in plain Python."""
    rows = outputs if layout == "NTC" else outputs.transpose(1, 0, 2)
    found = []
    for row in rows.tolist():
        steps = [max(range(CLASSES), key=step.__getitem__) for step in row]
        found.append([key for key, _ in itertools.groupby(steps) if key])
    return found


def optimized(graph, layout):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    model = planish.to_model(graph).SerializeToString()
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return [s for f in FEEDS for s in strings(session.run(None, f)[0], layout)]


def equal(graph, made, layout):
    model = planish.to_model(graph)
    wanted = [s for f in FEEDS for s in strings(run_ort(model, f)["y"], layout)]
    return np.mean([a == b for a, b in zip(wanted, optimized(made, layout), strict=True)])


def remarks(result):
    return [text for record in result.records for text in record.remarks]


@pytest.mark.parametrize("layout", ["NTC", "TNC"])
def test_a_drop_is_one_of_strings(layout):
    graph = recognizer(layout)
    plain = run_pass(graph, "quantize{measure=false,guard=off}", feeds=FEEDS, verify="off")
    assert equal(graph, plain.graph, layout) < 0.7
    result = run_pass(graph, "quantize{measure=false,max-drop=0.3}", feeds=FEEDS, verify="off")
    kept = equal(graph, result.graph, layout)
    assert 0.7 <= kept < 1
    told = "\n".join(remarks(result))
    assert f"(greedy CTC, blank 0) along axis 2 of output 'y' {100 * kept:.1f} %" in told
    assert "judged by sequence of output 'y': 11 classes along axis 2, since LogSoftmax" in told
    assert re.search(r"40 samples show a drop of at most \d+\.\d % in equal strings", told)


def test_without_a_bound_97_percent_of_strings_stay():
    graph = recognizer()
    result = run_pass(graph, "quantize{measure=false}", feeds=FEEDS, verify="off")
    told = "\n".join(remarks(result))
    assert "all on integers are below the guard of 97 %, which guard=off takes away" in told
    assert equal(graph, result.graph, "NTC") >= 0.97


@pytest.mark.parametrize("layout", ["NTC", "TNC"])
def test_top1_agreement_is_read_along_the_classes(layout):
    graph = recognizer(layout)
    result = run_pass(
        graph, "quantize{measure=false,min-top1-agreement=0.97}", feeds=FEEDS, verify="off"
    )
    told = "\n".join(remarks(result))
    assert "top-1 agreement along axis 2 of output 'y'" in told
    assert any(node.op == "QuantizeLinear" for node in result.graph.nodes)


def test_an_axis_that_was_asked_for_is_taken():
    graph = recognizer()
    result = run_pass(
        graph,
        "quantize{measure=false,max-drop=0.5,metric=classification,class-axis=1}",
        feeds=FEEDS,
        verify="off",
    )
    assert "top-1 agreement along axis 1 of output 'y'" in "\n".join(remarks(result))


def test_a_drop_counts_what_was_lost_before():
    """Weights that were rounded to few bits are no float graph to compare with."""
    graph = recognizer()
    text = "quantize-weights{bits=3},quantize{measure=false,max-drop=0.3,operators=[Mul]}"
    result = planish.Pipeline.parse(text).run(graph, FEEDS, verify="off")
    told = "\n".join(remarks(result))
    assert "the graph stays float: max-drop=0.3 is not reached" in told
    (lost,) = re.findall(r"not reached.* output 'y' ([\d.]+) % \(step", told)
    rounded = planish.Pipeline.parse("quantize-weights{bits=3}").run(graph, verify="off").graph
    assert float(lost) <= 100 * equal(graph, rounded, "NTC") + 15 < 70


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("max-drop=1.0", "max-drop is 1.0; give a part of 1"),
        ("max-drop=0.1,metric=clasification", "classification"),
        ("max-drop=0.1,class-axis=7", "class-axis is 7, which no output of scores has"),
    ],
)
def test_options_that_fit_nothing_are_refused(options, message):
    with pytest.raises(PassError, match=message):
        run_pass(recognizer(), f"quantize{{measure=false,{options}}}", feeds=FEEDS, verify="off")


def test_a_drop_of_outputs_that_nothing_judges_is_refused():
    graph = graph_of(
        """g (float[N, 1, 8, 24] x) => (bool[N, 4, 8, 24] y) {
            c = Conv<pads = [1, 1, 1, 1]>(x, k) d = Relu(c) y = Greater(d, half) }""",
        {"k": normal(4, 1, 3, 3), "half": np.float32(0.5)},
    )
    with pytest.raises(PlanishError, match="no output to judge by"):
        run_pass(graph, "quantize{measure=false,max-drop=0.1}", feeds=FEEDS, verify="off")


def test_indices_of_classes_are_bounded():
    graph = graph_of(
        """g (float[N, 1, 8, 24] x) => (int64[N, 8, 24] y) {
            c = Conv<pads = [1, 1, 1, 1]>(x, k) d = Relu(c) e = Conv<pads = [1, 1, 1, 1]>(d, l)
            y = ArgMax<axis = 1, keepdims = 0>(e) }""",
        {"k": normal(16, 1, 3, 3), "l": normal(5, 16, 3, 3, seed=1)},
    )
    counts = []
    for drop in (0.5, 0.02, 0.001):
        text = f"quantize{{measure=false,max-drop={drop}}}"
        result = run_pass(graph, text, feeds=FEEDS, verify="off")
        assert "mean IoU of masks of output 'y'" in "\n".join(remarks(result))
        counts.append(sum(node.op == "QuantizeLinear" for node in result.graph.nodes))
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]
    with pytest.raises(PassError, match="min-sqnr needs an output of floats"):
        run_pass(graph, "quantize{measure=false,min-sqnr=20}", feeds=FEEDS, verify="off")


def test_comparing_says_what_it_compared():
    a, b = recognizer("TNC"), recognizer("TNC")
    for node in b.nodes:
        if node.op == "MatMul":
            node.inputs[1].values = node.inputs[1].values + 0.3 * normal(16, CLASSES, seed=9)
    found = planish.compare(a, b, FEEDS)
    (output,) = found.outputs
    assert output.class_axis == 2
    (strings_equal,) = found.metrics
    assert strings_equal.value == equal(a, b, "TNC")
    assert strings_equal.samples == 40
    values = [[run_ort(planish.to_model(g), f)["y"].argmax(2) for f in FEEDS] for g in (a, b)]
    assert output.top1_agreement == np.mean(np.equal(*values))


JUDGE = """
import numpy as np

def evaluate(compiled, feeds):
    same = [compiled(feed)["y"].argmax(2) == feed["label"] for feed in feeds]
    return [float(line.all()) for batch in same for line in batch]
"""


def with_labels(graph):
    model = planish.to_model(graph)
    return [feed | {"label": run_ort(model, feed)["y"].argmax(2)} for feed in FEEDS]


def test_a_function_and_labels_judge(tmp_path):
    graph = recognizer()
    (tmp_path / "judge.py").write_text(JUDGE, encoding="utf-8")
    text = (
        f'quantize{{measure=false,max-drop=0.5,labels=label,metric="{tmp_path}/judge.py:evaluate"}}'
    )
    feeds = with_labels(graph)
    result = planish.Pipeline.parse(text).run(graph, feeds, verify="off")
    told = "\n".join(remarks(result))
    assert f"evaluate of {tmp_path}/judge.py:evaluate" in told
    (value,) = re.findall(r"evaluate of \S+ ([\d.]+) %", told)[:1]
    rows = [optimized_rows(result.graph, feed) == feed["label"] for feed in feeds]
    kept = np.mean([line.all() for batch in rows for line in batch])
    assert float(value) == pytest.approx(100 * kept, abs=0.06)
    assert kept >= 0.5


def optimized_rows(graph, feed):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    model = planish.to_model(graph).SerializeToString()
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": feed["x"]})[0].argmax(2)


def test_labels_of_strings_judge():
    """Of labels that the float graph reads wrong in half of the lines, more is not asked."""
    graph = recognizer()
    labelled = []
    for place, feed in enumerate(FEEDS):
        read = [*strings(run_ort(planish.to_model(graph), feed)["y"], "NTC")]
        rows = np.full((2, STEPS), -1)
        for row, text in zip(rows, read, strict=True):
            row[: len(text)] = text
        if place % 2:
            rows[:, 0] = CLASSES - 1 - rows[:, 0].clip(0)
        labelled.append(feed | {"label": rows})
    text = "quantize{measure=false,max-drop=0.2,labels=[label]}"
    result = planish.Pipeline.parse(text).run(graph, labelled, verify="off")
    told = "\n".join(remarks(result))
    (value, own) = re.findall(r"output 'y' ([\d.]+) % \(float: ([\d.]+) %\)", told)[0]
    assert 45 <= float(own) <= 55
    assert float(own) - 20 <= float(value) <= float(own)
