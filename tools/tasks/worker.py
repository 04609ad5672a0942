"""A process that runs one task: the folder that it is given says which, and gets the answer."""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from ...ir.core.errors import PlanishError, in_words
from .task import TaskCall

JOB, RESULT = "job.json", "result.json"


def perform(function: str, job: TaskCall) -> dict[str, Any]:
    """Call `function` with `job`; return what it gave, how long it took, and why it failed."""
    started = time.monotonic()
    found: dict[str, Any] = {}
    try:
        module, _, name = function.partition(":")
        found["value"] = getattr(importlib.import_module(module), name)(job)
    except PlanishError as error:
        found["error"] = str(error)
    except Exception as error:  # a mistake of planish, or a library's: the others go on
        found["error"] = f"{in_words(error)}"
        found["trace"] = traceback.format_exc()
    found["seconds"] = time.monotonic() - started
    return found


def main(folder: Path) -> None:
    """Run the task that the file `job.json` in `folder` describes.

    Standard input is open as long as the process that asked is there.
    """
    threading.Thread(target=_end_with_asker, daemon=True).start()
    told = json.loads((folder / JOB).read_text(encoding="utf-8"))
    files = {name: Path(path) for name, path in told["files"].items()}
    found = perform(told["function"], TaskCall(told["options"], files, Path(told["out"])))
    (folder / RESULT).write_text(json.dumps(found), encoding="utf-8")


def _end_with_asker() -> None:
    """End this process when that at the other end of standard input does, however it ends."""
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
