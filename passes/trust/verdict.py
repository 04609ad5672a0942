"""What verification found, in one line."""

from __future__ import annotations

_NOT = "NOT verified"


def says_verified(line: str) -> bool:
    """Say whether a line of `verdict_line` tells of something that was compared and held."""
    return bool(line) and not line.startswith(_NOT)


def verdict_line(verified: bool, error: float | None, tolerance: float | None, note: str) -> str:
    """Say what was found: `error` of the output's range, where `tolerance` was allowed.

    `tolerance` None: the outputs were changed by intent, and the error only measured. `note` says
    why nothing was verified, or why it shows little.
    """
    remark = f"; {note}" if note else ""
    found = f"largest error {error or 0.0:.1e} of the output's range"
    if verified and tolerance is None:
        return f"measured: {found}{remark}"
    if verified:
        allowed = f"{tolerance:.1e} allowed"
        return (
            f"verified: largest error {error or 0.0:.1e} of the output's range, {allowed}{remark}"
        )
    return f"{_NOT}: {note}"
