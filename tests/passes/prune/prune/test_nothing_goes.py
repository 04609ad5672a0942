"""prune with an amount that removes nothing says why, and what to ask for."""

from __future__ import annotations

import re

import numpy as np
import pytest

import planish

from tests.helpers import graph_of

R = np.random.default_rng(0)
BODY = """g (float[N, 3, 9, 9] x) => (float[N, 5, A, B] y) {
    a = Conv (x, w) r = Relu (a) b = Conv (r, v) q = Relu (b) y = Conv (q, u) }"""


def _graph():
    shapes = {"w": (16, 3, 3, 3), "v": (8, 16, 1, 1), "u": (5, 8, 1, 1)}
    return graph_of(BODY, {name: R.standard_normal(s).astype("f") for name, s in shapes.items()})


def _told(options, graph=None):
    graph = _graph() if graph is None else graph
    result = planish.Pipeline.parse(f"prune{{{options}}}").run(graph, verify="off")
    return result.records[0].edits, result.records[0].remarks[0]


CHANNELS = "granularity=channel,amount={0:g}"


@pytest.mark.parametrize(
    ("options", "amount", "asked"),
    [
        (CHANNELS, 0.01, "amount=0.01 of 24 channels is 0.24"),
        (CHANNELS + ",scope=layer", 0.02, "amount=0.02 of 24 channels is 0.48"),
        (CHANNELS + ",multiple=8", 0.1, "amount=0.1 of 24 channels is 2.4"),
        ("amount={0:g}", 0.0005, "amount=0.0005 of 600 weights is 0.3"),
        ("amount={0:g},scope=layer", 0.0005, "amount=0.0005 of 600 weights is 0.3"),
        ("granularity=kernel,amount={0:g}", 0.005, "amount=0.005 of 432 weights is 2.16"),
    ],
)
def test_what_is_asked_rounds_to_nothing(options, amount, asked):
    edits, told = _told(options.format(amount))
    assert edits == 0
    assert asked in told
    assert "rounds to nothing" in told
    least = float(re.search(r"from amount=([0-9.e-]+) on something does", told)[1])
    assert amount < least < 1
    assert _told(options.format(least))[0] > 0
    assert _told(options.format(0.8 * least))[0] == 0


def test_nothing_can_go_at_any_amount():
    edits, told = _told(CHANNELS.format(0.3) + ",multiple=64")
    assert edits == 0
    assert told.endswith("multiple, least and exclude leave nothing that can go")
    assert _told(CHANNELS.format(0.0)) == (
        0,
        "nothing goes: amount is 0; give more than 0, such as 0.3",
    )


def test_more_is_asked_than_least_leaves():
    text = "prune{granularity=channel,amount=0.5,least=0.5}"
    graph = planish.Pipeline.parse(text).run(_graph(), verify="off").graph
    assert _told("granularity=channel,amount=0.5,least=0.5", graph)[1].endswith("masked already")
    told = _told("granularity=channel,amount=0.9,least=0.5", graph)[1]
    assert told.endswith("leave nothing that can go")
