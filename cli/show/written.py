"""What a command says of the file that it wrote, or did not."""

from __future__ import annotations

from pathlib import Path

from ...ir.core.scaled import scaled
from ...ir.files.data_file import bytes_on_disk


def written_line(output: Path | None) -> str:
    """Return the name and size of what was written, or how to have it written."""
    if output is None:
        return "nothing was written; add -o FILE"
    return f"{output}: {scaled(bytes_on_disk(output), 'B')}"
