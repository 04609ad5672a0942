"""The same runtime in other ways: whichever is right names what was wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ...backends.contract.backend_text import BackendText
from ..reduce.suspects import Wrong
from .optimizers import BY_LEVEL

Says = Callable[[Wrong], str]

_LEVELS = ("none", "basic", "extended", "all")
# What options of a backend choose between, the plainest last.
_PRECISIONS = {"openvino": ("precision", "float32"), "ncnn": ("precision", "float32")}
_SETS = ("avx2", "avx512", "avx512-vnni", "neon")


@dataclass(frozen=True)
class Blame:
    """What of a runtime is wrong, the way in which it is right, and how that is asked for."""

    what: str
    right: Wrong
    advice: str


def blame(suspect: Wrong, says: Says) -> tuple[Blame | None, list[tuple[str, str]]]:
    """Return what makes `suspect` wrong, and each way that was tried with what it said.

    `says`: what goes wrong with a suspect, "" for nothing.
    """
    tried: list[tuple[str, str]] = []

    def ask(what: str, other: Wrong) -> bool:
        said = says(other)
        tried.append((what, said))
        return not said

    name = BackendText.parse(suspect.backend).name
    if name == "onnxruntime":
        found = _optimizer(suspect, ask)
        if found is not None:
            return found, tried
    for what, other, advice in _others(suspect, name):
        if ask(what, other):
            return Blame(what, other, advice), tried
    return None, tried


def _optimizer(suspect: Wrong, ask: Callable[[str, Wrong], bool]) -> Blame | None:
    """Find the level, then the optimizer by name: those that are left out are halved."""
    last = ""
    for level in _LEVELS:
        if not ask(f"optimization {level}", _with(suspect, optimization=level)):
            break
        last = level
    else:
        return None  # right at each level: something else
    if not last:
        return None  # wrong without any
    wrong = _LEVELS[_LEVELS.index(last) + 1]
    level_blame = Blame(
        f"ONNX Runtime's optimizations of level '{wrong}'",
        _with(suspect, optimization=last),
        f"optimization={last}",
    )
    names = [*dict.fromkeys(n for level in _LEVELS[1:] for n in BY_LEVEL[level])]
    at_level = _with(suspect, optimization=wrong)
    if not ask("all optimizers left out", _with(at_level, disabled_optimizers=names)):
        return level_blame
    while len(names) > 1:
        half = names[: len(names) // 2]
        other = names[len(names) // 2 :]
        for part in (half, other):
            if ask(f"without {len(part)} optimizers", _with(at_level, disabled_optimizers=part)):
                names = part
                break
        else:
            return level_blame  # more than one is wrong
    right = _with(suspect, disabled_optimizers=names)
    return Blame(f"ONNX Runtime's optimizer {names[0]}", right, f"disabled_optimizers=[{names[0]}]")


def _others(suspect: Wrong, name: str) -> Iterator[tuple[str, Wrong, str]]:
    if suspect.threads != 1:
        yield "the number of threads", replace(suspect, threads=1), "--threads 1"
    if name in _PRECISIONS:
        option, value = _PRECISIONS[name]
        yield "the precision", _with(suspect, **{option: value}), f"{option}={value}"
    if name == "tvm":
        yield "Winograd's convolutions", _with(suspect, winograd=False), "winograd=false"
        yield "planish's exact passes", _with(suspect, optimize=False), "optimize=false"
        for isa in _SETS:
            target = f"cpu{{isa={isa}}}"
            yield f"the instruction set (not {isa})", replace(suspect, target=target), target


def _with(suspect: Wrong, **options: object) -> Wrong:
    """Return `suspect` with other options of its backend."""
    text = BackendText.parse(suspect.backend).with_options(**options)
    return replace(suspect, backend=str(text))
