"""ONNX Runtime's sessions, without an optimizer of its own that loses an output of the graph.

    Conv -> a, Conv(bias) -> t, Add(a, t)    becomes    Conv -> a, FusedConv(bias, sum a)

ConvAddActivationFusion asks whether the graph shows the result of the convolution that it starts
from, and does not ask of the one that it puts the sum into. Where the graph shows `t`, nothing
makes it any more, and the session is refused. Grouped and depthwise convolutions whose channels
fill no blocks of the blocked layout come to this, and others where a CPU has no such layout. The
graph is valid, so the session is made again without this optimizer; any other graph keeps it.
(Seen in ONNX Runtime 1.32.)
"""

from __future__ import annotations

from collections.abc import Sequence

import onnxruntime as ort

_LOSES_OUTPUTS = "ConvAddActivationFusion"
_LOST = "Failed to find node output"
_CPU = "CPUExecutionProvider"
DISABLED_OPTIMIZERS = "optimization.disable_specified_optimizers"


def open_session(
    model: bytes | str, options: ort.SessionOptions, providers: Sequence[str]
) -> ort.InferenceSession:
    """Return a session of `model`, a serialized one or a file's path.

    An optimizer that had to be left out is named in `options` from then on. Raises what the binding
    raises, one class per status code.
    """
    try:
        return _open(model, options, providers)
    except Exception as error:  # the binding raises one class per status code
        disabled = disabled_optimizers(options)
        if _LOST not in str(error) or _LOSES_OUTPUTS in disabled:
            raise
    entry = ";".join((*disabled, _LOSES_OUTPUTS))
    options.add_session_config_entry(DISABLED_OPTIMIZERS, entry)
    return _open(model, options, providers)


def disabled_optimizers(options: ort.SessionOptions) -> tuple[str, ...]:
    """Return the graph optimizers that `options` leave out."""
    try:
        entry: str = options.get_session_config_entry(DISABLED_OPTIMIZERS)
    except RuntimeError:  # there is no such entry
        return ()
    return tuple(entry.split(";"))


def _open(
    model: bytes | str, options: ort.SessionOptions, providers: Sequence[str]
) -> ort.InferenceSession:
    # From the CPU the binding would fall back to the CPU: it prints so, and fails once more.
    falls_back = list(providers) != [_CPU]
    return ort.InferenceSession(
        model, options, providers=list(providers), enable_fallback=int(falls_back)
    )
