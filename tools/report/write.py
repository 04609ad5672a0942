"""A report in a file: a page, or its document alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...ir.core.atomic import replacing
from ...ir.core.errors import SaveError
from .document import ReportDocument
from .page import page


def write_report(report: ReportDocument, path: Path) -> int:
    """Write a report to `path` as a page, or as JSON where it is called `.json`; return the bytes.

    Raises SaveError, leaving nothing behind.
    """
    if path.suffix == ".json":
        return write_json(report.as_json(), path)
    return _write(page(report), path)


def write_json(value: Any, path: Path) -> int:
    """Write a value as JSON to `path`, whole or not at all; return the bytes. Raises SaveError."""
    return _write(json.dumps(value, indent=1) + "\n", path)


def _write(text: str, path: Path) -> int:
    data = text.encode()
    try:
        with replacing(path) as file:
            file.write(data)
    except OSError as error:
        raise SaveError(
            f"cannot write '{path}': {error.strerror or error}; nothing was left behind"
        ) from error
    return len(data)
