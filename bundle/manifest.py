"""What a bundle says of itself: the contract, where it came from, its graphs, and how good they are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .contract import Contract, Record, StageName

__all__ = ["FORMAT", "FORMAT_VERSION", "Accuracy", "Graph", "Interval", "Manifest", "Precision", "Provenance"]

FORMAT = "affect-bundle"
FORMAT_VERSION = 1

Precision = Literal["fp32", "fp16", "int8"]
Target = Literal["any", "cpu", "tensorrt"]
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


class Accuracy(Record):
    """CCC (Lin) of one precision on one corpus, over the concatenation of all its videos."""

    precision: Annotated[str, Field(min_length=1)]
    backend: str
    corpus: str
    videos: Annotated[int, Field(ge=1)]
    ccc: dict[Literal["valence", "arousal"], Interval]


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
        for precision, plan in self.plans.items():
            for stage in plan:
                if stage not in stages:
                    raise ValueError(f"plan {precision!r} names unknown stage {stage!r}")
        return self
