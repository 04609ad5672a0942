"""A network that ncnn runs, image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...ir.core.atomic import replacing
from ...ir.core.errors import BackendError, ExecutionError, FeedError, SaveError
from ...ir.core.in_native_code import in_native_code
from ...ir.run.feeds import check_feeds
from ..contract.backend import Arrays
from ..contract.headed import Ported
from .artifact import NcnnFiles, NcnnHeader, write
from .settings import NcnnSettings


class NcnnNetwork(Ported):
    """A network in memory; any thread may call it. A batch is run image by image."""

    _header: NcnnHeader

    def __init__(self, header: NcnnHeader, files: NcnnFiles) -> None:
        super().__init__(header)
        self._files = files
        self._net = _loaded(header, files)

    @property
    def precision(self) -> str:
        """What floats are computed in."""
        return self._header.precision

    @property
    def remarks(self) -> tuple[str, ...]:
        """How floats are computed, where it is not in float32, and which integers are floats."""
        narrow = self._header.precision
        told = [] if narrow == "float32" else [f"floats are computed in {narrow} where ncnn can"]
        return (*told, *self._header.remarks)

    @property
    def files(self) -> NcnnFiles:
        """ncnn's own two files, for a device that has no planish."""
        return self._files

    def __call__(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> Arrays:
        """Run once: name -> array in, name -> array out. Raises FeedError or ExecutionError."""
        check_feeds(feeds, self._interface)
        arrays = [np.ascontiguousarray(feeds[port.name]) for port in self.inputs]
        counts = {len(array) for array in arrays}
        if len(counts) != 1 or 0 in counts:
            raise FeedError(
                f"feeds hold {sorted(counts)} images; give as many of each, one or more"
            )
        images = [self._image([array[i] for array in arrays]) for i in range(*counts)]
        return {
            port.name: np.stack(parts)
            for port, parts in zip(self.outputs, zip(*images, strict=True), strict=True)
        }

    def _image(self, arrays: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        import ncnn

        inputs, outputs = self._header.blobs
        with in_native_code, self._net.create_extractor() as extractor:
            for blob, array in zip(inputs, arrays, strict=True):
                extractor.input(blob, ncnn.Mat(array).clone())  # rows as ncnn aligns them
            found = []
            for blob, shape in zip(outputs, self._header.shapes, strict=True):
                status, mat = extractor.extract(blob)
                values = np.array(mat) if status == 0 else np.empty(0)
                if values.shape != shape:
                    raise ExecutionError(
                        f"ncnn failed: a result has the sizes {list(values.shape)}, and not "
                        f"{list(shape)} (its status is {status})"
                    )
                found.append(values)
        return found

    def save(self, path: str | Path) -> None:
        """Write one file with the layers and weights."""
        try:
            with replacing(Path(path)) as file:
                write(file, self._header, self._files)
        except OSError as error:
            raise SaveError(f"cannot write '{path}': {error.strerror or error}") from error


def _loaded(header: NcnnHeader, files: NcnnFiles) -> Any:
    import ncnn

    net = ncnn.Net()
    NcnnSettings(precision=header.precision, threads=header.threads).apply(net.opt)
    if net.load_param_mem(files.param):
        raise BackendError("ncnn does not read the layers; it may be older than 1.0.2026")
    net.load_model_mem(files.bin)
    return net
