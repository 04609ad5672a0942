"""What all stages of one run of `recover` work with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import onnx_graphsurgeon as gs

from ....engine.context import Context
from .augment import Augmentation
from .checkpoint import TrainingJournal
from .interrupt import Interrupts
from .losses import DistillationObjective
from .recipe import TrainingRecipe
from .sample_store import Array
from .samples import Samples
from .workers import Workers

BatchNormMode = Literal["reestimate", "train", "keep"]


@dataclass(frozen=True, kw_only=True)
class TrainingSession:
    """Student (`graph`, that of `context`), teacher, samples, and how to train."""

    graph: gs.Graph
    teacher: gs.Graph
    context: Context
    samples: Samples
    labels: Array | None
    objective: DistillationObjective
    recipe: TrainingRecipe
    augment: Sequence[Augmentation]
    batchnorm: BatchNormMode
    workers: Workers
    interrupts: Interrupts
    journal: TrainingJournal
