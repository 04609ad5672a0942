"""What is proved of a result, and the file that says so."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast, get_args

from ..core.atomic import replacing
from ..core.counted import counted
from ..core.errors import CertificateError
from ..core.shown import Shown, Summary
from .claims import SAMPLED, TRIED, WORDS, EditClaim, OpenOutput, WindowClaim, counts
from .fields import Fields, is_count
from .magnitudes import FLOAT_TYPES
from .proof import CLAIMS, Claim, SizesShown
from .rounding_bound import NO_ROUNDING, RoundingBound

FORMAT = "planish-certificate"
VERSION = 3
MOST_BYTES = 1 << 26


@dataclass(frozen=True, kw_only=True, repr=False)
class Certificate(Shown):
    """What is proved of a result; `planish check-certificate` checks it from the two models.

    - `before`, `after`: digests of the models.
    - `sizes`: the choices of open sizes that types were inferred at; none where all are given.
    """

    before: str
    after: str
    windows: tuple[WindowClaim, ...]
    edits: tuple[EditClaim, ...]
    open_outputs: tuple[OpenOutput, ...]
    sizes: tuple[dict[str, int], ...] = ()

    @property
    def proved(self) -> int:
        """How many edits are proved: for all sizes, where the graph leaves some open."""
        return sum(edit.claim != SAMPLED and not self._is_tried(edit) for edit in self.edits)

    @property
    def tried(self) -> int:
        """How many edits hold at the sizes that were tried, of which others do not follow."""
        return sum(map(self._is_tried, self.edits))

    @property
    def is_complete(self) -> bool:
        """Whether every edit is proved, and every output shown to be equal, for all sizes."""
        windows = all(each.sizes != "tried" for each in self.windows)
        return self.proved == len(self.edits) and windows and not self.open_outputs

    def verdict(self) -> str:
        """Say in one line what is proved."""
        line = f"proved {self.proved} of {counted(len(self.edits), 'edit')}"
        parts = counts(e.claim for e in self.edits if not self._is_tried(e))
        line = f"{line}: {', '.join(parts)}" if parts else line
        if self.tried:
            parts = counts(e.claim for e in self.edits if self._is_tried(e))
            line = f"{line}; {self.tried} not proved, {TRIED}: {', '.join(parts)}"
        return f"{line}; {self._outputs()}" if self.open_outputs else line

    def shown(self) -> str:
        """Say in one line what the windows show, of which a checker needs nobody's word."""
        line = f"{counted(len(self.windows), 'window')} shown"
        parts = counts(each.claim for each in self.windows if each.sizes != "tried")
        parts += [
            f"{part}, {TRIED}"
            for part in counts(each.claim for each in self.windows if each.sizes == "tried")
        ]
        line = f"{line}: {', '.join(parts)}" if parts else line
        return f"{line}; {self._outputs()}"

    def bound(self, edit: EditClaim) -> RoundingBound:
        """Return the weakest bound of the windows of an edit: none, or what moves the most."""
        if edit.claim == SAMPLED:
            return RoundingBound(none=WORDS[SAMPLED])
        found = [self.windows[place].bound for place in edit.windows]
        return max(found, key=lambda each: (bool(each.none), each.relative), default=NO_ROUNDING)

    def words(self, edit: EditClaim) -> str:
        """Say what holds of an edit, and whether that is of the sizes only that were tried."""
        return f"{WORDS[edit.claim]}, {TRIED}" if self._is_tried(edit) else WORDS[edit.claim]

    def _is_tried(self, edit: EditClaim) -> bool:
        if edit.claim == SAMPLED:
            return False
        return any(self.windows[place].sizes == "tried" for place in edit.windows)

    def _outputs(self) -> str:
        names = ", ".join(f"'{each.name}'" for each in self.open_outputs)
        return f"not shown to be equal: {names}" if names else "every output is equal by them"

    def save(self, path: Path) -> None:
        """Write the certificate, whole or not at all; the same one gives the same bytes."""
        content = _content(self)
        text = json.dumps({**content, "seal": seal_of(content)}, indent=1, sort_keys=True)
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


def _content(certificate: Certificate) -> dict[str, Any]:
    return {"format": FORMAT, "version": VERSION, **asdict(certificate)}


def seal_of(content: Any) -> str:
    """Return the digest by which a file that was changed is told."""
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
    if seal != seal_of(found):
        raise CertificateError(f"'{path}' was changed: its seal does not fit; write it anew")
    return _certificate(Fields(found, path))


def _certificate(found: Fields) -> Certificate:
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


def _window(found: Fields) -> WindowClaim:
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
        looks=found.count("looks"),
        ranges=tuple(found.number_of("ranges", each) for each in found.items("ranges")),
        bound=_bound(found.object("bound")),
    )


def _bound(found: Fields) -> RoundingBound:
    return RoundingBound(
        absolute=found.number("absolute"),
        relative=found.number("relative"),
        type=found.word("type", ("", *FLOAT_TYPES)),
        overflows=found.truth("overflows"),
        underflows=found.truth("underflows"),
        none=found.name("none"),
    )


def _edit(found: Fields, windows: int) -> EditClaim:
    places = found.items("windows")
    if not all(is_count(each) and each < windows for each in places):
        raise found.wrong("windows")
    return EditClaim(
        pass_name=found.name("pass_name"),
        windows=tuple(places),
        claim=found.word("claim", (*CLAIMS, SAMPLED)),
    )
