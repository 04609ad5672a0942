"""The ONNX Runtime backend."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs
import onnxruntime as ort

from ...ir.core.atomic import replacing
from ...ir.core.errors import BackendError, ExecutionError, SaveError
from ...ir.core.target import Target
from ...ir.files.load import load
from ...ir.graph.clone import clone
from ...ir.proto.metadata import model_metadata, set_model_metadata
from ...ir.run.feeds import check_feeds
from ...ir.run.open_session import disabled_optimizers
from ...ir.run.session import make_session, output_types, reason, run_session
from ...passes.analysis.roofline import measure_machine
from ..contract.backend import Arrays, Backend, Compiled
from ..contract.layer_times import LayerTime, LayerTimes, usual_seconds
from ..contract.multiply_adds import multiply_adds_by_name
from ..contract.port import Port
from .ports import ports_of
from .profiler import profile_session
from .session_options import PROVIDERS, SessionSettings, providers_for, recipe, session_options

# The entry of a model's metadata that holds the settings of its session.
_SETTINGS = "planish.session"


class OnnxRuntime(Backend):
    """ONNX Runtime on the CPU, or through its CUDA and TensorRT execution providers."""

    name: ClassVar[str] = "onnxruntime"
    summary: ClassVar[str] = "ONNX Runtime on the CPU, CUDA or TensorRT"
    # `isa` is read by passes that prepare a graph for an instruction set; the runtime finds its
    # own.
    target_options: ClassVar[tuple[str, ...]] = ("isa", "threads")
    tunable: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "spinning": (False,),
        "optimization": ("extended", "basic"),
        "disabled_optimizers": (["NchwcTransformer"], ["TransposeOptimizer"]),
        "pointwise_batch": (64, 512),
    }

    def lower(
        self,
        graph: gs.Graph,
        target: Target,
        threads: int | None,
        *,
        providers: Sequence[str] | None = None,
        **options: Any,
    ) -> OnnxRuntimeSession:
        """Return a session of `graph`.

        `providers`: execution providers in order of preference instead of the target's; one that is
        not there is refused. The other options are those of `SessionSettings`.
        """
        target.known_options(self.target_options)
        known = [each.name for each in fields(SessionSettings)]
        unknown = [name for name in options if name not in known]
        self.refuse_options(unknown, [*known, "providers"])
        settings = SessionSettings.of(**options)
        wanted = providers_for(target, providers)
        copy = clone(graph)
        made = session_options(threads, settings)
        session = make_session(copy, made, wanted)
        # What it had to leave out, the other sessions of this graph leave out at once.
        settings = replace(settings, disabled_optimizers=disabled_optimizers(made))
        _check_provider(session, wanted)
        return OnnxRuntimeSession(copy, session, wanted, settings, threads)

    def load(self, path: str | Path, target: Target, threads: int | None) -> OnnxRuntimeSession:
        """Return the session that `OnnxRuntimeSession.save` wrote to `path`."""
        wanted = providers_for(target, None)
        if Path(path).is_dir():
            raise BackendError(
                f"'{path}' is a folder; name the file that Compiled.save or planish compile wrote"
            )
        graph = load(path)
        # It is optimized already, and as far as it was to be.
        settings = replace(_settings_in(graph, path), optimization="none")
        try:
            session = ort.InferenceSession(
                str(path), session_options(threads, settings), providers=wanted
            )
        except Exception as error:  # the binding raises one class per status code
            raise BackendError(
                f"ONNX Runtime cannot load '{path}': {reason(error)}; it may be from another "
                "version or machine, lower the model again"
            ) from error
        _check_provider(session, wanted)
        return OnnxRuntimeSession(graph, session, wanted, settings, threads)

    def targets(self) -> list[str]:
        """Return the targets whose execution provider this build of ONNX Runtime has."""
        available = set(ort.get_available_providers())
        return [kind for kind, order in PROVIDERS.items() if order[0] in available]

    def lacking(self) -> dict[str, str]:
        """Return the targets whose execution provider this build of ONNX Runtime has not."""
        here = self.targets()
        return {
            kind: f"this build of ONNX Runtime has no {order[0]}; install onnxruntime-gpu instead"
            for kind, order in PROVIDERS.items()
            if kind not in here
        }


class OnnxRuntimeSession(Compiled):
    """A graph in an ONNX Runtime session."""

    def __init__(
        self,
        graph: gs.Graph,
        session: ort.InferenceSession,
        providers: list[str],
        settings: SessionSettings,
        threads: int | None,
    ) -> None:
        self._graph = graph
        self._session = session
        self._providers = providers
        self._settings = settings
        self._threads = threads
        self._outputs = output_types(session)

    @property
    def inputs(self) -> tuple[Port, ...]:
        """The names, types and sizes of what it takes."""
        return ports_of(self._session.get_inputs())

    @property
    def outputs(self) -> tuple[Port, ...]:
        """The names, types and sizes of what it gives."""
        return ports_of(self._session.get_outputs())

    def __call__(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> Arrays:
        """Run once: name -> array in, name -> array out. Raises FeedError or ExecutionError."""
        check_feeds(feeds, self._graph)
        return run_session(self._session, self._outputs, feeds)

    def time_layers(
        self, feeds: Mapping[str, np.ndarray[Any, Any]], *, rounds: int = 20
    ) -> LayerTimes:
        """Return the times of the kernels in a run, from the runtime's own profiler.

        A kernel is named after one node that it computes, whose operations are counted.
        """
        check_feeds(feeds, self._graph)
        whole = usual_seconds(lambda: self(feeds), rounds)
        options = session_options(self._threads, self._settings)
        found = profile_session(self._graph, options, self._providers, feeds, rounds)
        counted = multiply_adds_by_name(self._graph, feeds)
        layers = tuple(
            LayerTime(
                kernel=name,
                nodes=(name,),
                seconds=kernel.seconds,
                multiply_adds=counted.get(name, 0),
                operators=(kernel.operator,),
                shape=kernel.shape,
            )
            for name, kernel in found.items()
        )
        peak = measure_machine(options.intra_op_num_threads or None, bandwidth=1.0).peak
        rest = max(0.0, whole - sum(kernel.seconds for kernel in found.values()))
        return LayerTimes(layers, {"float32": peak}, rest, whole)

    def recipe(self) -> str:
        """Return Python code that makes the same session of the graph."""
        return recipe(self._threads, self._settings, self._providers)

    def save(self, path: str | Path) -> None:
        """Write the session's optimized model, which suits this machine's CPU and this version.

        Its metadata say with which settings `load` is to run it.
        """
        path = Path(path)
        options = session_options(self._threads, self._settings)
        with tempfile.TemporaryDirectory(prefix="planish-") as folder:
            written = Path(folder) / path.name
            options.optimized_model_filepath = str(written)
            try:
                make_session(_noted(self._graph, self._settings), options, self._providers)
            except ExecutionError as error:  # the same graph was accepted before
                raise SaveError(
                    f"cannot write '{path}': {error}; check that '{folder}' has space for the model"
                ) from error
            try:
                with replacing(path) as file:
                    file.write(written.read_bytes())
            except OSError as error:
                raise SaveError(f"cannot write '{path}': {error.strerror or error}") from error


def _noted(graph: gs.Graph, settings: SessionSettings) -> gs.Graph:
    """Return a copy of `graph` whose metadata hold `settings`; none where they are the usual."""
    if settings == SessionSettings(optimization=settings.optimization):
        return graph
    known, copy = model_metadata(graph), clone(graph)
    properties = {**dict(known.properties), _SETTINGS: str(settings)}
    set_model_metadata(copy, replace(known, properties=tuple(properties.items())))
    return copy


def _settings_in(graph: gs.Graph, path: str | Path) -> SessionSettings:
    noted = dict(model_metadata(graph).properties).get(_SETTINGS)
    try:
        return SessionSettings() if noted is None else SessionSettings.read(noted)
    except (ValueError, TypeError, BackendError) as error:
        raise BackendError(
            f"'{path}' holds settings of a session that cannot be read ({error}); lower the model "
            "again"
        ) from error


def _check_provider(session: ort.InferenceSession, wanted: list[str]) -> None:
    """Refuse the quiet fall-back: a provider that is built in but cannot load its libraries."""
    got = session.get_providers()
    if wanted[0] not in got:
        raise BackendError(
            f"ONNX Runtime has {wanted[0]} but could not start it and would run on "
            f"{', '.join(got)}; check the driver and its libraries"
        )
