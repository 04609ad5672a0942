"""The document of a report: plain data, the same in `--json` and inside the page.

`SCHEMA` names its form. New keys may come without another number; what is there keeps its meaning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

SCHEMA = "planish-report/1"


@dataclass(frozen=True, kw_only=True)
class ConstantEntry:
    """A constant that a node reads at `input`; statistics are None of what holds no numbers."""

    input: int
    name: str
    type: str
    least: float | None = None
    largest: float | None = None
    mean: float | None = None
    zeros: float | None = None  # as a part of all


@dataclass(frozen=True, kw_only=True)
class NodeEntry:
    """A node: `inputs` are the places of the nodes that it reads, -1 - i of graph input i.

    `outputs` are the names of its results, and `types` their types with sizes. `body`: in which
    body of which node it stands, empty of the outermost graph.
    """

    name: str
    op: str
    domain: str
    inputs: tuple[int, ...]
    outputs: tuple[str, ...]
    types: tuple[str, ...]
    attributes: dict[str, str]
    constants: tuple[ConstantEntry, ...]
    body: str = ""


@dataclass(frozen=True, kw_only=True)
class GroupEntry:
    """Nodes that are shown as one: the parts of a fused operator, or what one came from.

    `kind`: `fused`, `replaced` of what stands for others, or `body` of a node with what its bodies
    hold. `label`: what the one is called.
    """

    kind: str
    label: str
    nodes: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class GraphEntry:
    """One of the graphs: `role` is `before`, `after` or `model`, `file` where it lies."""

    role: str
    file: str
    bytes: int | None
    opset: int
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str, int], ...]  # name, type, and the node that makes it, -1: none
    nodes: tuple[NodeEntry, ...]
    groups: tuple[GroupEntry, ...]


@dataclass(frozen=True, kw_only=True)
class LinkEntry:
    """What became of nodes: places `before` and `after`, how, and the passes that touched them."""

    kind: str  # same, and those of a diff
    before: tuple[int, ...]
    after: tuple[int, ...]
    passes: tuple[str, ...] = ()
    details: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DeclineEntry:
    """A node that a pass left alone, and why; `node` is its place before and after, -1: none."""

    pass_name: str
    name: str
    before: int
    after: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class MeasureEntry:
    """One figure of each node of a graph; None where there is none.

    `unit`: `s`, `B`, `MAC`, `share`, `dB`, or empty for a count. `better`: `low`, `high`, or empty.
    `rest`: what of the total belongs to no node that is shown, such as what lies between kernels.
    """

    id: str
    label: str
    graph: int
    unit: str
    better: Literal["low", "high", ""]
    values: tuple[float | None, ...]
    total: float | None = None
    rest: float | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class LatencyEntry:
    """One run of a graph as a whole, on a runtime.

    `low`, `high`: between which seconds lay when measured again; None where they were not.
    """

    graph: int
    runtime: str
    seconds: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class ChangedSample:
    """A sample whose label changed: the largest classes, and the picture as a data URL, if any."""

    sample: int
    before: int
    after: int
    margin: float
    picture: str = ""


@dataclass(frozen=True, kw_only=True)
class AgreementEntry:
    """How often both graphs give the same label to the samples of the feeds."""

    output: str
    samples: int
    same: int
    changed: tuple[ChangedSample, ...]


@dataclass(frozen=True, kw_only=True)
class FrontPoint:
    """A point of a Pareto front: what it measured by axis, and the pipeline that gives it."""

    label: str
    values: dict[str, float]
    pipeline: str
    chosen: bool = False


@dataclass(frozen=True, kw_only=True)
class FrontEntry:
    """A Pareto front over two axes, each with its unit and which way is better."""

    axes: tuple[tuple[str, str, Literal["low", "high"]], ...]
    points: tuple[FrontPoint, ...]


@dataclass(frozen=True, kw_only=True)
class ReportDocument:
    """All of a report.

    - `kind`: `run` of a pipeline, `search` for one, `diff` of two models, or one `model`.
    - `made`: `command`, `versions` by package, `machine`.
    - `run`: passes, verification, metrics and outputs, as `optimize --json` has them.
    - `remarks`: what is to be said of several nodes.
    - `unknown`: what could not be found out, and why.
    """

    title: str
    kind: Literal["run", "search", "diff", "model"]
    made: dict[str, Any]
    graphs: tuple[GraphEntry, ...]
    links: tuple[LinkEntry, ...] = ()
    model_changes: tuple[tuple[str, str, str], ...] = ()
    declines: tuple[DeclineEntry, ...] = ()
    measures: tuple[MeasureEntry, ...] = ()
    latencies: tuple[LatencyEntry, ...] = ()
    run: dict[str, Any] | None = None
    agreement: AgreementEntry | None = None
    front: FrontEntry | None = None
    remarks: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the document as JSON has it; what is not finite is a text."""
        found = finite({"schema": SCHEMA, **asdict(self)})
        assert isinstance(found, dict)
        return found


def finite(value: Any) -> Any:
    """Return `value` with numbers that JSON cannot say as "inf", "-inf" and "nan"."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        return [finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
