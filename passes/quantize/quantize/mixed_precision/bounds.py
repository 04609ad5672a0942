"""What a quantized graph must keep of the float one, and how well one does."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .....ir.core.errors import RefusedError

_CONFIDENCE = 1.645  # of 95 %, one-sided, in standard deviations


@dataclass(frozen=True)
class Accuracy:
    """How close to the float graph a choice comes, over `samples` samples.

    `sqnr_db`, `agreement` and `expected`: of the worst output; the latter two are None where no
    output has classes. `expected` is `agreement` as the margins of all samples foretell it.
    `noise`: noise power over signal power, summed over outputs.
    """

    sqnr_db: float
    agreement: float | None
    expected: float | None
    noise: float
    samples: int

    def __str__(self) -> str:
        """Write it for people: `SQNR 24.1 dB, top-1 agreement 98.4 % (expected 97.9 %)`."""
        text = f"SQNR {self.sqnr_db:.1f} dB"
        if self.agreement is None or self.expected is None:
            return text
        return (
            f"{text}, top-1 agreement {100 * self.agreement:.1f} % "
            f"(expected of others like them {100 * self.expected:.1f} %)"
        )


@dataclass(frozen=True)
class AccuracyBounds:
    """The least top-1 agreement (0 to 1) and signal-to-noise ratio (dB) asked for; None: any."""

    top1_agreement: float | None = None
    sqnr: float | None = None

    def __post_init__(self) -> None:
        least = self.top1_agreement
        if least is not None and not 0 < least <= 1:
            raise RefusedError(
                f"min-top1-agreement is {least}; give a share above 0 and up to 1, such as 0.99"
            )
        if self.sqnr is not None and not math.isfinite(self.sqnr):
            raise RefusedError(f"min-sqnr is {self.sqnr}; give dB, such as 25")

    def __bool__(self) -> bool:
        """Say whether anything is asked for."""
        return self.top1_agreement is not None or self.sqnr is not None

    def __str__(self) -> str:
        """Write the bounds as options."""
        asked = (("min-top1-agreement", self.top1_agreement), ("min-sqnr", self.sqnr))
        return ", ".join(f"{name}={value:g}" for name, value in asked if value is not None)

    def hold(self, found: Accuracy) -> bool:
        """Say whether `found` keeps them: agreement as counted and as expected.

        Raises RefusedError where agreement is asked of outputs without classes.
        """
        if self.sqnr is not None and not found.sqnr_db >= self.sqnr:
            return False
        if self.top1_agreement is None:
            return True
        if found.agreement is None or found.expected is None:
            raise RefusedError(
                "min-top1-agreement needs an output of floats with classes along axis 1 (rank 2 or "
                "more), which the graph does not have; use min-sqnr"
            )
        # At 1 no noise at all would do; that nothing flipped is then what can be asked.
        return found.agreement >= self.top1_agreement and (
            self.top1_agreement == 1 or found.expected >= self.top1_agreement
        )


def shown_at_least(agreement: float, samples: int) -> float:
    """Return the agreement on like data that `samples` samples show with 95 % confidence.

    Source: Wilson (1927), the lower end of the score interval.
    """
    z = _CONFIDENCE
    centre = agreement + z**2 / (2 * samples)
    spread = z * math.sqrt(agreement * (1 - agreement) / samples + (z / (2 * samples)) ** 2)
    return max(0.0, (centre - spread) / (1 + z**2 / samples))


def samples_to_show(agreement: float) -> int:
    """Return how many samples, all agreeing, would show `agreement` with 95 % confidence."""
    return math.ceil(_CONFIDENCE**2 * agreement / (1 - agreement) - 1e-9)
