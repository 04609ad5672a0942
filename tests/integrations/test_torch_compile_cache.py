"""Compiled networks on disk: what is taken from there, and what never is."""

import os
import stat
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import planish
from planish.integrations.torch_compile import cache, making
from planish.integrations.torch_compile.backend import compile_graph
from planish.integrations.torch_compile.cache import NetworkCache, NetworkCacheWarning, cache_in
from planish.integrations.torch_compile.identity import (
    UnknownContentError,
    digest_of_feeds,
    digest_of_graph,
    digest_of_tensors,
    told_of_lowering,
)

from tests.helpers import graph_of

X = torch.arange(2 * 3 * 8 * 8, dtype=torch.float32).reshape(2, 3, 8, 8) / 100


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(cache, "_warned", set())
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture
def made(monkeypatch):
    """The graphs that were lowered, and not read."""
    found = []
    lowered = making.lowered

    def spy(graph, options, feed):
        found.append(graph)
        return lowered(graph, options, feed)

    monkeypatch.setattr(making, "lowered", spy)
    return found


def called(module, folder, **options):
    """Return what a fresh process's first call gives."""
    torch._dynamo.reset()
    options = {"threads": 1, "cache": folder, **options}
    with torch.no_grad():
        found = torch.compile(module, backend=compile_graph, options=options)(X)
        torch.testing.assert_close(found, module(X), rtol=1e-4, atol=1e-4)


def conv(seed=0):
    torch.manual_seed(seed)
    return nn.Conv2d(3, 4, 3).eval()


def test_a_network_is_read_where_it_is_the_same_and_never_where_it_is_not(made, tmp_path):
    folder = tmp_path / "networks"
    with warnings.catch_warnings():
        warnings.simplefilter("error", NetworkCacheWarning)
        called(conv(), folder)
        called(conv(), folder)
        assert len(made) == 1
        called(conv(seed=1), folder)
        assert len(made) == 2
    second = max(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    data = bytearray(second.read_bytes())
    data[-9] ^= 1
    second.write_bytes(data)
    with pytest.warns(NetworkCacheWarning, match="is damaged or cut short"):
        called(conv(seed=1), folder)
    assert len(made) == 3
    called(conv(seed=1), folder)
    assert len(made) == 3


def test_a_choice_is_kept_and_a_folder_that_cannot_be_used_costs_the_cache_alone(made, tmp_path):
    runtime = "auto{among=[onnxruntime],tune=false,burst=0.001}"
    called(conv(), tmp_path / "networks", runtime=runtime)
    called(conv(), tmp_path / "networks", runtime=runtime)
    assert len(made) == 1

    file = tmp_path / "file"
    file.touch()
    with pytest.warns(NetworkCacheWarning, match=r"not kept in .*Not a directory.*or none"):
        called(conv(), file / "networks")
    assert len(made) == 2
    with warnings.catch_warnings():  # it is said once
        warnings.simplefilter("error", NetworkCacheWarning)
        NetworkCache(file / "networks").put("a", "onnxruntime", relu(), {})


class Grown(planish.Compiled):
    def __call__(self, feeds):
        raise AssertionError

    def save(self, path):
        path.write_bytes(bytes(1000))


def relu():
    return planish.lower(graph_of("g (float[2] x) => (float[2] y) { y = Relu(x) }"))


def test_files_of_others_and_by_another_name_are_not_read(tmp_path, monkeypatch):
    kept = NetworkCache(tmp_path)
    kept.put("a", "onnxruntime", relu(), {"feeds": []})
    x = np.array([-1, 2], np.float32)
    network, told = kept.get("a", 1)
    np.testing.assert_array_equal(network({"x": x})["y"], [0, 2])
    assert told["feeds"] == []
    (tmp_path / "b.network").write_bytes((tmp_path / "a.network").read_bytes())
    with pytest.warns(NetworkCacheWarning, match="holds another network than its name says"):
        assert kept.get("b", 1) is None
    cache._warned.clear()
    tmp_path.chmod(0o777)
    with pytest.warns(NetworkCacheWarning, match="others may write to the folder"):
        assert kept.get("a", 1) is None
    cache._warned.clear()
    tmp_path.chmod(0o700)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    os.chown(tmp_path, 54321, -1) if os.geteuid() == 0 else pytest.skip("needs another user")
    with pytest.warns(NetworkCacheWarning, match="others may write to the folder"):
        assert kept.get("a", 1) is None


def test_what_was_not_used_for_longest_goes(tmp_path):
    kept = NetworkCache(tmp_path, most=2500)
    for i, name in enumerate("abc"):
        kept.put(name, "onnxruntime", Grown(), {})
        os.utime(tmp_path / f"{name}.network", (i, i))
    os.utime(tmp_path / "b.network", (9, 9))
    kept.put("d", "onnxruntime", Grown(), {})
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["b", "d"]


def test_where_it_lies(monkeypatch, tmp_path):
    monkeypatch.setenv("PLANISH_NETWORKS", str(tmp_path))
    assert cache_in(True)._folder == tmp_path
    assert cache_in("elsewhere")._folder.name == "elsewhere"
    assert cache_in(False) is None
    for off in ("", "off"):
        monkeypatch.setenv("PLANISH_NETWORKS", off)
        assert cache_in(True) is None
    monkeypatch.delenv("PLANISH_NETWORKS")
    assert cache_in(True)._folder.parts[-2:] == ("planish", "networks")


def traced(function, *inputs):
    return digest_of_graph(torch.fx.symbolic_trace(function), inputs)


def test_what_a_graph_is():
    w = torch.ones(4, 3, 3, 3)
    digests = [
        traced(lambda x, w: functional.conv2d(x, w, padding=1), X, w),
        traced(lambda x, w: functional.conv2d(x, w, padding=2), X, w),
        traced(lambda x, w: functional.conv2d(x, w, padding=1).relu(), X, w),
        traced(lambda x, w: functional.conv2d(x, w, padding=1).tanh(), X, w),
        traced(lambda x, w: functional.conv2d(w, x, padding=1), X, w),
        traced(lambda x, w: functional.conv2d(x, w, padding=1), X[:1], w),
        traced(lambda x, w: functional.conv2d(x, w, padding=1), X.double(), w),
        traced(lambda x, w: functional.conv2d(x, w, padding=1), 3, w),
    ]
    assert len(set(digests)) == len(digests)
    again = traced(lambda a, b: functional.conv2d(a, b, padding=1), X + 1, w + 1)
    assert again == digests[0]  # of what is given with each call the values do not count
    assert digest_of_tensors([w]) != digest_of_tensors([w + 1])
    assert digest_of_tensors([w]) != digest_of_tensors([w.reshape(3, 4, 3, 3)])
    feed = {"x": X.numpy()}
    assert digest_of_feeds([feed]) == digest_of_feeds(iter([feed]))
    assert digest_of_feeds([feed]) != digest_of_feeds([feed, feed]) != digest_of_feeds(None)


@torch.fx.wrap
def own(x):
    return x + 1


def test_what_nobody_can_say_is_the_same_is_not_kept(tmp_path):
    with pytest.raises(UnknownContentError, match="own"):
        traced(lambda x: own(x), X)
    with pytest.raises(UnknownContentError, match="module"):
        digest_of_graph(torch.fx.symbolic_trace(nn.Sequential(nn.ReLU())), [X])
    assert told_of_lowering("exact", "tvm", {}) != told_of_lowering("exact", "openvino", {})
    with pytest.raises(UnknownContentError, match="an option names"):
        told_of_lowering("exact", "tvm", {"tune_cache": str(tmp_path)})
