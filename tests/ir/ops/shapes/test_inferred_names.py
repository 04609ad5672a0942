"""Sizes that inference gives, numbers and names, are those that ONNX Runtime computes, zero too."""

from __future__ import annotations

from random import Random

import numpy as np
import onnx
import pytest

import planish
from planish.ir.ops.shapes.infer import infer_types

from tests.effort import examples
from tests.strategies.random_graphs import graph
from tests.strategies.random_graphs.evaluate import run_session, session_of


def _places(model):
    """Return where a feed tells the sizes that names stand for: name, input and axis."""
    return [
        (dim.dim_param, value.name, axis)
        for value in model.graph.input
        for axis, dim in enumerate(value.type.tensor_type.shape.dim)
        if dim.dim_param
    ]


def _feed_of_size(drawn, size):
    feed = dict(drawn.feeds[0])
    for _, name, axis in _places(drawn.model):
        shape = [*feed[name].shape]
        shape[axis] = size
        feed[name] = np.resize(feed[name], shape) if feed[name].size else np.zeros(shape)
        feed[name] = feed[name].astype(drawn.feeds[0][name].dtype)
    return feed


def _inferred(model):
    """Return the shapes known of what nodes of the main graph give, by name."""
    loaded = planish.load(model)
    types = infer_types(loaded)
    made = {t.name: types.of(t) for node in loaded.nodes for t in node.outputs if t.name}
    return {name: kind.shape for name, kind in made.items() if kind and kind.shape is not None}


def _wrong(model, shapes, feed, session):
    try:
        found = run_session(session, feed)
    except Exception:  # the binding raises one class per status code
        return {}
    names = {name: feed[at].shape[axis] for name, at, axis in _places(model)}
    told = {
        name: tuple(
            _size(size, real, names) for size, real in zip(shape, found[name].shape, strict=True)
        )
        for name, shape in shapes.items()
        if len(shape) == found[name].ndim
    }
    return {name: shapes[name] for name in shapes if told.get(name) != found[name].shape}


def _size(size, real, names):
    if size is None:
        return real
    return names.setdefault(size, real) if isinstance(size, str) else size


def _is_lax(model):
    """Say whether ONNX Runtime takes what no operator allows.

    A slope that widens what it bends, and tensors without elements that do not fit together.
    """
    return any(node.op_type in ("PRelu", "Concat") for node in model.graph.node)


@pytest.mark.parametrize("kind", ["arithmetic", "layout", "plain"])
def test_of_random_graphs(kind):
    checked = 0
    few = 60 if kind == "arithmetic" else 30  # of its graphs two in three are left out
    for number in range(max(examples(60), few)):
        drawn = graph(kind, Random(f"{kind} {number}"))
        if drawn is None or not _places(drawn.model) or _is_lax(drawn.model):
            continue
        model = onnx.ModelProto.FromString(drawn.model.SerializeToString())
        shapes = _inferred(model)
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in shapes)
        session = session_of(model)
        for feed in [*drawn.feeds, *(_feed_of_size(drawn, size) for size in (0, 1, 2))]:
            assert not _wrong(drawn.model, shapes, feed, session), number
            checked += len(shapes)
    assert checked > 100
