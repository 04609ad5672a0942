"""What `--strict` asks of a result before it is written: that it was verified, and proved.

Where no pass edited there is nothing to verify, and the file is the model that was given.
"""

from __future__ import annotations

from ..backends.contract.backend import Compiled
from ..ir.core.errors import VerificationError
from ..passes.engine.records import Result
from ..passes.trust.verdict import says_verified

_HOW = "nothing was written. Give --feeds that tell, or leave --strict out"


def demand_verified(result: Result) -> None:
    """Raise VerificationError where passes edited and that could not be verified."""
    if result.edits and not result.verified:
        raise VerificationError(
            f"the result is not verified: {result.note or 'its outputs were not compared'}; {_HOW}"
        )


def demand_proved(result: Result) -> None:
    """Raise VerificationError where a certificate was asked for and an edit is not proved."""
    certificate = result.certificate
    if certificate is None or certificate.is_complete:
        return
    first = next((f"output '{e.name}': {e.reason}" for e in certificate.open_outputs), "")
    sizes = "give the sizes with --input-shape" if certificate.tried else "look at the rest"
    raise VerificationError(
        "; ".join(filter(None, (certificate.verdict(), first)))
        + f"; nothing was written. Leave --strict out for a certificate, and {sizes}"
    )


def demand_told(compiled: Compiled) -> None:
    """Raise VerificationError where the lowered network could not be verified."""
    if not says_verified(compiled.verdict):
        raise VerificationError(f"the lowered network is {compiled.verdict}; {_HOW}")
