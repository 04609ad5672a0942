"""What must hold of a random graph in integers: it runs everywhere alike, and says what it is.

Accuracy is a matter of the network; what is asked here is what holds of any: the interface stays,
the file is valid and runs, its numbers are numbers where the original's are, the runtime's own
optimizations read it as its kernels do, and the same input gives the same bytes.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime as ort

import planish

from .check import Fault, Report, interface_fault, is_valid, told
from tests.strategies.random_graphs import Drawn
from tests.strategies.random_graphs.evaluate import run_session, session_of

# Steps of a grid, by which two orders of a sum may end in another integer, of an output's range.
_APART = 0.25
# One in so many chooses by latency, which takes a second and starts a process.
_MEASURED = 50


def check_quantized(drawn: Drawn, number: int) -> Report:
    """Quantize a graph on its own feeds and say what does not hold."""
    steps = planish.Pipeline.parse("int8{measure=false}" if number % _MEASURED else "int8")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = [
                steps.run(planish.load(drawn.model), drawn.feeds[:1], verify="off", strict=True)
                for _ in range(2 if number % 10 == 1 else 1)
            ]
            models = [planish.to_model(each.graph, portable=True) for each in results]
    except planish.PlanishError as error:
        refused = _is_refusal(error) or (
            isinstance(error.__cause__, planish.ExecutionError) and _is_refused_anyway(drawn)
        )
        text = str(error)[:200]
        return Report(None, refused=text) if refused else Report(Fault("raises", told(error)))
    except Exception as error:
        return Report(Fault("raises", told(error)))
    fault = interface_fault(drawn.model, models[0]) or _runs(drawn, models[0])
    if fault is None and len({m.SerializeToString(deterministic=True) for m in models}) > 1:
        fault = Fault("bytes", "saved bytes differ between two runs")
    return Report(fault, results[0].edits)


def _is_refusal(error: planish.PlanishError) -> bool:
    return type(error) in (planish.RefusedError, planish.FeedError)


def _runs(drawn: Drawn, model: onnx.ModelProto) -> Fault | None:
    feed, wanted = drawn.feeds[0], drawn.outputs[0]
    if is_valid(drawn.model) and not is_valid(model):
        return Fault("malformed", "the checker refuses it, and took the original")
    try:
        plain = run_session(session_of(model), feed)
        optimized = run_session(_optimized(model), feed)
    except Exception as error:
        return None if _is_refused_anyway(drawn) else Fault("refused", told(error))
    for name, right in wanted.items():
        if not isinstance(right, np.ndarray) or right.dtype.kind != "f":
            continue
        found, other = plain[name], optimized[name]
        if found.shape != right.shape or found.dtype != right.dtype:
            return Fault("interface", f"output {name} is {found.dtype}{list(found.shape)}")
        if np.isfinite(right).all() and not np.isfinite(found).all():
            return Fault("floats", f"output {name} has NaN or infinity")
        span = np.abs(found).max(initial=0)
        apart = np.abs(found - other).max(initial=0) > _APART * max(span, 1e-6)
        if np.isfinite(span) and apart and not _differs_anyway(drawn.model, feed, name):
            return Fault("runtime", f"output {name} differs with the runtime's optimizations")
    return None


def _is_refused_anyway(drawn: Drawn) -> bool:
    """Say whether the runtime's optimizations make of the untouched model one that it refuses."""
    try:
        run_session(_optimized(drawn.model), drawn.feeds[0])
    except Exception:  # the binding raises one class per status code
        return True
    return False


def _differs_anyway(model: onnx.ModelProto, feed: Mapping[str, np.ndarray], name: str) -> bool:
    """Say whether the runtime's optimizations change an output of the untouched model as well."""
    found, other = (run_session(s, feed)[name] for s in (session_of(model), _optimized(model)))
    span = np.abs(found).max(initial=0)
    return bool(np.abs(found - other).max(initial=0) > 1e-3 * max(span, 1e-6))


def _optimized(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
