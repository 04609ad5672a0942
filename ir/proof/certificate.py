"""What a certificate says, and the file that it is written to."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeGuard, cast, get_args

from ..core.atomic import replacing
from ..core.counted import counted
from ..core.errors import CertificateError
from ..core.shown import Shown, Summary
from .prove import CLAIMS, Claim, Proof, SizesShown
from .sides import Side
from .windows import ProofWindow

FORMAT = "planish-certificate"
VERSION = 1
MOST_BYTES = 1 << 26

# What an edit has where a window was not shown: it was compared on samples, if at all.
SAMPLED = "sampled"


@dataclass(frozen=True, kw_only=True)
class WindowClaim:
    """What was shown of a window, with tensors referred to by what they compute.

    - `name`: what the tensor after is called.
    - `output`: the tensors before and after that are equal; `inputs`: those that they are computed
      from, pair by pair, which are known to be equal.
    - `before`, `after`: how many nodes compute it.
    - `claim`, `difference`, `units`, `evaluated`, `sizes`: see `Proof`.
    """

    name: str
    output: tuple[str, str]
    inputs: tuple[tuple[str, str], ...]
    before: int
    after: int
    claim: Claim
    difference: float
    units: float
    evaluated: float
    sizes: SizesShown

    @classmethod
    def of(cls, window: ProofWindow, proof: Proof, before: Side, after: Side) -> WindowClaim:
        """Return what `proof` shows of `window`, whose tensors are of the two sides."""
        return cls(
            name=window.output[1].name,
            output=(before.reference(window.output[0]), after.reference(window.output[1])),
            inputs=tuple((before.reference(a), after.reference(b)) for a, b in window.inputs),
            before=len(window.before),
            after=len(window.after),
            claim=proof.claim,
            difference=float(f"{proof.difference:.2g}"),
            units=float(f"{proof.units:.2g}"),
            evaluated=float(f"{proof.evaluated:.2g}"),
            sizes=proof.sizes,
        )


@dataclass(frozen=True, kw_only=True)
class EditClaim:
    """One edit: its pass, and what holds of it.

    - `windows`: the windows that show it, by position; none where nothing of it is left but nodes
      that are the same before and after.
    - `claim`: the weakest of theirs, "exact" of none; "sampled" where it was not shown.
    """

    pass_name: str
    windows: tuple[int, ...]
    claim: str


@dataclass(frozen=True, kw_only=True)
class OpenOutput:
    """An output of the graph that was not shown to be equal, and why."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True, repr=False)
class Certificate(Shown):
    """What is proved of a result; `planish check-certificate` checks it from the two models.

    - `before`, `after`: digests of the models.
    - `sizes`: the choices of open sizes that windows were looked at for; none where all are given.
    """

    before: str
    after: str
    windows: tuple[WindowClaim, ...]
    edits: tuple[EditClaim, ...]
    open_outputs: tuple[OpenOutput, ...]
    sizes: tuple[dict[str, int], ...] = ()

    @property
    def proved(self) -> int:
        """How many edits are proved."""
        return sum(edit.claim != SAMPLED for edit in self.edits)

    @property
    def is_complete(self) -> bool:
        """Whether every edit is proved, and every output shown to be equal."""
        return self.proved == len(self.edits) and not self.open_outputs

    def verdict(self) -> str:
        """Say in one line what is proved."""
        line = f"proved {self.proved} of {counted(len(self.edits), 'edit')}"
        parts = _counts((edit.claim, self._is_chosen(edit)) for edit in self.edits)
        line = f"{line}: {', '.join(parts)}" if parts else line
        return f"{line}; {self._outputs()}" if self.open_outputs else line

    def shown(self) -> str:
        """Say in one line what the windows show, of which a checker needs nobody's word."""
        line = f"{counted(len(self.windows), 'window')} shown"
        parts = _counts((each.claim, each.sizes == "chosen") for each in self.windows)
        line = f"{line}: {', '.join(parts)}" if parts else line
        return f"{line}; {self._outputs()}"

    def words(self, edit: EditClaim) -> str:
        """Say what holds of an edit, and whether that is of the sizes only that were tried."""
        return _words(edit.claim, chosen=self._is_chosen(edit))

    def _is_chosen(self, edit: EditClaim) -> bool:
        if edit.claim == SAMPLED:
            return False
        return any(self.windows[place].sizes == "chosen" for place in edit.windows)

    def _outputs(self) -> str:
        names = ", ".join(f"'{each.name}'" for each in self.open_outputs)
        return f"not shown to be equal: {names}" if names else "every output is equal by them"

    def save(self, path: Path) -> None:
        """Write the certificate, whole or not at all; the same one gives the same bytes."""
        content = _content(self)
        text = json.dumps({**content, "seal": _seal(content)}, indent=1, sort_keys=True)
        with replacing(path) as file:
            file.write(text.encode() + b"\n")

    @classmethod
    def load(cls, path: Path) -> Certificate:
        """Read a certificate. Raises CertificateError where the file is none, or was changed."""
        try:
            with path.open("rb") as file:
                content = file.read(MOST_BYTES + 1)
        except OSError as error:
            raise CertificateError(
                f"cannot read '{path}': {error.strerror or error}; name a certificate"
            ) from error
        if len(content) > MOST_BYTES:
            raise CertificateError(f"'{path}' is no certificate: it is larger than any is")
        try:
            found = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise CertificateError(f"'{path}' is no certificate: it is no JSON") from error
        return _read(found, path)

    def _summary(self) -> Summary:
        rows = [
            (name, str(count), words)
            for (name, words), count in Counter(
                (e.pass_name, self.words(e)) for e in self.edits
            ).items()
        ]
        return Summary(self.verdict(), rows, ("pass", "edits", "claim"))


WORDS = {
    "exact": "exact for all inputs",
    "identity": "identities, for finite inputs where nothing overflows",
    "rounding": (
        "up to the rounding of folded constants, for finite inputs where nothing overflows"
    ),
    SAMPLED: "sampled only",
}


def _words(claim: str, *, chosen: bool) -> str:
    """Say a claim; `chosen`: of the sizes only that were tried."""
    if claim == SAMPLED or not chosen:
        return WORDS[claim]
    return f"{WORDS[claim].removesuffix(' for all inputs')}, at the sizes tried"


def _counts(claims: Iterable[tuple[str, bool]]) -> list[str]:
    """Return how many there are of each claim, what says most first."""
    found, order = Counter(claims), (*CLAIMS, SAMPLED)
    ranked = sorted(found, key=lambda each: (order.index(each[0]), each[1]))
    return [f"{found[each]} {_words(each[0], chosen=each[1])}" for each in ranked]


def weakest(claims: Iterable[Claim]) -> Claim:
    """Return the claim that says least, "exact" of none."""
    return max(claims, key=CLAIMS.index, default=CLAIMS[0])


def _content(certificate: Certificate) -> dict[str, Any]:
    return {"format": FORMAT, "version": VERSION, **asdict(certificate)}


def _seal(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _read(found: Any, path: Path) -> Certificate:
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise CertificateError(f"'{path}' is no certificate; `planish optimize --prove` writes one")
    if found.get("version") != VERSION:
        raise CertificateError(
            f"'{path}' is a certificate of version {found.get('version')!r:.20}, and this planish "
            f"reads version {VERSION}; write it anew"
        )
    seal = found.pop("seal", None)
    if seal != _seal(found):
        raise CertificateError(f"'{path}' was changed: its seal does not fit; write it anew")
    return _certificate(_Fields(found, path))


def _certificate(found: _Fields) -> Certificate:
    windows = tuple(map(_window, found.objects("windows")))
    return Certificate(
        before=found.text("before"),
        after=found.text("after"),
        windows=windows,
        edits=tuple(_edit(each, len(windows)) for each in found.objects("edits")),
        open_outputs=tuple(
            OpenOutput(name=each.text("name"), reason=each.text("reason"))
            for each in found.objects("open_outputs")
        ),
        sizes=tuple(each.counts() for each in found.objects("sizes")),
    )


def _window(found: _Fields) -> WindowClaim:
    output = found.pair("output", found.value("output"))
    return WindowClaim(
        name=found.text("name"),
        output=output,
        inputs=tuple(found.pair("inputs", each) for each in found.items("inputs")),
        before=found.count("before"),
        after=found.count("after"),
        claim=cast(Claim, found.word("claim", CLAIMS)),
        difference=found.number("difference"),
        units=found.number("units"),
        evaluated=found.number("evaluated"),
        sizes=cast(SizesShown, found.word("sizes", get_args(SizesShown))),
    )


def _edit(found: _Fields, windows: int) -> EditClaim:
    places = found.items("windows")
    if not all(_is_count(each) and each < windows for each in places):
        raise found.wrong("windows")
    return EditClaim(
        pass_name=found.name("pass_name"),
        windows=tuple(places),
        claim=found.word("claim", (*CLAIMS, SAMPLED)),
    )


@dataclass(frozen=True)
class _Fields:
    """An object of the file, of which fields are read that have to be of a type."""

    held: Mapping[str, Any]
    path: Path
    place: str = ""

    def wrong(self, name: str) -> CertificateError:
        where = f"{self.place}{name}"
        return CertificateError(f"'{self.path}' is no whole certificate: '{where}' is not right")

    def value(self, name: str) -> Any:
        if name not in self.held:
            raise self.wrong(name)
        return self.held[name]

    def text(self, name: str) -> str:
        found = self.value(name)
        if not isinstance(found, str) or not _is_unicode(found):
            raise self.wrong(name)
        return found

    def name(self, name: str) -> str:
        found = self.text(name)
        if not found.isprintable():
            raise self.wrong(name)
        return found

    def word(self, name: str, known: Sequence[str]) -> str:
        found = self.text(name)
        if found not in known:
            raise self.wrong(name)
        return found

    def count(self, name: str) -> int:
        found = self.value(name)
        if not _is_count(found):
            raise self.wrong(name)
        return int(found)

    def number(self, name: str) -> float:
        found = self.value(name)
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise self.wrong(name)
        if not 0 <= found < 1e300:
            raise self.wrong(name)
        return float(found)

    def items(self, name: str) -> list[Any]:
        found = self.value(name)
        if not isinstance(found, list):
            raise self.wrong(name)
        return found

    def objects(self, name: str) -> Iterator[_Fields]:
        for at, each in enumerate(self.items(name)):
            where = f"{name}[{at}]"
            if not isinstance(each, dict):
                raise self.wrong(where)
            yield _Fields(each, self.path, f"{where}.")

    def pair(self, name: str, found: Any) -> tuple[str, str]:
        if not isinstance(found, list) or [type(each) for each in found] != [str, str]:
            raise self.wrong(name)
        return found[0], found[1]

    def counts(self) -> dict[str, int]:
        return {name: self.count(name) for name in self.held}


def _is_count(found: Any) -> TypeGuard[int]:
    return type(found) is int and 0 <= found < 1 << 31


def _is_unicode(text: str) -> bool:
    return not any(0xD800 <= ord(each) < 0xE000 for each in text)
