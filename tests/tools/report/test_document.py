"""The document of a report: what became of nodes, by which pass, what they cost, and its JSON."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

import planish
from planish.cli.show.run_json import run_json
from planish.ir.core.errors import LoadError
from planish.tools.report import measures
from planish.tools.report.build import GivenModel, model_report, run_report, two_models
from planish.tools.report.document import LatencyEntry
from planish.tools.report.overview import tiles
from planish.tools.report.read import read_report

from tests.helpers import model_of, run_ort
from tests.tools.report.conftest import EVIL, MADE, MEASURING


def _names(document, side, places):
    return [document.graphs[side].nodes[place].name for place in places]


def test_each_node_leads_to_what_became_of_it_and_to_the_passes(document):
    found = {
        tuple(_names(document, 0, link.before)): (
            link.kind,
            _names(document, 1, link.after),
            link.passes,
        )
        for link in document.links
    }
    kind, after, passes = found["first", "norm"]
    assert (kind, len(after)) == ("fused", 1)
    assert "fold-batchnorm" in passes
    assert found[("act",)][0] == "same"
    assert "fuse-conv-activation" in found[("act",)][2]
    assert found[(EVIL,)] == ("same", [EVIL], ())


def test_fused_operators_are_groups_and_so_is_what_they_came_from(document):
    (after,) = document.graphs[1].groups
    assert after.label == "ConvRelu"
    assert [document.graphs[1].nodes[n].op for n in after.nodes] == ["Conv", "Relu"]
    (before,) = document.graphs[0].groups
    assert _names(document, 0, before.nodes) == ["first", "norm", "act"]
    assert before.label == "ConvRelu"


def test_what_a_portable_file_has_written_out_is_a_group_too(run):
    _, result, _ = run
    portable = planish.load(planish.to_model(result.graph, portable=True))
    found = model_report(GivenModel(graph=portable, file="m"), made=MADE).graphs[0]
    assert [(g.label, [found.nodes[n].op for n in g.nodes]) for g in found.groups] == [
        ("ConvRelu", ["Conv", "Relu"])
    ]


def test_calls_one_behind_the_other_are_groups_of_their_own():
    steps, x = [], "x"
    for name in ("a", "b", "c"):
        steps.append(f"c{name} = Conv <pads = [1, 1, 1, 1]> ({x}, {name}) r{name} = Relu(c{name})")
        x = f"r{name}"
    chain = f"{{ {' '.join(steps)} y = Neg({x}) }}"
    text = f"g (float[1, 4, 6, 6] x) => (float[1, 4, 6, 6] y) {chain}"
    weights = {name: np.full((4, 4, 3, 3), 0.1 + i, np.float32) for i, name in enumerate("abc")}
    graph = planish.Pipeline.parse("exact").run(model_of(text, weights)).graph
    portable = planish.load(planish.to_model(graph, portable=True))
    for each in (graph, portable):
        found = model_report(GivenModel(graph=each, file="m"), made=MADE).graphs[0]
        assert [[found.nodes[n].op for n in g.nodes] for g in found.groups] == [
            ["Conv", "Relu"]
        ] * 3


def test_costs_are_those_of_the_nodes_that_are_shown(document):
    macs = {m.graph: m for m in document.measures if m.id == "macs"}
    assert macs[0].values == (2 * 8 * 3 * 9 * 9 * 9, 0, 0, 0, 0)
    assert macs[1].total == sum(macs[1].values)
    shares = next(m for m in document.measures if m.id == "roofline")
    assert sum(shares.values) == pytest.approx(1)


def test_what_was_left_alone_is_told_at_its_node():
    model = model_of(
        "g (float[1, 3, 9, 9] x) => (float[1, 3, 9, 9] y, float[1, 3, 9, 9] c) {"
        "[kept] c = Conv <pads = [1, 1, 1, 1]> (x, w) "
        "[norm] y = BatchNormalization(c, s, s, s, s) }",
        {"w": np.ones((3, 3, 3, 3), np.float32), "s": np.ones(3, np.float32)},
    )
    graph = planish.load(model)
    result = planish.Pipeline.parse("fold-batchnorm").run(graph, verify="off")
    told = run_json(result, None)
    one, two = (GivenModel(graph=g, file="m") for g in (graph, result.graph))
    (decline,) = run_report(one, two, told, made=MADE).declines
    assert (decline.pass_name, decline.before, decline.after) == ("fold-batchnorm", 1, 1)
    assert decline.reason


def test_json_comes_back(document):
    text = json.dumps(document.as_json())
    assert read_report(json.loads(text), "f") == document


def test_a_report_of_another_form_is_refused(document):
    found = document.as_json() | {"schema": "planish-report/99"}
    with pytest.raises(LoadError, match="'f' is a report of the form 'planish-report/99'"):
        read_report(found, "f")
    with pytest.raises(LoadError, match="'f' is no whole report"):
        read_report(document.as_json() | {"graphs": [3]}, "f")


def test_sqnr_is_that_of_the_results_that_stand_for_one_another():
    """Noise on the weights of one layer, behind it a factor a channel that is no error."""
    rng = np.random.default_rng(5)
    weights = {
        "w": rng.standard_normal((8, 3, 3, 3)).astype(np.float32),
        "k": rng.uniform(0.5, 2, (8, 1, 1)).astype(np.float32),
        "v": rng.standard_normal((4, 8, 1, 1)).astype(np.float32),
    }
    noise = rng.standard_normal((4, 8, 1, 1)).astype(np.float32)
    other = weights | {"k": np.ones_like(weights["k"]), "v": weights["v"] + 0.01 * noise}
    other["v"] = (other["v"] * weights["k"].reshape(1, 8, 1, 1)).astype(np.float32)
    text = """g (float[2, 3, 9, 9] x) => (float[2, 4, 9, 9] y) {
        c = Conv <pads = [1, 1, 1, 1]> (x, w) m = Mul(c, k) y = Conv(m, v) }"""
    models = model_of(text, weights), model_of(text, other)
    x = rng.standard_normal((2, 3, 9, 9)).astype(np.float32)
    one, two = (GivenModel(graph=planish.load(m), file="m") for m in models)
    found = two_models(one, two, made=MADE, measuring=MEASURING, feeds=[{"x": x}])
    (sqnr,) = [m for m in found.measures if m.id == "sqnr"]
    assert sqnr.values[0] == math.inf
    assert sqnr.values[1] > 120
    a, b = (run_ort(model, {"x": x})["y"].astype(np.float64) for model in models)
    error = 0.0
    for channel in range(4):
        p, q = a[:, channel].ravel(), b[:, channel].ravel()
        error += np.sum((p - q * (p @ q) / (q @ q)) ** 2)
    assert sqnr.values[2] == pytest.approx(10 * np.log10(np.sum(a**2) / error), abs=0.01)


def test_constants_have_their_statistics():
    values = np.array([0, 0, 1, 3], np.float32)
    model = model_of("g (float[4] x) => (float[4] y) { y = Mul(x, w) }", {"w": values})
    report = model_report(GivenModel(graph=planish.load(model), file="m"), made=MADE)
    (constant,) = report.graphs[0].nodes[0].constants
    assert (constant.least, constant.largest, constant.mean, constant.zeros) == (0, 3, 1, 0.5)
    assert constant.type == "float32[4]"


def test_what_cannot_be_measured_is_told():
    text = "g (float[N] x) => (string[N] y) { y = Cast <to = 8> (x) }"
    report = model_report(
        GivenModel(graph=planish.load(model_of(text)), file="m"),
        made=MADE,
        measuring=replace(MEASURING, backends=("nonesuch",)),
    )
    assert any("times of m on nonesuch: unknown backend" in line for line in report.unknown)


@pytest.mark.parametrize(
    ("range_after", "words"),
    [
        ((0.6, 1.2), "no difference told"),
        ((0.4, 0.7), "2.00 times as fast"),
        ((None, None), "2.00"),
    ],
)
def test_a_model_is_faster_where_ranges_of_times_do_not_meet(document, range_after, words):
    low, high = range_after
    times = (
        LatencyEntry(graph=0, runtime="toy", seconds=1.0, low=0.9, high=1.5),
        LatencyEntry(graph=1, runtime="toy", seconds=0.5, low=low, high=high),
    )
    (tile,) = (t for t in tiles(replace(document, latencies=times)) if "toy" in t.label)
    assert words in tile.detail


def test_a_small_part_keeps_two_digits(document):
    graphs = [
        replace(g, bytes=size) for g, size in zip(document.graphs, (10**6, 3100), strict=True)
    ]
    (tile,) = (t for t in tiles(replace(document, graphs=tuple(graphs))) if t.label == "file")
    assert tile.detail == "0.0031 of what it was"


def test_latencies_are_measured_in_turn(monkeypatch):
    turns = []
    monkeypatch.setattr(measures, "usual_seconds", lambda run, rounds: run())

    def running(place):
        return lambda: turns.append(place) or float(len(turns))

    found = measures.latencies_in_turn({0: running(0), 1: running(1)}, "toy", 5)
    assert turns == [0, 1] * 5
    assert [(e.graph, e.runtime) for e in found] == [(0, "toy"), (1, "toy")]
    assert [(e.low, e.seconds, e.high) for e in found] == [(1, 5, 9), (2, 6, 10)]
