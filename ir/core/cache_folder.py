"""Where a user's caches are."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return planish's folder among the user's caches; it need not be there."""
    try:
        import platformdirs
    except ImportError:  # as the XDG Base Directory Specification has it
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return base / "planish"
    return Path(platformdirs.user_cache_dir("planish"))
