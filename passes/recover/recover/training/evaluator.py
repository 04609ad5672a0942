"""How near a student is to its teacher on the samples that nothing was trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.run.reference import Reference
from .losses import DistillationObjective
from .sample_store import Array, Arrays, SampleStore
from .samples import Samples
from .trainable import to_tensors


@dataclass(frozen=True)
class Evaluation:
    """Loss, top-1 agreement with the teacher and accuracy by labels; None where there is none.

    `of`: along which axis of which output.
    """

    loss: float
    agreement: float | None
    accuracy: float | None
    of: str = ""

    def __str__(self) -> str:
        parts = []
        if self.agreement is not None:
            parts.append(f"top-1 agreement {100 * self.agreement:.1f} %")
        if self.accuracy is not None:
            parts.append(f"accuracy {100 * self.accuracy:.1f} %")
        return ", ".join(parts)


class RecordedTeacher:
    """The tensors that the teacher gives for the samples at `index`, run once and kept."""

    def __init__(self, graph: gs.Graph, samples: Samples, index: Array) -> None:
        self.store = SampleStore()
        self._first = int(index[0])
        run = Reference(graph, optimized=True)
        self._names = [tensor.name for tensor in graph.outputs]
        try:
            for part in samples.runs(index):
                self.store.append(run(samples.at(part)))
        except BaseException:
            self.close()
            raise

    def at(self, index: Array) -> Arrays:
        """Return the tensors for the samples at `index`, which are among those it was run on."""
        return self.store.take(self._names, index - self._first)

    def close(self) -> None:
        """Give the disk back."""
        self.store.__exit__()


class StudentEvaluator:
    """Asks students on the held-out samples, against what the teacher gave for them."""

    def __init__(
        self,
        samples: Samples,
        teacher: RecordedTeacher,
        objective: DistillationObjective,
        labels: Array | None,
    ) -> None:
        self._samples, self._teacher = samples, teacher
        self._objective, self._labels = objective, labels

    def of_graph(self, graph: gs.Graph) -> Evaluation:
        """Return the evaluation of a graph."""
        run = Reference(graph, optimized=True)
        return self.evaluate(lambda inputs: to_tensors(run(inputs)))

    def evaluate(self, call: Callable[[Arrays], Any]) -> Evaluation:
        """Return the evaluation of `call`, from input arrays to output tensors by name."""
        import torch

        losses, sizes = [], []
        agreed: list[Any] = []
        right: list[Any] = []
        judged = ""
        for index in self._samples.runs(self._samples.held_out):
            found = call(self._samples.at(index))
            device = next(iter(found.values())).device
            wanted = to_tensors(self._teacher.at(index), device)
            labels = None
            if self._labels is not None:
                labels = torch.from_numpy(self._labels[index]).to(device)
            with torch.no_grad():
                losses.append(float(self._objective(found, wanted, labels)))
                sizes.append(len(index))
                hits = self._objective.hits(found, wanted, labels)
                judged = self._objective.judged(found, wanted)
            if hits is not None:
                agreed.append(hits[0].cpu().numpy())
                if hits[1] is not None:
                    right.append(hits[1].cpu().numpy())
        return Evaluation(
            float(np.average(losses, weights=sizes)),
            float(np.concatenate(agreed).mean()) if agreed else None,
            float(np.concatenate(right).mean()) if right else None,
            judged,
        )
