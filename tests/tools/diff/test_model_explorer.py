"""Node data of Model Explorer, of the form that its `node_data_builder` writes."""

import importlib.util
import json
import sys
import types

import numpy as np
import pytest

import planish
from planish.tools.diff.model_explorer import node_data

from tests.helpers import model_of


def test_each_node_has_what_became_of_it():
    text = "g (float[4] x) => (float[4] y) { [first] a = Mul(x, w) [second] b = %s(a) y = Neg(b) }"
    weights = {"w": np.arange(4, dtype=np.float32)}
    one, two = (planish.load(model_of(text % op, weights)) for op in ("Relu", "Sigmoid"))
    found = planish.diff(one, two)
    for graph, side in ((one, "before"), (two, "after")):
        (data,) = node_data(found, graph, side).values()
        values = {name: result["value"] for name, result in data["results"].items()}
        assert values == {"first": "same", "second": "replaced", "y": "same"}
        assert all(r["bgColor"][0] == r["textColor"][0] == "#" for r in data["results"].values())
    assert list(node_data(found, two, "after")) == ["g"]


# Fields of `GraphNodeData` and `NodeDataResult` of ai-edge-model-explorer 0.1.34.
_GRAPH = {
    "results",
    "name",
    "thresholds",
    "gradient",
    "hideInAggregatedStatsTable",
    "hideInChildrenStatsTable",
    "hideAggregatedStats",
    "showExpandedSummaryOnGroupNode",
    "showLabelCountColumnsInChildrenStatsTable",
}
_RESULT = {"value", "bgColor", "textColor"}


def _data():
    one, two = (
        planish.load(model_of(f"g (float[4] x) => (float[4] y) {{ [n] y = {op}(x) }}", {}))
        for op in ("Relu", "Sigmoid")
    )
    return node_data(planish.diff(one, two), one, "before")


def test_there_are_no_other_fields_than_the_viewer_reads():
    for graph in _data().values():
        assert graph.keys() <= _GRAPH
        assert isinstance(graph["name"], str)
        for result in graph["results"].values():
            assert result.keys() == _RESULT
            assert all(isinstance(value, str) for value in result.values())


def test_the_viewers_own_builder_writes_the_same(monkeypatch):
    found = importlib.util.find_spec("model_explorer")
    if found is None:
        pytest.skip("ai-edge-model-explorer is not installed")
    # Its `__init__` starts a server's libraries, which the builder does without.
    package = types.ModuleType("model_explorer")
    package.__path__ = list(found.submodule_search_locations)
    monkeypatch.setitem(sys.modules, "model_explorer", package)
    builder = importlib.import_module("model_explorer.node_data_builder")
    data = _data()
    graphs = {
        name: builder.GraphNodeData(
            results={k: builder.NodeDataResult(**v) for k, v in graph["results"].items()},
            name=graph["name"],
        )
        for name, graph in data.items()
    }
    written = json.loads(builder.ModelNodeData(graphs).to_json_string())
    for name, graph in data.items():
        assert graph.items() <= written[name].items()
        rest = {k: v for k, v in written[name].items() if k not in graph}
        assert not any(rest.values())  # defaults
