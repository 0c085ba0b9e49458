"""What a bundle says of itself: the contract, where it came from, its graphs, and how good they are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .contract import Contract
from .modalities import Record, StageName

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "Accuracy",
    "Asked",
    "Attachment",
    "Candidate",
    "Compared",
    "Graph",
    "Guarded",
    "Interval",
    "Manifest",
    "Precision",
    "Provenance",
    "Selection",
    "Sensitivity",
    "Target",
]

FORMAT = "affect-bundle"
FORMAT_VERSION = 1

Precision = Literal["fp32", "fp16", "int8", "int8-fp16"]
Asked = Precision | Literal["auto"]
"""What a reader may be asked for: a precision, or what was selected for its target."""
Target = Literal["any", "cpu", "tensorrt"]
OutputName = Literal["valence", "arousal"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# A path inside the bundle: no parent folder, no absolute path, one folder deep at most.
InnerPath = Annotated[str, Field(pattern=r"^(?:[A-Za-z0-9_\-]+/)?[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]+)+$")]


class Provenance(Record):
    """Where the weights came from and what they may be used for."""

    checkpoint_sha256: Sha256
    recipe: str
    training_corpus: str
    seed: int | None = None
    licence: Annotated[str, Field(min_length=1)]
    intended_use: Annotated[str, Field(min_length=1)]
    limits: str = ""
    versions: dict[str, str] = {}


class Graph(Record):
    """One ONNX file: which stage it computes, in which precision, for which kind of backend."""

    stage: StageName
    precision: Precision
    target: Target
    file: InnerPath
    sha256: Sha256
    size_bytes: Annotated[int, Field(ge=1)]
    opset: Annotated[int, Field(ge=1, le=100)]
    parity_max_abs: Annotated[float, Field(ge=0)] | None = None
    note: str = ""


class Attachment(Record):
    """A file that is not a graph, such as the activation ranges of a calibration."""

    file: InnerPath
    sha256: Sha256
    size_bytes: Annotated[int, Field(ge=1)]


class Interval(Record):
    """A value with its 95 % confidence interval; the interval is null where it was not computed."""

    value: float
    low: float | None = None
    high: float | None = None

    def in_words(self, digits: int = 3) -> str:
        """`0.839 [0.810, 0.863]`, or the value alone."""
        if self.low is None or self.high is None:
            return f"{self.value:.{digits}f}"
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


class Accuracy(Record):
    """CCC (Lin) of one precision on one corpus, over the concatenation of all its videos."""

    precision: Annotated[str, Field(min_length=1)]
    backend: str
    corpus: str
    videos: Annotated[int, Field(ge=1)]
    ccc: dict[OutputName, Interval]


class Candidate(Record):
    """One stage in one precision on a selection's target: what it costs, what it loses, what became of it.

    `latency_ms` is the median of a row in a batch as `affectrt run` makes them, `speed_up` that of the next higher
    precision over this one's, round by round of one interleaved run; both are null where nothing was timed, as
    `share_of_peak` is where the machine's peak was not measured. `error` is the relative L2 error of the stage's output
    on recorded inputs. `kept` names layers that stay in a higher precision.
    """

    stage: StageName
    precision: Precision
    size_bytes: Annotated[int, Field(ge=1)]
    latency_ms: Annotated[float, Field(gt=0)] | None = None
    speed_up: Interval | None = None
    share_of_peak: Annotated[float, Field(ge=0)] | None = None
    error: Annotated[float, Field(ge=0)] | None = None
    kept: tuple[str, ...] = ()
    verdict: Annotated[str, Field(min_length=1)]


class Compared(Record):
    """CCC of FP32 and of a selection on the same videos, and what is lost, paired by video."""

    reference: Interval
    candidate: Interval
    loss: Interval


class Guarded(Record):
    """The accuracy of a plan, against the truth or, where there is none, as agreement with FP32's answers.

    `kept` counts the layers of all stages left in higher precision. `problems` say why it did not pass the guard; `ccc`
    is empty where estimates were lost.
    """

    plan: dict[str, Precision]
    kept: Annotated[int, Field(ge=0)] = 0
    kind: Literal["truth", "agreement"]
    corpus: str
    videos: Annotated[int, Field(ge=1)]
    backend: str
    max_loss: float
    max_upper_loss: float
    problems: tuple[str, ...] = ()
    ccc: dict[OutputName, Compared]


class Sensitivity(Record):
    """What is lost when one layer alone is quantised: CCC, where it was judged, and the stage's relative L2 error."""

    stage: StageName
    layer: str
    loss: dict[OutputName, float] = {}
    error: Annotated[float, Field(ge=0)] | None = None


class Selection(Record):
    """What `auto` runs on a target, and the measurements that chose it; `forced` where a person overrode them."""

    target: Literal["cpu", "tensorrt"]
    plan: dict[str, Precision]
    forced: bool = False
    machine: str
    candidates: tuple[Candidate, ...] = ()
    # every plan that was judged, in order; that of `plan` among them, unless it is FP32 throughout
    judged: tuple[Guarded, ...] = ()
    # most damaging first; empty where everything passed at once
    sensitivities: tuple[Sensitivity, ...] = ()

    @property
    def guard(self) -> Guarded | None:
        """The judgement of what was selected; None where FP32 runs."""
        return next((found for found in reversed(self.judged) if found.plan == self.plan), None)


class Manifest(Record):
    """The content of `manifest.json`; `SPEC.md` is its specification."""

    format: Literal["affect-bundle"] = "affect-bundle"
    format_version: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}$")]
    contract: Contract
    provenance: Provenance
    graphs: tuple[Graph, ...]
    attachments: dict[str, Attachment] = {}
    # precision asked for → stage → precision run; a stage that is not named runs fp32
    plans: dict[Precision, dict[str, Precision]] = {}
    accuracy: tuple[Accuracy, ...] = ()
    # at most one for each target
    selections: tuple[Selection, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Manifest:
        stages = set(self.contract.stages)
        seen: set[tuple[str, str, str]] = set()
        for graph in self.graphs:
            if graph.stage not in stages:
                raise ValueError(f"graph {graph.file} belongs to unknown stage {graph.stage!r}")
            key = (graph.stage, graph.precision, graph.target)
            if key in seen:
                raise ValueError(f"two graphs for stage, precision, target {key}")
            seen.add(key)
        for stage in self.contract.stages:
            if (stage, "fp32", "any") not in seen:
                raise ValueError(f"stage {stage!r} has no fp32 graph for target 'any'")
        named = [(f"plan {asked!r}", plan) for asked, plan in self.plans.items()]
        named += [(f"the selection for {chosen.target}", chosen.plan) for chosen in self.selections]
        for what, plan in named:
            for stage in plan:
                if stage not in stages:
                    raise ValueError(f"{what} names unknown stage {stage!r}")
        targets = [chosen.target for chosen in self.selections]
        if len(set(targets)) != len(targets):
            raise ValueError(f"two selections for one target: {', '.join(targets)}")
        return self
