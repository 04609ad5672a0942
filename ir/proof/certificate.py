"""What a certificate says, and the file that it is written to."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..core.atomic import replacing
from ..core.counted import counted
from ..core.errors import CertificateError
from ..core.shown import Shown, Summary
from .prove import CLAIMS, Claim, SizesShown

FORMAT = "planish-certificate"
VERSION = 1

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
    - `seed`: of the random points.
    - `sizes`: the choices of open sizes that windows were looked at for; none where all are given.
    """

    before: str
    after: str
    seed: int
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
        found = Counter(edit.claim for edit in self.edits)
        parts = [f"{found[claim]} {WORDS[claim]}" for claim in (*CLAIMS, SAMPLED) if found[claim]]
        return f"{line}: {', '.join(parts)}" if parts else line

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
            found = json.loads(path.read_bytes())
        except OSError as error:
            raise CertificateError(
                f"cannot read '{path}': {error.strerror or error}; name a certificate"
            ) from error
        except ValueError as error:
            raise CertificateError(f"'{path}' is no certificate: it is no JSON") from error
        return _read(found, path)

    def _summary(self) -> Summary:
        rows = [
            (name, str(count), WORDS[claim])
            for (name, claim), count in Counter((e.pass_name, e.claim) for e in self.edits).items()
        ]
        return Summary(self.verdict(), rows, ("pass", "edits", "claim"))


WORDS = {
    "exact": "exact for all inputs",
    "identity": "identities, for finite inputs",
    "rounding": "up to the rounding of folded constants, for finite inputs",
    SAMPLED: "sampled only",
}


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
    try:
        return Certificate(
            before=found["before"],
            after=found["after"],
            seed=int(found["seed"]),
            windows=tuple(map(_window, found["windows"])),
            edits=tuple(
                EditClaim(
                    pass_name=each["pass_name"], windows=tuple(each["windows"]), claim=each["claim"]
                )
                for each in found["edits"]
            ),
            open_outputs=tuple(OpenOutput(**each) for each in found["open_outputs"]),
            sizes=tuple(dict(each) for each in found["sizes"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CertificateError(f"'{path}' is no whole certificate: {error!r}") from error


def _window(found: Any) -> WindowClaim:
    before, after = found["output"]
    return WindowClaim(
        name=str(found["name"]),
        output=(before, after),
        inputs=tuple(_pair(each) for each in found["inputs"]),
        before=int(found["before"]),
        after=int(found["after"]),
        claim=found["claim"],
        difference=float(found["difference"]),
        units=float(found["units"]),
        evaluated=float(found["evaluated"]),
        sizes=found["sizes"],
    )


def _pair(found: Sequence[str]) -> tuple[str, str]:
    before, after = found
    return before, after
