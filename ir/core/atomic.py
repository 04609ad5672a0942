"""Writing a file so that it is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from .errors import SaveError

_PART = ".part"
# Seconds in which a file that was just made is locked.
_FRESH = 60.0


def require_writable(path: Path) -> None:
    """Raise SaveError where no file can be put at `path`: before any work that is to end there."""
    path = written_to(path)
    try:
        handle, name = _beside(path)
        os.close(handle)
        os.unlink(name)
    except OSError as error:
        raise SaveError(
            f"cannot write '{path}': {error.strerror or error}; name a file in a folder that is "
            "there and can be written to"
        ) from error


@contextlib.contextmanager
def replacing(
    path: Path, renamed: Callable[[], Path] | None = None, *, lasting: bool = True
) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` that takes its place when the block ends well.

    Or the place that `renamed` says then, in the same folder. Where `path` is a symbolic link, the
    file that it names is replaced, and the link stays. Its permissions stay, but for what the
    umask takes. An OSError names `path`; SaveError says that something else than a file is there.
    `lasting`: it is on the disk then, which takes milliseconds; else a power cut may leave it cut
    short, and who reads it must be able to tell.
    """
    real = written_to(path)
    path = real if renamed is None else path
    handle, name = _beside(path)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            if lasting:
                os.fsync(file.fileno())
        place = path if renamed is None else renamed()
        os.chmod(name, _mode(place, real))
        os.replace(name, place)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(name)
        if isinstance(error, OSError) and error.filename == name:
            raise _named(error, path) from error
        raise


def written_to(path: Path) -> Path:
    """Return the file that writing to `path` replaces: what a symbolic link names, else `path`.

    Raises SaveError where something is there that is no file.
    """
    if not path.is_symlink():
        _require_file(path)
        return path
    real = Path(os.path.realpath(path))
    if real.is_symlink():
        raise SaveError(f"cannot write '{path}': the link leads back to itself; name a file")
    _require_file(path)
    return real


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise SaveError(f"cannot write '{path}': it is a folder; name a file inside it")
    if path.exists() and not path.is_file():
        raise SaveError(
            f"cannot write '{path}': it is a device or a pipe, which a file would replace; name a "
            "file"
        )


def _beside(path: Path) -> tuple[int, str]:
    """Open a new file, hidden, in the folder of `path`, and remove those that killed writers left.

    It is locked as long as it is open: what nobody holds has no writer any more.
    """
    prefix = f".{path.name[:50]}."
    try:
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=_PART, dir=path.parent)
    except OSError as error:
        raise _named(error, path) from error
    _lock(handle)
    _remove_abandoned(path.parent, prefix)
    return handle, name


def _remove_abandoned(folder: Path, prefix: str) -> None:
    """Remove files of killed processes: as old as no file is that is not locked yet, and free."""
    latest = time.time() - _FRESH
    for name in os.listdir(folder):
        if not (name.startswith(prefix) and name.endswith(_PART)):
            continue
        with contextlib.suppress(OSError):
            path = folder / name
            if path.stat().st_mtime > latest:
                continue
            handle = os.open(path, os.O_RDWR)
            try:
                if _lock(handle):
                    path.unlink()
            finally:
                os.close(handle)


def _lock(handle: int) -> bool:
    """Lock an open file; say whether that could be done, and nobody else has."""
    if sys.platform == "win32":  # what a killed process leaves stays there
        return False
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another has, or the file system has no locks
        return False
    return True


def _named(error: OSError, path: Path) -> OSError:
    """Return the error with the name that a person knows instead of the hidden file's."""
    return OSError(error.errno, error.strerror, str(path))


def _mode(*paths: Path) -> int:
    """Return the permissions of the first of `paths` that is there, else those of a new file.

    Of them the umask takes its part: a file is never open to more than either allows.
    """
    mode = 0o666
    for path in paths:
        with contextlib.suppress(OSError):
            mode = stat.S_IMODE(path.stat().st_mode)
            break
    return mode & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
