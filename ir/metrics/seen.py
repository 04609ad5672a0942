"""One output as it was seen: what the graph says of it, and its values for one batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .reading import OutputReading
from .result import Array, Metric


@dataclass(frozen=True, kw_only=True)
class ChosenMetric:
    """A metric for some outputs: its kind as the option `metric` names it, and why it was taken.

    `make` gives one that has seen nothing; `is_sure`: the graph or the values say so, and it is not
    what is left.
    """

    kind: str
    outputs: tuple[str, ...]
    why: str
    make: Callable[[], Metric]
    is_sure: bool = True

    @property
    def takes_labels(self) -> bool:
        """Whether it can be told what is right."""
        return self.kind in ("classification", "sequence", "segmentation")

    def __str__(self) -> str:
        """Write it for people: `classification of output 'y', since ...`."""
        names = ", ".join(f"'{name}'" for name in self.outputs)
        return f"{self.kind} of output{'s' * (len(self.outputs) > 1)} {names}: {self.why}"


@dataclass(frozen=True)
class SeenOutput:
    """An output's `reading`, and its `values` for one batch, `feed`.

    `class_axis`: as it was asked for or read, counted from the front; None where there is none.
    `known_batch`: the axis of the samples, where it is known before the values are joined.
    """

    reading: OutputReading
    values: Array
    feed: Mapping[str, Array] = field(default_factory=dict)
    class_axis: int | None = None
    known_batch: int | None = None

    @property
    def samples(self) -> int | None:
        """The number of samples: the first axis that all inputs share."""
        sizes = {array.shape[0] for array in self.feed.values() if array.ndim}
        return sizes.pop() if len(sizes) == 1 else None

    @property
    def name(self) -> str:
        """The output's name."""
        return self.reading.name

    @property
    def classes(self) -> int:
        """The number of classes, 0 where there is no axis of them."""
        return 0 if self.class_axis is None else int(self.values.shape[self.class_axis])

    @property
    def batch(self) -> int | None:
        """The axis of the samples, None where there is none of their number."""
        if self.known_batch is not None:
            return self.known_batch
        places = [axis for axis in range(self.values.ndim) if axis != self.class_axis]
        name, shape = self.reading.batch, self.reading.shape
        if name is not None and shape is not None and len(shape) == self.values.ndim:
            named = [axis for axis in places if shape[axis] == name]
            if named:
                return named[0]
        fits = [axis for axis in places if self.values.shape[axis] == self.samples]
        return fits[0] if fits else None

    @property
    def positions(self) -> list[int]:
        """The axes beside those of classes and samples, without those of size one."""
        taken = (self.class_axis, self.batch)
        return [a for a, n in enumerate(self.values.shape) if a not in taken and n != 1]

    @property
    def has_scores(self) -> bool:
        """Whether there are scores of several classes, which are not in order already."""
        floats = self.values.dtype.kind == "f" and self.values.size > 0
        return self.classes > 1 and floats and not self.reading.is_ranked

    @property
    def names_classes(self) -> bool:
        """Whether an operator, or who asked, says where the classes are, and not a layer alone."""
        return self.has_scores and (
            self.reading.class_axis != self.class_axis or "is along it" in self.reading.because
        )
