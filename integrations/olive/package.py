"""The configuration of the package: which passes there are, and where."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any


def package_config() -> dict[str, Any]:
    """Return Olive's own package configuration with planish's passes in it.

    Olive reads one configuration a run; that of `olive_config.json` beside this file has planish's
    passes alone.
    """
    from olive.package_config import OlivePackageConfig

    path = OlivePackageConfig.get_default_config_path()
    found: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    found["passes"] |= own_config()["passes"]
    return found


def own_config() -> dict[str, Any]:
    """Return the configuration of planish's passes alone."""
    text = resources.files(__package__).joinpath("olive_config.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
