"""AMX is used where the system allows it and its products are right; else a warning says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import planish
from planish.backends.tvm.check.matrix_unit import fault_of
from planish.backends.tvm.check.report import WrongKernelWarning
from planish.backends.tvm.kernels.amx import choice
from planish.backends.tvm.runtime import artifact
from planish.backends.tvm.spec import amx, machine
from planish.backends.tvm.spec.amx import AmxOffWarning
from planish.backends.tvm.spec.machine import FLAGS, host_isa
from planish.ir.core.errors import BackendError

from ..instructions import make_runnable
from ..matrix_unit import WRONG, stand_in
from ..quantized_net import check
from ..test_integer import conv_net

pytest.importorskip("tvm")


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this machine seem to have AMX, and have its code run on the stand-in."""
    for isa in ("amx", "avx512-bf16"):
        make_runnable(isa, monkeypatch)
    stand_in(monkeypatch)
    for module in (machine, artifact):
        monkeypatch.setattr(module, "cpu_flags", lambda: set(FLAGS["amx"]))
    monkeypatch.setattr(machine, "is_arm", lambda: False)
    monkeypatch.setattr(artifact, "host_architecture", lambda: "x86_64")
    monkeypatch.setattr(amx, "_found", [])
    monkeypatch.setattr(amx, "ask", lambda: "")
    fault_of.cache_clear()
    yield
    fault_of.cache_clear()


@pytest.fixture
def _wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let products be wrong, which is known at the first use."""
    fault_of.cache_clear()
    stand_in(monkeypatch, WRONG)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the artifact of a network that uses tiles."""
    place = tmp_path / "model.planish"
    model, _, _ = conv_net(64, 128, (1, 32), kernel=1)
    planish.lower(planish.load(model), backend="tvm", threads=1).save(place)
    return place


def test_it_is_used_where_the_system_allows_it_and_its_products_are_right() -> None:
    model, feeds, step = conv_net(64, 128, (1, 32), kernel=1)
    check(model, feeds, {"y": step})
    assert host_isa() == "amx"
    assert fault_of.cache_info().currsize == 1


def test_it_is_off_where_the_system_refuses(path, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(amx, "_found", [])
    monkeypatch.setattr(amx, "ask", lambda: asked.append(1) or "Linux refuses its tile registers")
    with pytest.warns(AmxOffWarning, match=r"Linux refuses .*'cpu\{isa=avx512-bf16\}'"):
        assert host_isa() == "avx512-bf16"
    assert host_isa() == "avx512-bf16"
    with pytest.raises(BackendError, match=r"isa 'amx' and Linux refuses .*; lower the model"):
        planish.load_compiled(path)
    assert len(asked) == 1


@pytest.mark.usefixtures("_wrong")
def test_it_is_off_where_its_products_are_wrong() -> None:
    model, feeds, step = conv_net(64, 128, (1, 32), kernel=1)
    with pytest.warns(AmxOffWarning, match=r"uint8 and int8 differs from numpy's in [\d.]+%"):
        check(model, feeds, {"y": step})
    assert host_isa() == "avx512-bf16"


def test_an_artifact_is_not_run_where_its_products_are_wrong(path, request) -> None:
    request.getfixturevalue("_wrong")
    wrong = r"isa 'amx' and its product of uint8 .*; lower the model again"
    with pytest.warns(AmxOffWarning), pytest.raises(BackendError, match=wrong):
        planish.load_compiled(path)


def test_a_kernel_that_is_wrong_is_found_by_what_it_means(monkeypatch) -> None:
    choice.choose_matrix.cache_clear()
    model, feeds, step = conv_net(64, 128, (1, 32), kernel=1)
    found = planish.lower(planish.load(model), backend="tvm", threads=1)
    assert "all right" in " ".join(found.remarks)
    stand_in(monkeypatch, WRONG)  # unseen, since products were right before
    with pytest.warns(WrongKernelWarning, match="matrix_convolution"):
        check(model, feeds, {"y": step})
