"""The one family of errors planish raises.

Every message starts in lower case, names the file, node, tensor or option it is about with the
value found, and ends with what to do next.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self


class PlanishError(Exception):
    """Anything planish refuses to do, with the reason; base of the whole family."""


class LoadError(PlanishError):
    """A file or buffer is not a model that can be read safely."""


class SaveError(PlanishError):
    """A model could not be written; nothing was left behind at the destination."""


class TraceError(PlanishError):
    """A PyTorch program could not be traced into a graph."""


class ConversionError(PlanishError):
    """A graph cannot become a PyTorch module, or a module not be written back into its graph."""


class GraphError(PlanishError):
    """A graph is not well-formed: a cycle, a missing producer, two tensors of one name."""


class FeedError(PlanishError):
    """Input data does not fit the graph's inputs: name, shape, type or file."""


class ExecutionError(PlanishError):
    """The reference runtime refused a graph or failed while running it."""


class PipelineError(PlanishError):
    """A pipeline's text or options are wrong; the message points at the place with carets."""


class PassError(PlanishError):
    """A pass failed or left a graph that is not well-formed.

    Beside the message it carries what is known, None where it is not:

    - `pass_name`, `node`: the pass, and the node at which it failed.
    - `output`, `error`, `allowed`: the output that is wrong, by how much of its range, and how much
      was allowed.
    - `reproducer`: the folder with what is needed to see it again.
    """

    def __init__(
        self,
        message: str = "",
        *,
        pass_name: str | None = None,
        node: str | None = None,
        output: str | None = None,
        error: float | None = None,
        allowed: float | None = None,
        reproducer: Path | None = None,
    ) -> None:
        super().__init__(message)
        self.pass_name = pass_name
        self.node = node
        self.output = output
        self.error = error
        self.allowed = allowed
        self.reproducer = reproducer

    def with_message(self, message: str, **known: Any) -> Self:
        """Return the same kind of error with another message, and what else is known."""
        own = {name: getattr(self, name) for name in _KNOWN}
        return type(self)(message, **{**own, **known})


_KNOWN = ("pass_name", "node", "output", "error", "allowed", "reproducer")


class RefusedError(PassError):
    """What was asked of a pass cannot be done: its options, or this graph, do not allow it."""


class VerificationError(PassError):
    """A pass changed the numbers by more than it may."""


class CertificateError(PlanishError):
    """A certificate is of other models, was changed, or does not hold."""


class BackendError(PlanishError):
    """A backend or target is unknown, unavailable here, or refused the graph."""


class BackendOptionError(BackendError):
    """An option of a backend is unknown, or has a value that it does not take."""


def in_words(error: BaseException) -> str:
    """Return what `error` says: of one that is not of this family, with the name of its type."""
    return str(error) if isinstance(error, PlanishError) else f"{type(error).__name__}: {error}"
