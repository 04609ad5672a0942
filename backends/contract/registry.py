"""The registry of backends: built in, registered by a script, or found through entry points."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import shlex
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ...ir.core.errors import BackendError, in_words
from ...ir.core.kind import kind_of
from ...ir.core.nearest import nearest
from ...ir.core.target import Target
from .backend import Backend, Compiled
from .backend_text import BackendText, as_text
from .threads import require_whole

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from ...ir.files.given import Model
    from ...passes.engine.context import Feeds
    from .sealed import Seal

_ENTRY_POINTS = "planish.backends"
USUAL = "onnxruntime"  # what it saves is an ONNX model, which any may be
# As entry points spell them, and imported when asked for: one works where another's packages are
# missing or slow to import.
_BUILTIN = {
    name: importlib.metadata.EntryPoint(name, value, _ENTRY_POINTS)
    for name, value in (
        ("auto", "planish.backends.auto.backend:Auto"),
        ("ncnn", "planish.backends.ncnn.backend:Ncnn"),
        ("onnxruntime", "planish.backends.onnxruntime.backend:OnnxRuntime"),
        ("openvino", "planish.backends.openvino.backend:OpenVino"),
        ("tvm", "planish.backends.tvm.backend:Tvm"),
    )
}
# How the files of built-in backends begin, from modules that import no more than is needed to look:
# who runs an artifact of one backend does not wait for, or lack, the packages of another.
_SEALS = {
    "auto": "planish.backends.auto.artifact:SEAL",
    "ncnn": "planish.backends.ncnn.artifact:SEAL",
    "openvino": "planish.backends.openvino.artifact:SEAL",
    "tvm": "planish.backends.tvm.runtime.artifact:SEAL",
}
REGISTERED: dict[str, type[Backend]] = {}

B = TypeVar("B", bound=type[Backend])


def register_backend(item: B) -> B:
    """Register a `Backend` subclass under its `name`; usable as a decorator. Returns `item`.

    Raises BackendError where it is no such class, or its name belongs to another backend.
    """
    if not (isinstance(item, type) and issubclass(item, Backend)):
        raise BackendError(f"{item!r} is no Backend subclass")
    if item.name in _BUILTIN:
        _load_builtin(item.name)
    existing = REGISTERED.get(item.name)
    if existing is not None and existing is not item:
        raise BackendError(f"a backend named '{item.name}' is registered already")
    REGISTERED[item.name] = item
    return item


def all_backends() -> dict[str, type[Backend]]:
    """Return every known backend by name, in order of name."""
    _load()
    return dict(sorted(REGISTERED.items()))


def get_backend(name: str) -> Backend:
    """Return the backend called `name`; raises BackendError with the nearest known name."""
    if as_text(name) in _BUILTIN:
        _load_builtin(name)
        return REGISTERED[name]()
    backends = all_backends()
    if name not in backends:
        raise BackendError(f"unknown backend '{name}'{nearest(name, backends)}")
    return backends[name]()


def is_builtin(name: str) -> bool:
    """Say whether planish itself has a backend of that name."""
    return name in _BUILTIN


def measures(backend: str) -> bool:
    """Say whether lowering for `backend`, as text, runs what it makes. Raises BackendError."""
    return get_backend(BackendText.parse(backend).name).measures


def require_target(text: str) -> None:
    """Raise BackendError where no backend has target `text` on this machine.

    The first that has its kind says which options there are; that which loads fastest is asked
    before the others.
    """
    target, here = Target.parse(text), set[str]()
    for backend in _quick_first():
        here.update(found := backend.targets())
        if target.kind in found:
            if backend.target_options is not None:
                target.known_options(backend.target_options)
            return
    raise BackendError(
        f"target '{target.kind}' is not available on this machine, which has "
        f"{', '.join(sorted(here)) or 'none'}"
    )


def _quick_first() -> Iterator[Backend]:
    yield get_backend(USUAL)
    yield from (backend() for name, backend in all_backends().items() if name != USUAL)


def lower(
    graph: Model,
    backend: str = "onnxruntime",
    target: str = "cpu",
    threads: int | None = None,
    *,
    verify: bool = False,
    feeds: Feeds | None = None,
    seed: int = 0,
    reproducer: Path | str | None = None,
    **options: Any,
) -> Compiled:
    """Lower `graph`, which is left untouched, to something callable.

    `graph`: what `load`, `trace` or a pipeline returned, or the path of an ONNX file. `backend`:
    its name, which may have options in braces, `onnxruntime{spinning=false}`; `auto` measures the
    others. `target`: `cpu`, `cuda`, `cpu{threads=2}`, ...; `threads` overrides the target's.
    `verify`: compare the outputs with those of the graph on the reference runtime, on `feeds` or on
    inputs drawn with `seed`, which `auto` measures on as well; `Compiled.verdict` says what was
    found. The rest are options of the backend.

    Raises BackendError where backend, target or option is unknown or not available on this machine,
    GraphError where the graph contradicts itself, and VerificationError where outputs differ by
    more than rounding; it names the first node that is wrong and a reproducer, which is written to
    the folder `reproducer`.
    """
    from ...ir.files.given import as_graph

    graph = as_graph(graph)
    named, parsed = BackendText.parse(backend), Target.parse(target)
    chosen, count = get_backend(named.name), _threads(threads, parsed)
    options = {**named.options, **options}
    if chosen.measures:
        options |= {"feeds": feeds, "seed": seed}

    def lowered(part: gs.Graph) -> Compiled:
        return chosen.lower(part, parsed, count, **options)

    from ...ir.run.contradiction import (
        contradiction_told,
    )

    with contradiction_told(graph):
        found = lowered(graph)
    if verify:
        from .verified import verify_lowered

        command = f"--target {shlex.quote(target)}" + (f" --threads {threads}" if threads else "")
        folder = None if reproducer is None else Path(reproducer)
        if found.backend:  # what has been chosen, which is not measured again
            backend = found.backend
            named = BackendText.parse(backend)
            chosen, options = get_backend(named.name), dict(named.options)
        verify_lowered(
            found,
            graph,
            lowered,
            name=backend,
            command=command,
            feeds=feeds,
            seed=seed,
            reproducer=folder,
        )
    return found


def load_compiled(
    path: str | Path,
    backend: str | None = None,
    target: str = "cpu",
    threads: int | None = None,
) -> Compiled:
    """Read what `Compiled.save` of the same backend wrote, without lowering again.

    `backend`: by default one that knows the file for its own, else ONNX Runtime. `target` and
    `threads` as for `lower`. Raises BackendError naming the file.
    """
    if not isinstance(path, str | os.PathLike):
        raise BackendError(
            f"{kind_of(path)} is given; name the file that Compiled.save or planish compile wrote"
        )
    parsed = Target.parse(target)
    count = _threads(threads, parsed)
    name = (written_by(path) or USUAL) if backend is None else backend
    return get_backend(name).load(path, parsed, count)


def written_by(path: str | Path) -> str | None:
    """Return the backend, built in or registered, whose own format the file at `path` has.

    None where it is a model, which ONNX Runtime may have written.
    """
    others = [name for name in {**_BUILTIN, **REGISTERED} if name != USUAL]
    return next((name for name in others if _wrote(name, path)), None)


def _wrote(name: str, path: str | Path) -> bool:
    if name in REGISTERED or name not in _SEALS:
        return get_backend(name).wrote(path)
    seal: Seal = importlib.metadata.EntryPoint(name, _SEALS[name], _ENTRY_POINTS).load()
    return seal.is_on(path)


def describe(path: str | Path) -> list[str] | None:
    """Return what the file at `path` says of itself, None where no backend wrote it.

    Raises BackendError where one did and it is damaged.
    """
    found = (backend().describe(path) for backend in all_backends().values())
    return next((lines for lines in found if lines is not None), None)


def _threads(asked: int | None, target: Target) -> int | None:
    require_whole(asked)
    return target.threads if asked is None else asked


def _load_builtin(name: str) -> None:
    if name not in REGISTERED:
        REGISTERED[name] = _BUILTIN[name].load()


@functools.cache
def _load() -> None:
    for name in _BUILTIN:
        _load_builtin(name)
    for entry in importlib.metadata.entry_points(group=_ENTRY_POINTS):
        try:
            register_backend(entry.load())
        except (Exception, SystemExit) as error:  # another distribution's code may fail in any way
            warnings.warn(
                f"entry point '{entry.name}' = '{entry.value}' of group {_ENTRY_POINTS} cannot be "
                f"loaded and is left out: {in_words(error)}; fix or uninstall that package",
                stacklevel=2,
            )
