"""Pipelines of planish as passes of Olive: an ONNX model in, an ONNX model out."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from olive.data.config import DataConfig
from olive.exception import OlivePassError
from olive.hardware import AcceleratorSpec
from olive.model import ONNXModelHandler
from olive.model.utils import resolve_onnx_path
from olive.passes import Pass
from olive.passes.pass_config import BasePassConfig, PassConfigParam
from olive.resource_path import LocalFile, LocalFolder
from olive.search.search_parameter import Categorical

from ...ir.core.errors import PlanishError
from ...ir.files.data_file import data_files
from ...ir.files.save import save
from ...passes.engine.records import Result
from ...passes.pipeline.front_door import optimize
from .feeds import DataFeeds
from .options import PassOption, options_of

logger = logging.getLogger(__name__)


class PipelinePass(Pass):  # type: ignore[misc]  # untyped
    """What the passes of this package share: the options of a run, and files in and out."""

    # The passes of planish whose options Olive's pass has.
    planish_passes: ClassVar[tuple[str, ...]] = ()

    @classmethod
    @abstractmethod
    def pipeline_text(cls, config: Mapping[str, Any]) -> str:
        """Return the pipeline that is run."""

    @classmethod
    def _default_config(cls, accelerator_spec: AcceleratorSpec) -> dict[str, PassConfigParam]:
        own = {option.name: _parameter(option) for option in options_of(cls.planish_passes)}
        return own | {
            "data_config": PassConfigParam(
                type_=DataConfig | dict,
                default_value=None,
                description="Samples that passes learn from and outputs are compared on.",
            ),
            "feeds": PassConfigParam(
                type_=str,
                default_value=None,
                description="The same from an .npz file or a folder of images.",
            ),
            "verify": PassConfigParam(
                type_=Literal["each", "end", "off"],
                default_value="end",
                description="Compare outputs after each pass, at the end, or never.",
            ),
            "target": PassConfigParam(
                type_=str, default_value="cpu", description="What is measured for: cpu{threads=2}."
            ),
            "seed": PassConfigParam(
                type_=int, default_value=0, description="Of everything that is drawn at random."
            ),
            "strict": PassConfigParam(
                type_=bool,
                default_value=False,
                description="Fail where a pass fails, instead of rolling it back.",
            ),
            "portable": PassConfigParam(
                type_=bool,
                default_value=True,
                description="Write fused operators out as standard ones, which every tool reads.",
            ),
            "save_as_external_data": PassConfigParam(
                type_=bool,
                default_value=None,
                description="Weights in a file of their own; by default where they exceed 2 GB.",
            ),
        }

    def _run_for_config(
        self, model: ONNXModelHandler, config: type[BasePassConfig], output_model_path: str
    ) -> ONNXModelHandler:
        if not isinstance(model, ONNXModelHandler):
            name = type(self).__name__
            raise OlivePassError(f"{name} takes an ONNX model, not {type(model).__name__}")
        given = config.model_dump()
        path = resolve_onnx_path(output_model_path)
        try:
            result = self._optimized(model, given)
            save(
                result.graph,
                path,
                portable=given["portable"],
                external=given["save_as_external_data"],
            )
        except PlanishError as error:
            raise OlivePassError(str(error)) from error
        return _handler(path, model, result)

    def _optimized(self, model: ONNXModelHandler, given: dict[str, Any]) -> Result:
        chosen = {
            option.field: given[option.name]
            for option in options_of(self.planish_passes)
            if given[option.name] != option.default
        }
        feeds = given["feeds"]
        if given["data_config"] is not None:
            feeds = DataFeeds(given["data_config"], model.io_config, chosen.get("labels") or ())
        result = optimize(
            model.model_path,
            self.pipeline_text(given),
            feeds,
            verify=given["verify"],
            target=given["target"],
            seed=given["seed"],
            strict=given["strict"],
            **chosen,
        )
        for failure in result.failures:
            logger.warning("rolled back: %s", failure)
        for line in (*result.remarks, *(r for each in result.records for r in each.remarks)):
            logger.info(line)
        return result


class Planish(PipelinePass):
    """A pipeline of planish, written as `planish optimize -p` takes it."""

    @classmethod
    def _default_config(cls, accelerator_spec: AcceleratorSpec) -> dict[str, PassConfigParam]:
        pipeline = PassConfigParam(
            type_=str,
            default_value="exact",
            search_defaults=Categorical(["exact", "int8"]),
            description="Presets and passes with their options: exact, or prune{amount=0.3},exact.",
        )
        return {"pipeline": pipeline, **super()._default_config(accelerator_spec)}

    @classmethod
    def pipeline_text(cls, config: Mapping[str, Any]) -> str:
        """Return the pipeline that was given."""
        return str(config["pipeline"])


class PlanishQuantize(PipelinePass):
    """8-bit integers where they are worth it: preset `int8`, with the options of `quantize`."""

    planish_passes: ClassVar[tuple[str, ...]] = ("quantize",)

    @classmethod
    def pipeline_text(cls, config: Mapping[str, Any]) -> str:
        """Return the preset."""
        return "int8"


class PlanishPrune(PipelinePass):
    """What matters least goes: `prune` and `shrink-channels`, with the options of both."""

    planish_passes: ClassVar[tuple[str, ...]] = ("prune", "shrink-channels")

    @classmethod
    def pipeline_text(cls, config: Mapping[str, Any]) -> str:
        """Return the passes; what they start from is simplified first."""
        return "simplify,prune,shrink-channels,exact"


def _parameter(option: PassOption) -> PassConfigParam:
    return PassConfigParam(
        type_=option.kind, default_value=option.default, description=option.description
    )


def _handler(path: str, model: ONNXModelHandler, result: Result) -> ONNXModelHandler:
    """Return the model at `path` as Olive has it, with what was found out in its attributes."""
    written = Path(path)
    told = {"verified": result.verified, "error": result.error, "edits": result.edits}
    attributes = {**(model.model_attributes or {}), "planish": told}
    if not data_files(written):
        return ONNXModelHandler(LocalFile({"path": path}), model_attributes=attributes)
    folder = LocalFolder({"path": str(written.parent)})
    return ONNXModelHandler(folder, onnx_file_name=written.name, model_attributes=attributes)
