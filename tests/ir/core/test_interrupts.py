"""Ctrl-C stays Ctrl-C, whatever other code made of it."""

import sys
import types

import pytest

import planish
from planish.cli import main
from planish.ir.core.interrupts import was_interrupted
from planish.passes.pipeline.run.failures import failed


def became(kind, *, cause):
    """An error that a KeyboardInterrupt became, as its cause or while it was handled."""
    try:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as interrupt:
            if cause:
                raise kind("initialization failed") from interrupt
            raise kind("initialization failed") from None
    except kind as error:
        return error


@pytest.mark.parametrize("cause", [True, False])
@pytest.mark.parametrize("kind", [ImportError, SystemError, planish.RefusedError])
def test_it_is_found_behind_other_errors(kind, cause):
    error = became(kind, cause=cause)
    outer = RuntimeError()
    outer.__cause__ = error
    error.__cause__ = error.__cause__ or outer  # in a circle
    assert was_interrupted(error)
    assert was_interrupted(outer)
    with pytest.raises(KeyboardInterrupt):
        failed(error, "pass 1")


def test_other_errors_are_themselves():
    assert not was_interrupted(ImportError("initialization failed"))


def test_a_command_whose_import_was_interrupted_ends_as_by_ctrl_c(monkeypatch, capsys):
    def interrupted(name, package=None):
        raise became(ImportError, cause=True)

    monkeypatch.setattr(main, "importlib", types.SimpleNamespace(import_module=interrupted))
    monkeypatch.setattr(sys, "argv", ["planish", "inspect", "m.onnx"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 130
    told = capsys.readouterr()
    assert "interrupted" in told.err
    assert "bug" not in told.out + told.err
