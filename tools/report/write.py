"""A report in a file: a page, or its document alone."""

from __future__ import annotations

import json
from pathlib import Path

from ...ir.core.atomic import replacing
from ...ir.core.errors import SaveError
from .document import ReportDocument
from .page import page


def write_report(report: ReportDocument, path: Path) -> int:
    """Write a report to `path` as a page, or as JSON where it is called `.json`; return the bytes.

    Raises SaveError, leaving nothing behind.
    """
    as_json = path.suffix == ".json"
    text = json.dumps(report.as_json(), indent=1) + "\n" if as_json else page(report)
    data = text.encode()
    try:
        with replacing(path) as file:
            file.write(data)
    except OSError as error:
        raise SaveError(
            f"cannot write '{path}': {error.strerror or error}; nothing was left behind"
        ) from error
    return len(data)
