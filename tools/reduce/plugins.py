"""The files that register what a suspect is made of, and nothing installed finds."""

from __future__ import annotations

import importlib.metadata
import inspect
from pathlib import Path

from ...backends.contract.backend_text import BackendText
from ...backends.contract.registry import get_backend, is_builtin
from ...passes.pipeline.attempt import members
from ...passes.pipeline.pipeline import Pipeline
from ...passes.pipeline.scripts import scripts_of
from .suspects import Steps

_ENTRY_POINTS = "planish.backends"
_LOAD = """\
from pathlib import Path

from planish.backends.contract.registry import get_backend
from planish.cli.common import load_plugin

try:
    for plugin in sys.argv[1:] or {files!r}:
        load_plugin(Path(plugin))
{uses}
except planish.PlanishError as error:
    print(f'{{error}}; name the files that register it: python {{sys.argv[0]}} FILE.py ...')
    sys.exit(2)"""


def loading(suspect: Steps) -> str:
    """Return code that registers what `suspect` needs, or ends with 2; empty where it needs none.

    A fault ends with 1, so no lack of a file may.
    """
    uses, files = [], list[Path]()
    whole = True
    if suspect.pipeline:
        items = Pipeline.parse(suspect.pipeline).passes
        found = scripts_of(type(each) for item in items for each in members(item))
        whole = found is not None
        files += found or ()
        uses.append(f"    planish.Pipeline.parse({suspect.pipeline!r})")
    name = BackendText.parse(suspect.backend).name if suspect.backend else ""
    if name and not is_builtin(name) and not _is_installed(name):
        file = inspect.getsourcefile(type(get_backend(name)))
        files += [] if file is None else [Path(file).resolve()]
        whole = whole and file is not None
        uses.append(f"    get_backend({name!r})")
    if whole and not files:
        return ""
    return _LOAD.format(files=[str(file) for file in dict.fromkeys(files)], uses="\n".join(uses))


def _is_installed(name: str) -> bool:
    return name in importlib.metadata.entry_points(group=_ENTRY_POINTS).names
