"""Node data of Model Explorer, of the form that its `node_data_builder` writes."""

import numpy as np

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
