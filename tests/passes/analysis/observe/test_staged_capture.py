"""Stages that go on from one another: what they run again, and what they leave on the disk."""

from __future__ import annotations

import tempfile

import numpy as np
import pytest

from planish.passes.analysis.observe import staged_capture

from tests.helpers import graph_of, run_pass

TEXT = """g (float[N, 3, 9, 9] x) => (float[N, 4, 7, 7] y) {
    a = Conv <pads = [1, 1, 1, 1]> (x, w)
    r = Relu (a)
    d = Conv <group = 8, pads = [1, 1, 1, 1]> (r, v, c)
    s = Relu (d)
    y = Conv (s, u)
}"""


def _weights():
    generator = np.random.default_rng(0)
    shapes = {"w": (8, 3, 3, 3), "v": (8, 1, 3, 3), "c": (8,), "u": (4, 8, 3, 3)}
    return {k: generator.standard_normal(s).astype(np.float32) for k, s in shapes.items()}


def _feeds(count=6, seed=1):
    generator = np.random.default_rng(seed)
    smooth = np.cumsum(generator.standard_normal((count, 2, 3, 9, 9)), axis=3)
    return [{"x": sample.astype(np.float32)} for sample in smooth]


def _run(graph, pipeline, feeds):
    return run_pass(graph, pipeline, feeds=feeds, verify="off")


def _weights_of(graph):
    return [node.inputs[1].values for node in graph.nodes if node.op == "Conv"]


def test_a_stage_goes_on_from_the_one_before(monkeypatch):
    part, run = staged_capture._part, []

    def remember(graph, nodes, known, wanted):
        run.extend(nodes)
        return part(graph, nodes, known, wanted)

    monkeypatch.setattr(staged_capture, "_part", remember)
    _run(graph_of(TEXT, _weights()), "round-adaptively", _feeds())
    assert len(run) == len({id(node) for node in run})
    assert len(run) == 5 + 4  # the last layer's rounded self gives nothing that is looked at


def test_a_full_disk_costs_time_alone(monkeypatch):
    graph = graph_of(TEXT, _weights())
    usual = _weights_of(_run(graph, "round-adaptively", _feeds()).graph)
    monkeypatch.setattr(staged_capture, "_MOST_DISK", 0)
    bounded = _weights_of(_run(graph, "round-adaptively", _feeds()).graph)
    monkeypatch.undo()

    def full(kept, arrays):
        raise OSError("no space left on device")

    monkeypatch.setattr(staged_capture._LiveTensors, "write", full)
    failed = _weights_of(_run(graph, "round-adaptively", _feeds()).graph)
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
        _run(graph_of(TEXT, _weights()), "round-adaptively", _Interrupted(_feeds()))
    assert any(file.closed for file in opened)
    assert [file for file in opened if not file.closed] == []
    assert list(tmp_path.iterdir()) == []
    opened.clear()
    _run(graph_of(TEXT, _weights()), "round-adaptively", _feeds())
    assert len(opened) > 2
    assert [file for file in opened if not file.closed] == []
