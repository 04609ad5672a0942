"""A network that OpenVINO compiled: called, timed layer by layer, or saved."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from ...ir.core.atomic import replacing
from ...ir.core.errors import BackendError, ExecutionError, FeedError, SaveError
from ...ir.core.in_native_code import in_native_code
from ...ir.run.feeds import check_feeds
from ..contract.backend import Arrays
from ..contract.headed import Ported
from ..contract.layer_times import LayerTimes, usual_seconds
from .artifact import Described, write
from .properties import precision_of

_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)

# Times single layers: of a run on these feeds, that many times, of which one takes so many seconds.
TimeLayers = Callable[[Mapping[str, np.ndarray[Any, Any]], int, float], LayerTimes]


class OpenVinoNetwork(Ported):
    """A compiled network; any thread may call it, each in an infer request of its own.

    `layers` times layers, where the model is at hand; `blob` is what it was read from otherwise.
    """

    _header: Described

    def __init__(
        self,
        compiled: Any,
        header: Described,
        *,
        layers: TimeLayers | None = None,
        blob: bytes | None = None,
    ) -> None:
        self._compiled = compiled
        super().__init__(header)
        self._layers = layers
        self._blob = blob
        self._requests = threading.local()

    @property
    def precision(self) -> str:
        """What floats are computed in."""
        return precision_of(self._header.properties)

    @property
    def remarks(self) -> tuple[str, ...]:
        """How floats are computed, where it is not in float32, and which integers are narrowed."""
        hint = self._header.properties["INFERENCE_PRECISION_HINT"]
        told = [] if hint == "f32" else [f"floats are computed in {hint}"]
        if self._header.halves and hint == "f32":
            told.append("16-bit floats inside are computed in float32")
        if any(port.dtype == "int64" for port in (*self.inputs, *self.outputs)):
            told.append("OpenVINO computes int64 in int32")
        if fixed := self._header.fixed:
            told.append(
                f"values by default are fixed: {', '.join(fixed[:3])} ({len(fixed)} in all)"
            )
        return tuple(told)

    def __call__(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> Arrays:
        """Run once: name -> array in, name -> array out. Raises FeedError or ExecutionError."""
        check_feeds(feeds, self._interface)
        self._check_integers(feeds)
        request = getattr(self._requests, "request", None)
        if request is None:
            request = self._requests.request = self._compiled.create_infer_request()
        found = infer(request, [feeds[port.name] for port in self.inputs])
        return dict(zip((port.name for port in self.outputs), found, strict=True))

    def _check_integers(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Raise FeedError for integers that OpenVINO would cut off, or make such from."""
        most, leaving = self._header.largest, self._header.leaving
        for name, array in feeds.items():
            if array.dtype != np.int64 or not array.size:
                continue
            least, largest = int(array.min()), int(array.max())
            if least < -most or largest > most:
                what = f", which {leaving} may leave beyond {most}" if leaving else ""
                raise FeedError(
                    f"feed '{name}' holds {least if least < -most else largest}, and OpenVINO "
                    f"computes int64 in int32{what}; use the backend 'onnxruntime'"
                )

    def time_layers(
        self, feeds: Mapping[str, np.ndarray[Any, Any]], *, rounds: int = 20
    ) -> LayerTimes:
        """Return the times of the layers of a run, from the runtime's own profile."""
        if self._layers is None:
            raise BackendError(
                "a loaded network does not say which layers it has; lower the model itself for "
                "times of single layers"
            )
        self(feeds)
        return self._layers(feeds, rounds, usual_seconds(lambda: self(feeds), rounds))

    def save(self, path: str | Path) -> None:
        """Write one file that loads without compiling, on this version and kind of CPU."""
        blob = self._blob or _bytes(self._compiled.export_model())
        try:
            with replacing(Path(path)) as file:
                write(file, self._header, blob)
        except OSError as error:
            raise SaveError(f"cannot write '{path}': {error.strerror or error}") from error


def infer(request: Any, arrays: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    """Run an infer request once; arrays in the order of inputs and outputs.

    OpenVINO loses the names of inputs that only go by another. Raises ExecutionError.
    """
    try:
        held = [_held(array) for array in arrays]  # OpenVINO reads them, and keeps none
        with in_native_code:
            for i, array in enumerate(held):
                request.set_input_tensor(i, _tensor(array))
            request.infer()
            return [_array(tensor) for tensor in request.output_tensors]
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ExecutionError(f"OpenVINO failed: {' '.join(lines)[:400]}") from error


def _held(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return `array` as one block of memory, which OpenVINO wants to be writeable."""
    values = np.ascontiguousarray(array).reshape(array.shape)
    return values if values.flags.writeable else values.copy()


def _tensor(values: np.ndarray[Any, Any]) -> Any:
    import openvino as ov

    if values.dtype == _BFLOAT16:
        return ov.Tensor(values.view(np.uint16), values.shape, ov.Type.bf16)
    return ov.Tensor(values, shared_memory=True)


def _array(tensor: Any) -> np.ndarray[Any, Any]:
    import openvino as ov

    values: np.ndarray[Any, Any] = tensor.data
    if tensor.element_type == ov.Type.bf16:
        values = values.view(_BFLOAT16).reshape(tuple(tensor.shape))
    return np.array(values)


def _bytes(exported: Any) -> bytes:
    return exported.getvalue() if isinstance(exported, io.BytesIO) else bytes(exported)
