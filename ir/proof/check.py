"""Checking a certificate from the two models alone.

Nothing of what wrote it is trusted: the windows are cut out of the two models and shown again. That
a run had so many edits, and which window an edit belongs to, is its word.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace

import onnx_graphsurgeon as gs

from ..core import dtypes
from ..core.errors import CertificateError
from ..files.given import Model, as_graph
from ..graph.types import TensorType
from .before_jumps import JumpsAhead
from .certificate import Certificate
from .claims import SAMPLED, OpenOutput, WindowClaim, weakest
from .digests import Digests
from .proof import CLAIMS, NotProvedError, Proof
from .prove import prove_at
from .sides import Equalities, PairedSizes, Side, seed_of
from .windows import ProofWindow, cone

# How much larger a bound of rounding may be at the points of a checker.
_MOST_TIMES = 2.0


def check_certificate(before: Model, after: Model, certificate: Certificate) -> Certificate:
    """Check that `certificate` is of these models, and holds; return what was shown now.

    Windows are those of the certificate with what was found of them, at points of this check alone.
    Open outputs are those that do not follow from them, whatever the certificate says; edits are
    the run's word, of which those that no window shows count as sampled where outputs are open.

    Raises CertificateError where the models are others, a window does not show what it claims, or
    an output that is not named as open does not follow from the windows.
    """
    digests = Digests()
    early, late = (Side(as_graph(each), digests) for each in (before, after))
    for side, digest, word in (
        (early, certificate.before, "before"),
        (late, certificate.after, "after"),
    ):
        if side.digest != digest:
            raise CertificateError(
                f"the model {word} is not the one that the certificate is of (digest "
                f"{side.digest}, not {digest}); give what `planish optimize` read and wrote"
            )
    require_same_interface(early, late)
    sizes, equal = PairedSizes(early, late), Equalities(early, late)
    jumps = JumpsAhead(late)
    _require_once(certificate.windows)
    fresh = secrets.randbits(128)  # so that no model can be made for the points
    windows = []
    for place, claim in enumerate(certificate.windows):
        window = _window(early, late, equal, claim)
        try:
            seed = (*seed_of(early, late, place), fresh)
            proof = jumps.named(window, prove_at(window, sizes, _opsets(early, late), seed))
        except NotProvedError as reason:
            raise _refused(claim, str(reason)) from reason
        if CLAIMS.index(proof.claim) > CLAIMS.index(claim.claim):
            raise _refused(claim, f"it is '{proof.claim}', not '{claim.claim}'")
        if proof.sizes != claim.sizes:
            raise _refused(claim, f"sizes are '{proof.sizes}', not '{claim.sizes}'")
        windows.append(_bounded(window, replace(proof, claim=claim.claim), (early, late), claim))
        equal.enter(*window.output)
    opened = _open_outputs(early, late, equal, certificate)
    _check_edits(certificate)
    edits = tuple(
        edit if edit.windows or not opened else replace(edit, claim=SAMPLED)
        for edit in certificate.edits
    )
    return replace(
        certificate,
        windows=tuple(windows),
        edits=edits,
        open_outputs=opened,
        sizes=tuple(sizes.tried),
    )


def _bounded(
    window: ProofWindow, proof: Proof, sides: tuple[Side, Side], claim: WindowClaim
) -> WindowClaim:
    """Return what was shown of a window now, with the bound of rounding for the ranges it claims.

    What folded constants were rounded by is seen at other points, so that a bound may be another.
    """
    if len(claim.ranges) != len(window.inputs):
        raise _refused(claim, "its ranges are not those of its inputs")
    found = WindowClaim.of(window, proof, sides, claim.ranges)
    now, then = found.bound, claim.bound
    more = (
        now.absolute > _MOST_TIMES * then.absolute
        or now.relative > _MOST_TIMES * then.relative
        or (now.overflows, now.underflows) != (then.overflows, then.underflows)
    )
    if not then.none and (now.none or more):
        raise _refused(claim, f"rounding may move it by {now.absolute:.1e}, {now.none or now.type}")
    return found


def _require_once(windows: Sequence[WindowClaim]) -> None:
    """Raise CertificateError where a tensor is shown twice: more work than the models have."""
    shown = set[tuple[str, str]]()
    for claim in windows:
        if claim.output in shown:
            raise _refused(claim, "it is there twice")
        shown.add(claim.output)


def require_same_interface(before: Side, after: Side) -> None:
    """Raise CertificateError where the graphs do not have the same inputs and outputs."""
    for a, b, word in (
        (before.graph.inputs, after.graph.inputs, "inputs"),
        (before.graph.outputs, after.graph.outputs, "outputs"),
    ):
        names = [[tensor.name for tensor in tensors] for tensors in (a, b)]
        if names[0] != names[1]:
            raise CertificateError(f"the models have other {word}: {names[0]} and {names[1]}")
    for a, b in zip(before.graph.inputs, after.graph.inputs, strict=True):
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            raise CertificateError(f"input '{a.name}' is of another type in the model after")
    found = after.outputs_inferred()
    for a, b, inferred in zip(before.graph.outputs, after.graph.outputs, found, strict=True):
        if not _declares_as_much(a, b, inferred):
            raise CertificateError(
                f"output '{b.name}' is declared as {_declared(b)} in the model after, and as "
                f"{_declared(a)} before; declare what it was"
            )


def _declares_as_much(before: gs.Tensor, after: gs.Tensor, inferred: TensorType | None) -> bool:
    """Say whether an output is declared as before, but for sizes that follow from the graph."""
    if before.dtype != after.dtype or before.shape == after.shape:
        return bool(before.dtype == after.dtype)
    known = None if inferred is None else inferred.shape
    wanted = before.shape if before.shape is not None else [None] * len(after.shape or ())
    if after.shape is None or len(wanted) != len(after.shape):
        return False
    own = known if known is not None and len(known) == len(wanted) else [None] * len(wanted)
    return all(
        b == a or (b == size if isinstance(b, int) else not isinstance(a, int))
        for a, b, size in zip(wanted, after.shape, own, strict=True)
    )


def _declared(tensor: gs.Tensor) -> str:
    name = "no type" if tensor.dtype is None else dtypes.type_name(tensor.dtype)
    return name if tensor.shape is None else f"{name} {list(tensor.shape)}"


def _opsets(before: Side, after: Side) -> tuple[int, int]:
    return int(before.graph.opset), int(after.graph.opset)


def _window(before: Side, after: Side, equal: Equalities, claim: WindowClaim) -> ProofWindow:
    """Return the window that a claim is about, cut out of the models."""
    inputs = [(_referred(before, a), _referred(after, b)) for a, b in claim.inputs]
    for a, b in inputs:
        if not equal.hold(a, b):
            raise _refused(claim, f"'{a.name}' and '{b.name}' are not known to be equal")
    output = (_referred(before, claim.output[0]), _referred(after, claim.output[1]))
    cones = []
    for side, tensor, position in ((before, output[0], 0), (after, output[1], 1)):
        names = {pair[position].name for pair in inputs}
        found = cone(side, tensor, names)
        if found is None or not found.begins.keys() <= names:
            raise _refused(claim, f"'{tensor.name}' is computed from other tensors")
        cones.append(found)
    return ProofWindow(cones[0].nodes, cones[1].nodes, inputs, output)


def _referred(side: Side, reference: str) -> gs.Tensor:
    found = side.referred(reference)
    if found is None:
        raise CertificateError(f"the certificate is of a tensor that is not there: {reference}")
    return found


def _refused(claim: WindowClaim, reason: str) -> CertificateError:
    return CertificateError(f"the window of '{claim.name}' is not shown: {reason}")


def _open_outputs(
    before: Side, after: Side, equal: Equalities, certificate: Certificate
) -> tuple[OpenOutput, ...]:
    """Return the outputs that are not shown to be equal; those that are not named are refused."""
    named = {each.name: each for each in certificate.open_outputs}
    found = []
    for a, b in zip(before.graph.outputs, after.graph.outputs, strict=True):
        if equal.hold(a, b):
            continue
        if b.name not in named:
            raise CertificateError(f"output '{b.name}' is not shown to be equal")
        found.append(named[b.name])
    return tuple(found)


def _check_edits(certificate: Certificate) -> None:
    windows = certificate.windows
    for edit in certificate.edits:
        if edit.claim != SAMPLED and edit.claim != weakest(windows[i].claim for i in edit.windows):
            raise CertificateError(f"an edit of {edit.pass_name} claims more than its windows show")
