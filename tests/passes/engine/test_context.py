"""Batches of changes: what leaving a block does, what a view sees, and errors inside."""

from __future__ import annotations

import numpy as np
import pytest

from planish.ir.core.errors import PassError
from planish.ir.graph.types import TensorType
from planish.passes.engine.context import Context

from tests.helpers import graph_of, ops

CHAIN = "g (float[2] x) => (float[2] y) { a = Neg(x)\n b = Relu(a)\n y = Neg(b) }"


def _insert(context, edit, op="Abs", like=None):
    first = context.graph.nodes[0]
    made = edit.variable("made", like)
    edit.begin()
    edit.node(op, [first.outputs[0]], [made], at=first)
    edit.set_input(context.graph.nodes[1], 0, made)
    return made


def test_leaving_the_block_writes_the_changes():
    context = Context(graph_of(CHAIN))
    with context.editing() as edit:
        _insert(context, edit)
        assert ops(context.graph) == ["Neg", "Relu", "Neg"]
    assert ops(context.graph) == ["Neg", "Abs", "Relu", "Neg"]
    assert context.edits == 1


def test_types_are_inferred_anew_after_a_change_alone():
    context = Context(graph_of(CHAIN))
    before = context.infer()
    with context.editing():
        pass
    assert context.infer() is before
    with context.editing() as edit:
        made = _insert(context, edit)
        assert context.view().type(made) is None
    assert context.view().shape(made) == (2,)


def test_a_view_sees_an_open_batch_and_what_follows():
    context = Context(graph_of(CHAIN))
    view = context.view()
    like = TensorType(np.dtype(np.float32), (2,))
    with context.editing() as edit:
        made = _insert(context, edit, like=like)
        assert view.shape(made) == (2,)
        assert view.producer(made).op == "Abs"
    assert view.shape(made) == (2,)
    assert view.dtype(made) == np.float32


def _fail(context):
    with context.editing() as edit:
        _insert(context, edit)
        raise ZeroDivisionError


def test_an_error_passes_through_and_nothing_is_placed():
    context = Context(graph_of(CHAIN))
    with pytest.raises(ZeroDivisionError):
        _fail(context)
    assert "Abs" not in ops(context.graph)
    with context.editing():  # the failed batch is closed
        pass


def test_batches_do_not_nest():
    context = Context(graph_of(CHAIN))
    with (
        context.editing(),
        pytest.raises(PassError, match="open already"),
        context.quietly().editing(),
    ):
        pass


def test_a_step_of_a_pass_shares_edits_limit_and_analyses():
    context = Context(graph_of(CHAIN), limit=2)
    with context.quietly().editing() as edit:
        made = _insert(context, edit)
    assert context.edits == 1
    assert context.view().producer(made).op == "Abs"
    with context.editing() as edit:
        assert edit.left == 1


def test_another_graph_has_its_own_edits_and_types():
    graph, other = graph_of(CHAIN), graph_of(CHAIN)
    context = Context(graph, limit=0)
    inner = context.on(other)
    with inner.editing() as edit:
        assert edit.left is None
        _insert(inner, edit)
    assert (inner.edits, context.edits) == (1, 0)
    assert ops(graph) == ["Neg", "Relu", "Neg"]
