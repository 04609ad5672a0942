"""Tasks on a Ray cluster of this machine: what they give, what fails, what is refused."""

from __future__ import annotations

import pytest

import planish
from planish.ir.core.errors import RefusedError
from planish.tools.tasks.journal import TaskJournal
from planish.tools.tasks.processes import LocalProcesses
from planish.tools.tasks.ray_nodes import RESOURCE, RayNodes
from planish.tools.trials.build import MODEL, build_task
from planish.tools.trials.clock import Runtime, measure_task
from planish.tools.trials.stored_feeds import store_feeds

from tests.helpers import conv_batchnorm

ray = pytest.importorskip("ray", reason="the cluster is Ray's")
pytestmark = pytest.mark.slow  # a cluster takes many seconds to start, and a process for each task


@pytest.fixture
def cluster(monkeypatch):
    """End whatever a test starts."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    yield
    ray.shutdown()


@pytest.fixture
def tasks(tmp_path):
    """Return a task that builds, one that fails, and one that measures."""
    model = tmp_path / "given.onnx"
    model.write_bytes(conv_batchnorm(8).SerializeToString())
    feeds = tmp_path / "feeds.zip"
    store_feeds(planish.random_feeds(planish.load(model), samples=2, seed=0), feeds)
    return [
        build_task(model, "exact", feeds),
        build_task(model, "prune{only=[nowhere]}", feeds),
        measure_task([(model, Runtime(threads=1))], feeds, (), seconds=0.05, seed=0),
    ]


def test_a_cluster_of_this_machine_does_what_processes_do(cluster, tasks, tmp_path):
    there = TaskJournal(tmp_path / "ray", RayNodes("local"), {}).run(tasks)
    here = TaskJournal(tmp_path / "processes", LocalProcesses(), {}).run(tasks)
    assert ray.available_resources()[RESOURCE] == 1  # given back
    for one, other in zip(there, here, strict=True):
        assert one.error == other.error
        assert one.files.keys() == other.files.keys()
    assert there[0].files[MODEL].read_bytes() == here[0].files[MODEL].read_bytes()
    assert there[0].value == here[0].value
    assert "only names the node 'nowhere'" in str(there[1].error)
    assert there[2].value["seconds"][0] > 0
    again = TaskJournal(tmp_path / "ray", LocalProcesses(), {})
    assert again.resumes == 2  # what failed is done again


def test_a_cluster_without_a_machine_to_measure_on_is_refused(cluster):
    ray.init(include_dashboard=False, log_to_driver=False, num_cpus=1)
    with pytest.raises(RefusedError, match=f"resources '{{\"{RESOURCE}\": 1}}'"):
        RayNodes("auto")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999"])
def test_where_nothing_listens_is_refused_at_once(address):
    with pytest.raises(RefusedError, match="ray start --head"):
        RayNodes(address)
