"""Compiled networks on disk, each in a file that is called by the digest of what it is.

A file is read where its seal is whole and it says of itself that it is what was asked for;
otherwise it is made anew. A folder that cannot be read or written to, is somebody else's, or that
anybody may write to, costs the cache, not the network: one warning says so.
"""

from __future__ import annotations

import contextlib
import os
import stat
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...backends.contract.backend import Compiled
from ...backends.contract.backend_text import BackendText
from ...backends.contract.packed import pack, read_packed
from ...backends.contract.registry import get_backend
from ...backends.contract.sealed import ArtifactError, Seal
from ...ir.core.cache_folder import cache_folder
from ...ir.core.environment import is_off, named_place
from ...ir.core.errors import BackendError, PlanishError
from ...ir.core.target import Target

VARIABLE = "PLANISH_NETWORKS"

_SEAL = Seal(backend="torch.compile", family=b"planish-torch-", magic=b"planish-torch-1\n")
_SUFFIX = ".network"
_MOST_BYTES = 4 << 30
_OTHERS_WRITE = stat.S_IWOTH
_warned: set[str] = set()


class NetworkCacheWarning(UserWarning):
    """Compiled networks cannot be kept, for the reason told."""


class NetworkCache:
    """The networks in `folder`, of at most `most` bytes in all: the least recently used go."""

    def __init__(self, folder: Path, most: int = _MOST_BYTES) -> None:
        self._folder = folder
        self._most = most

    def get(self, key: str, threads: int) -> tuple[Compiled, Mapping[str, Any]] | None:
        """Return the network called `key` and what was said of it; None where there is none."""
        path = self._path(key)
        try:
            if not path.exists():
                return None
            self._require_own()
            held = read_packed(path, _SEAL)
            if held.header["key"] != key:
                raise ArtifactError(f"'{path}' holds another network than its name says")
            backend = get_backend(held.header["backend"])
            with held.unpacked() as place:
                found = backend.load(place, Target("cpu"), threads)
            os.utime(path)
        except (ArtifactError, KeyError, TypeError, OSError, PlanishError) as error:
            self._warn(f"'{path}' is not used, and compiled anew: {error}")
            return None
        return found, held.header

    def put(self, key: str, backend: str, network: Compiled, told: Mapping[str, Any]) -> None:
        """Keep `network`, which the backend of that text has made, and what is `told` of it."""
        header = {**told, "key": key, "backend": BackendText.parse(backend).name}
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._require_own()
            pack(self._path(key), _SEAL, header, network)
            self._trim()
        except (OSError, PlanishError) as error:
            self._warn(f"a compiled network is not kept in '{self._folder}': {error}")

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}{_SUFFIX}"

    def _require_own(self) -> None:
        """Raise BackendError for a folder in which others may have put code to run."""
        found = self._folder.stat()
        if found.st_uid not in (0, os.getuid()) or found.st_mode & _OTHERS_WRITE:
            raise BackendError(
                f"others may write to the folder; name one of your own in {VARIABLE}"
            )

    def _trim(self) -> None:
        """Remove what was not used for longest, where there is more than may be."""
        found = []
        for path in self._folder.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):  # another process removes some, too
                state = path.stat()
                found.append((state.st_mtime, state.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found)[:-1]:
            if total <= self._most:
                break
            path.unlink(missing_ok=True)
            total -= size

    def _warn(self, message: str) -> None:
        if str(self._folder) not in _warned:
            _warned.add(str(self._folder))
            warnings.warn(
                f"{message}; the option 'cache' or {VARIABLE} names another folder, or none",
                NetworkCacheWarning,
                stacklevel=2,
            )


def cache_in(asked: bool | str | os.PathLike[str]) -> NetworkCache | None:
    """Return the cache that the option asks for: a folder's, the usual one, or none."""
    if asked is False or (asked is True and (is_off(VARIABLE) or os.environ.get(VARIABLE) == "")):
        return None
    if asked is True:
        return NetworkCache(named_place(VARIABLE) or cache_folder() / "networks")
    return NetworkCache(Path(asked))
