"""The registry of backends."""

import copy
import importlib.metadata
import pickle

import numpy as np
import pytest

import planish
from planish.backends.contract import registry
from planish.ir.core.errors import BackendError

from tests.helpers import graph_of


@pytest.fixture(autouse=True)
def private_registry(monkeypatch):
    registry.all_backends()
    monkeypatch.setattr(registry, "REGISTERED", dict(registry.REGISTERED))


class Doubling(planish.Backend):
    name = "doubling"
    summary = "remembers what it was asked"

    def lower(self, graph, target, threads, **options):
        return lambda feeds: {"asked": (target.kind, threads, options)}

    def load(self, path, target, threads):
        return lambda feeds: {"asked": (str(path), target.kind, threads)}

    def targets(self):
        return ["cpu"]


GRAPH = "g (float[2] x) => (float[2] y) { y = Relu(x) }"


def test_the_built_in_backend_is_there():
    assert "onnxruntime" in registry.all_backends()
    found = planish.lower(graph_of(GRAPH))({"x": np.array([-1, 2], np.float32)})
    np.testing.assert_array_equal(found["y"], [0, 2])


def test_a_registered_backend_is_used_and_given_its_arguments():
    assert planish.register_backend(Doubling) is Doubling
    planish.register_backend(Doubling)  # again, as a reloaded module does
    graph = graph_of(GRAPH)
    lowered = planish.lower(graph, "doubling", "cpu{threads=3}", level=2)
    assert lowered({})["asked"] == ("cpu", 3, {"level": 2})
    assert planish.lower(graph, "doubling", "cpu{threads=3}", 5)({})["asked"] == ("cpu", 5, {})
    loaded = planish.load_compiled("a.bin", "doubling", "cpu{threads=3}")
    assert loaded({})["asked"] == ("a.bin", "cpu", 3)
    assert planish.load_compiled("a.bin", "doubling", "x", 1)({})["asked"] == ("a.bin", "x", 1)


def test_a_folder_is_nothing_that_was_saved(tmp_path):
    with pytest.raises(BackendError, match=r"is a folder; name the file that Compiled\.save or"):
        planish.load_compiled(tmp_path)


@pytest.mark.parametrize("threads", ["2", 2.5, True])
@pytest.mark.parametrize("backend", ["onnxruntime", "doubling"])
def test_threads_are_a_whole_number_for_every_backend(backend, threads):
    planish.register_backend(Doubling)
    with pytest.raises(BackendError, match=rf"^threads is {threads!r}; give a whole number"):
        planish.lower(graph_of(GRAPH), backend, threads=threads)
    with pytest.raises(BackendError, match=rf"^threads is {threads!r}; give a whole number"):
        planish.load_compiled("a.bin", backend, threads=threads)
    assert planish.lower(graph_of(GRAPH), "doubling", threads=np.int64(2))({})["asked"][1] == 2


def test_threads_of_0_are_passed_on_and_not_taken_for_none():
    planish.register_backend(Doubling)
    graph = graph_of(GRAPH)
    assert planish.lower(graph, "doubling", "cpu{threads=3}", 0)({})["asked"] == ("cpu", 0, {})
    with pytest.raises(BackendError, match="threads is 0"):
        planish.lower(graph, threads=0)


def test_two_backends_of_one_name_are_refused():
    planish.register_backend(Doubling)
    with pytest.raises(BackendError, match="'doubling' is registered already"):
        planish.register_backend(type("Other", (Doubling,), {}))
    with pytest.raises(BackendError, match="no Backend subclass"):
        planish.register_backend(int)
    with pytest.raises(BackendError, match="no Backend subclass"):
        planish.register_backend(Doubling())


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(BackendError, match=r"'onnxruntme' \(did you mean 'onnxruntime'\?\)"):
        planish.lower(graph_of(GRAPH), "onnxruntme")
    with pytest.raises(BackendError, match=r"known are .*onnxruntime"):
        planish.load_compiled("x", "zzz")


def test_entry_points_are_found_and_a_broken_one_is_named(monkeypatch):
    point = importlib.metadata.EntryPoint("d", f"{__name__}:Doubling", "planish.backends")
    broken = importlib.metadata.EntryPoint("b", "no_such_module_anywhere:X", "planish.backends")
    good = type("Point", (), {"load": lambda self: Doubling, "name": "d", "value": point.value})()
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [good])
    registry._load.cache_clear()
    assert registry.all_backends()["doubling"] is Doubling
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [broken])
    registry._load.cache_clear()
    with pytest.warns(UserWarning, match=r"'b' = 'no_such_module_anywhere:X'.*uninstall"):
        assert {"onnxruntime", "tvm"} <= registry.all_backends().keys()
    monkeypatch.undo()
    registry._load.cache_clear()
    assert "doubling" not in registry.all_backends()


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "tvm"])
def test_what_is_compiled_is_not_pickled(name):
    pytest.importorskip(name)
    compiled = planish.lower(graph_of(GRAPH), backend=name)
    for how in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(BackendError, match=r"`save`.*load_compiled"):
            how(compiled)
