"""The backend `auto`: `lower(graph, backend="auto")`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ...ir.core.errors import BackendError, BackendOptionError, PlanishError
from ...ir.core.target import Target
from ..contract.backend import Backend, Compiled
from ..contract.backend_text import BackendText
from ..contract.packed import Packed, read_packed
from ..contract.registry import USUAL, all_backends, get_backend
from ..contract.sealed import ArtifactError
from ..contract.threads import require_threads
from ..timing.other_load import NOTICED, OtherLoad
from .artifact import SEAL
from .choice import Candidate, RuntimeChoice
from .chosen import Chosen

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from ...passes.engine.context import Feeds
    from .search import Progress

_OPTIONS = ("among", "burst", "choice", "patience", "progress", "tune")


class Auto(Backend):
    """Whichever backend is installed, right and the fastest on this graph and machine."""

    name: ClassVar[str] = "auto"
    summary: ClassVar[str] = "the fastest of the others that is right, measured on your model"
    measures: ClassVar[bool] = True

    def lower(
        self,
        graph: gs.Graph,
        target: Target,
        threads: int | None,
        *,
        choice: str | Path | None = None,
        among: Sequence[str] | str | None = None,
        tune: bool = True,
        burst: float = 0.06,
        patience: float = 900.0,
        progress: Progress = lambda fraction, note: None,
        feeds: Feeds | None = None,
        seed: int = 0,
        **unknown: Any,
    ) -> Chosen:
        """Return `graph` lowered by the backend that runs it fastest, of those that are right.

        Right is what agrees with the graph on the reference runtime as `verify` demands it. Each
        candidate has a process of its own, and bursts take turns. `among`: backends, as text, to
        measure; all by default. `tune`: try the options of each that may be faster, too. `burst`
        and `patience` are seconds, of one burst and of the longest wait for a candidate. `choice`:
        what was chosen before, as the text of a backend or a file that `Chosen.save` wrote:
        nothing is measured. Raises BackendError where no candidate is right.
        """
        self.refuse_options(unknown, _OPTIONS)
        require_threads(threads)
        if choice is not None:
            return _replayed(graph, target, threads, choice)
        _check(tune, burst, patience)
        from .search import Search, shapes_of

        with tempfile.TemporaryDirectory(prefix="planish-") as folder:
            search = Search(
                graph,
                str(target),
                threads,
                feeds=feeds,
                seed=seed,
                burst=burst,
                patience=patience,
                folder=Path(folder),
                progress=progress,
            )
            here, absent = _candidates(target, among)
            load = OtherLoad()
            best = search.run(here, tune=tune)
            notes = [search.note, _busy(load)]
            found = RuntimeChoice(
                backend=best.job.backend,
                target=str(target),
                threads=threads,
                candidates=(*search.found, *absent),
                inputs=shapes_of(search.feeds[0]),
                note="; ".join(filter(None, notes)),
            )
            named = BackendText.parse(found.backend)

            def again() -> Compiled:
                return get_backend(named.name).lower(graph, target, threads, **named.options)

            if best.ready.saved:
                try:
                    loaded = get_backend(named.name).load(best.job.artifact, target, threads)
                    return Chosen(loaded, found, again)
                except PlanishError:  # what its process wrote is of no use here: make it anew
                    pass
            return Chosen(again(), found)

    def load(self, path: str | Path, target: Target, threads: int | None) -> Chosen:
        """Return the network that `Chosen.save` wrote to `path`, on as many threads as then."""
        held, choice = _held(path)
        count = choice.threads if threads is None else threads
        backend = get_backend(BackendText.parse(choice.backend).name)
        with held.unpacked() as place:
            found = Chosen(backend.load(place, target, count), choice)
        found.verdict = held.header["verdict"]
        return found

    def wrote(self, path: str | Path) -> bool:
        """Say whether the file at `path` begins as `Chosen.save` makes it begin."""
        return SEAL.is_on(path)

    def describe(self, path: str | Path) -> list[str] | None:
        """Return the choice and its table; nothing of the network is run."""
        if not SEAL.is_on(path):
            return None
        held, choice = _held(path)
        return [*choice.lines(), *filter(None, [held.header["verdict"]])]

    def targets(self) -> list[str]:
        """Return the targets that any backend has here."""
        found = {kind for each in _others() for kind in each.targets()}
        return sorted(found)


def _busy(load: OtherLoad) -> str:
    """Say that other programs had the machine as well; "" where they hardly did."""
    cores = load.cores()
    if cores is None or cores < NOTICED:
        return ""
    return (
        f"other programs kept {cores:.1f} cores busy meanwhile: on an idle machine another may be "
        "the fastest, above all with threads that spin"
    )


def _others() -> Iterator[Backend]:
    """Yield all backends that measure none themselves, the usual one first."""
    known = all_backends()
    for name in sorted(known, key=lambda name: (name != USUAL, name)):
        if not known[name].measures:
            yield known[name]()


def _candidates(
    target: Target, among: Sequence[str] | str | None
) -> tuple[list[tuple[Backend, BackendText]], list[Candidate]]:
    """Return what may be measured for `target`, and what is not there, with the reason."""
    if among is None:
        asked = [(backend, BackendText(backend.name)) for backend in _others()]
    else:
        texts = map(BackendText.parse, [among] if isinstance(among, str) else among)
        asked = [(get_backend(text.name), text) for text in {str(t): t for t in texts}.values()]
    here, absent = [], []
    for backend, text in asked:
        if backend.measures:
            raise BackendError(f"backend '{text}' measures others; name those in 'among'")
        if target.kind in backend.targets():
            here.append((backend, text))
            continue
        why = backend.lacking().get(target.kind, f"it has no target '{target.kind}'")
        absent.append(Candidate(backend=str(text), refused=why))
    if not here:
        told = "".join(f"\n  {each}" for each in absent)
        raise BackendError(f"no backend has target '{target}' here{told}")
    return here, absent


def _replayed(graph: gs.Graph, target: Target, threads: int | None, given: str | Path) -> Chosen:
    if SEAL.is_on(given):
        choice = replace(_held(given)[1], replayed=f"'{given}'")
    elif Path(given).is_file():
        raise BackendError(
            f"'{given}' holds no choice; name a file that was compiled with backend 'auto', or the "
            "text of a backend"
        )
    else:
        choice = RuntimeChoice(
            backend=str(BackendText.parse(str(given))),
            target=str(target),
            threads=threads,
            replayed="the option 'choice'",
        )
    named = BackendText.parse(choice.backend)
    try:
        backend = get_backend(named.name)
    except BackendError as error:
        raise BackendError(f"the choice '{given}' is no file here, and: {error}") from error
    if backend.measures:
        raise BackendError(f"the choice '{named}' measures; name what it has chosen")
    count = choice.threads if threads is None else threads
    return Chosen(backend.lower(graph, target, count, **named.options), choice)


def _held(path: str | Path) -> tuple[Packed, RuntimeChoice]:
    try:
        held = read_packed(path, SEAL)
        held.header["verdict"]
        return held, RuntimeChoice.from_json(held.header["choice"])
    except ArtifactError as error:
        raise BackendError(str(error)) from error
    except (TypeError, KeyError) as error:
        raise BackendError(
            f"'{path}' holds a choice of another version of planish; lower the model again"
        ) from error


def _check(tune: object, burst: object, patience: object) -> None:
    if not isinstance(tune, bool):
        raise BackendOptionError(f"tune is {tune!r}; give true or false")
    for name, value in (("burst", burst), ("patience", patience)):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or value <= 0:  # type: ignore[operator]
            raise BackendOptionError(f"{name} is {value!r}; give seconds, more than 0")
