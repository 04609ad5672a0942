"""What a pass failed with: the cause of an error of the run, or of a roll-back."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from ....ir.core.errors import (
    BackendError,
    ConversionError,
    FeedError,
    LoadError,
    PassError,
    PipelineError,
    RefusedError,
    VerificationError,
    in_words,
)
from ....ir.core.extras import missing_package
from ....ir.core.interrupts import was_interrupted
from ....ir.run.feeds import Feed

# What was given to the run is to blame: data, files, options, packages that are not installed.
_OF_THE_PERSON = (RefusedError, ConversionError, LoadError, BackendError)


@dataclass
class PassFailed(Exception):  # noqa: N818  (never leaves the run)
    """A pass raised, left a graph that is not well-formed, or broke verification.

    `contradiction`: what in the graph that the run was given is to blame.
    """

    error: PassError
    trace: str
    contradiction: str | None = None


class CopyNeeded(Exception):  # noqa: N818
    """Something has failed, and no copy of the graph before it was kept to roll back to."""


@dataclass
class EndFailed(Exception):  # noqa: N818
    """Verification at the end found the outputs wrong, and no pass is known to blame."""

    error: PassError


@dataclass
class Refuted(Exception):  # noqa: N818
    """A concrete input shows that the result computes something else."""

    error: PassError
    feed: Feed


def failed(error: Exception, place: str) -> PassFailed:
    """Return what `error`, raised in the pass at `place`, means for a run that can go on.

    Raises what a run never goes on from: what was given to it is to blame, or memory ran out,
    or it was interrupted.
    """
    if was_interrupted(error):
        raise KeyboardInterrupt from error
    if isinstance(error, MemoryError):
        raise error
    if isinstance(error, FeedError):
        raise FeedError(f"{place}: {error}") from error
    if isinstance(error, PipelineError):
        raise PipelineError(f"{place}: {error}") from error
    if isinstance(error, _OF_THE_PERSON):
        raise RefusedError(f"{place}: {error}") from error
    missing = missing_package(error)
    if missing is not None:
        raise RefusedError(f"{place}: {missing}") from error
    kind = VerificationError if isinstance(error, VerificationError) else PassError
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, PassError) and type(error) is kind:
        return PassFailed(error, trace)
    return PassFailed(kind(in_words(error)), trace)
