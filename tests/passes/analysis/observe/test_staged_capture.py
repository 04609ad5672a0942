"""Stages that go on from one another: what they run again, and what they leave on the disk."""

from __future__ import annotations

import tempfile

import numpy as np
import pytest

from planish.passes.analysis.observe import staged_capture

from tests.helpers import graph_of
from tests.passes.quantize.rounding.small_network import TEXT, feeds_of, run, weights


def _weights_of(graph):
    return [node.inputs[1].values for node in graph.nodes if node.op == "Conv"]


def test_a_stage_goes_on_from_the_one_before(monkeypatch):
    part, ran = staged_capture.run_part, []

    def remember(graph, nodes, known, wanted, **options):
        ran.extend(nodes)
        return part(graph, nodes, known, wanted, **options)

    monkeypatch.setattr(staged_capture, "run_part", remember)
    run(graph_of(TEXT, weights()), "round-adaptively", feeds_of())
    assert len(ran) == len({id(node) for node in ran})
    assert len(ran) == 5 + 4  # the last layer's rounded self gives nothing that is looked at


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        (["a b", "c", "d", "q", "e", "y"], [["a", "b"], ["c"], ["d"], ["q"], ["e"], []]),
        # Most of the first file is `q`, which nobody reads any more: `a` goes along.
        (["a q", "e", "y"], [["a", "q"], ["a", "e"], []]),
    ],
)
def test_what_is_kept_is_written_once(ends, expected, monkeypatch):
    text = """g (float[2, 4, 4, 4] x) => (float[] y) {
        a = Relu(x) b = Neg(x) c = Exp(b) d = Tanh(c)
        q = Concat<axis = 1>(d, d, d, d, d, d, d, d) e = ReduceSum(q) y = Add(e, a) }"""
    graph, written = graph_of(text), []
    write = staged_capture._LiveTensors.write

    def remember(kept, arrays):
        written.append(sorted(kept.names))
        write(kept, arrays)

    monkeypatch.setattr(staged_capture._LiveTensors, "write", remember)
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 4)).astype(np.float32)
    with staged_capture.StagedCapture(graph, [{"x": x}, {"x": -x}]) as capture:
        found = [list(capture.stage(names.split())) for names in ends]
    assert written[::2] == written[1::2] == expected
    for values, last in zip((x, -x), found[-1], strict=True):
        y = np.maximum(values, 0) + 8 * np.tanh(np.exp(-values)).sum()
        np.testing.assert_allclose(last["y"], y.reshape(values.shape), rtol=1e-5)


def test_a_full_disk_costs_time_alone(monkeypatch):
    graph = graph_of(TEXT, weights())
    usual = _weights_of(run(graph, "round-adaptively", feeds_of()).graph)
    monkeypatch.setattr(staged_capture, "_MOST_DISK", 0)
    bounded = _weights_of(run(graph, "round-adaptively", feeds_of()).graph)
    monkeypatch.undo()

    def full(kept, arrays):
        raise OSError("no space left on device")

    monkeypatch.setattr(staged_capture._LiveTensors, "write", full)
    failed = _weights_of(run(graph, "round-adaptively", feeds_of()).graph)
    for one, other, last in zip(usual, bounded, failed, strict=True):
        assert np.array_equal(one, other)
        assert np.array_equal(one, last)


class _Interrupted(list):
    """Feeds whose reader is interrupted after some samples."""

    left = 10

    def __iter__(self):
        for feed in super().__iter__():
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt
            yield feed


def test_an_interrupt_leaves_no_file_behind(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    opened = []
    open_file = tempfile.TemporaryFile

    def remember(*args, **kwargs):
        opened.append(open_file(*args, **kwargs))
        return opened[-1]

    monkeypatch.setattr(staged_capture.tempfile, "TemporaryFile", remember)
    with pytest.raises(KeyboardInterrupt):
        run(graph_of(TEXT, weights()), "round-adaptively", _Interrupted(feeds_of()))
    assert any(file.closed for file in opened)
    assert [file for file in opened if not file.closed] == []
    assert list(tmp_path.iterdir()) == []
    opened.clear()
    run(graph_of(TEXT, weights()), "round-adaptively", feeds_of())
    assert len(opened) > 2
    assert [file for file in opened if not file.closed] == []


@pytest.mark.parametrize("name", ["round-adaptively", "correct-bias"])
def test_sequences_between_layers_are_run_again(name):
    """A sequence is no array that a file holds: what reads it starts at a stage before."""
    split = """g (float[N, 4, 8, 8] x) => (float[] y) {
        a = Conv (x, v) s = SplitToSequence <axis = 1> (a, two) b = SequenceAt (s, zero)
        c = Conv (b, w) d = SequenceAt (s, one) e = Add (c, d) y = Conv (e, u) }"""
    plain = """g (float[N, 4, 8, 8] x) => (float[] y) {
        a = Conv (x, v) b, d = Split <axis = 1> (a, halves) c = Conv (b, w) e = Add (c, d)
        y = Conv (e, u) }"""
    generator = np.random.default_rng(0)
    values = {
        "v": generator.standard_normal((4, 4, 1, 1)).astype(np.float32),
        "w": generator.standard_normal((2, 2, 1, 1)).astype(np.float32),
        "u": generator.standard_normal((2, 2, 1, 1)).astype(np.float32),
    }
    numbers = {"two": np.array(2), "zero": np.array(0), "one": np.array(1)}
    feeds = [{"x": generator.standard_normal((2, 4, 8, 8)).astype(np.float32)} for _ in range(3)]
    expected = run(graph_of(plain, values | {"halves": np.array([2, 2])}), name, feeds)
    found = run(graph_of(split, values | numbers), name, feeds)
    assert found.edits == expected.edits > 0
    pairs = zip(_inputs_of(found.graph), _inputs_of(expected.graph), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)


def _inputs_of(graph):
    layers = [node for node in graph.nodes if node.op == "Conv"]
    return [t.values for node in layers for t in node.inputs[1:]]
