"""Certificates beside the models that commands write."""

from __future__ import annotations

from pathlib import Path

from ..passes.engine.records import Result
from .files import STREAM, ModelJob


def certificate_path(model: Path) -> Path:
    """Return where the certificate of a model that is written to `model` goes."""
    return model.with_name(f"{model.name}.certificate.json")


def write_certificate(result: Result, job: ModelJob) -> Path | None:
    """Write the certificate of a result beside its model; return where, None for nowhere."""
    written = job.written
    if result.certificate is None or written is None or written == STREAM:
        return None
    path = certificate_path(written)
    result.certificate.save(path)
    return path
