"""What is known of a built engine: what it was built from, on what, how, and what came of it.

An engine fits the TensorRT, GPU and driver it was built with alone, so its record names all of them; the record lies
as a sidecar beside the engine, and is read as strictly as a bundle's manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer, model_validator

from affectrt.bundle.errors import listed
from affectrt.bundle.manifest import Precision, Sha256
from affectrt.bundle.modalities import Record, StageName
from affectrt.bundle.strict_json import printable, problems_from_validation, value_from_json

__all__ = ["ENGINE_FORMAT", "BuildOptions", "EngineKey", "EngineRecord", "record_from_json"]

ENGINE_FORMAT = "affect-engine"
ENGINE_FORMAT_VERSION = 1
MAX_ENGINE_BYTES = 16 << 30

Told = Annotated[str, Field(min_length=1, max_length=256)]
Batch = Annotated[int, Field(ge=1, le=4096)]
Length = Annotated[int, Field(ge=1, le=1_000_000)]


class BuildOptions(Record):
    """How an engine is built. Without `max_aux_streams` TensorRT decides; without `dla_core` all runs on the GPU."""

    optimization_level: Annotated[int, Field(ge=0, le=5)] = 3
    workspace_bytes: Annotated[int, Field(ge=1 << 20, le=1 << 40)] = 1 << 30
    tf32: bool = False
    max_aux_streams: Annotated[int, Field(ge=0, le=64)] | None = 0
    dla_core: Annotated[int, Field(ge=0, le=15)] | None = None

    def in_words(self) -> str:
        """`level 3, workspace 1024 MiB, tf32 off, auxiliary streams 0, no DLA`"""
        streams = "as TensorRT likes" if self.max_aux_streams is None else self.max_aux_streams
        dla = "no DLA" if self.dla_core is None else f"DLA core {self.dla_core}"
        return (
            f"level {self.optimization_level}, workspace {self.workspace_bytes / (1 << 20):g} MiB, "
            f"tf32 {'on' if self.tf32 else 'off'}, auxiliary streams {streams}, {dla}"
        )


class EngineKey(Record):
    """All that decides whether an engine may run here.

    `batches` are its profiles: min = opt = max, ascending. Where a stage takes several `lengths`, ascending, each batch
    has one profile a length. Without any, JSON does not tell of them, so that keys from before lengths stay valid.
    """

    graph_sha256: Sha256
    tensorrt: Told
    gpu: Told
    compute_capability: Told
    driver: Told
    l4t: Told | None = None
    batches: Annotated[tuple[Batch, ...], Field(min_length=1, max_length=16)]
    lengths: Annotated[tuple[Length, ...], Field(max_length=64)] = ()
    options: BuildOptions = BuildOptions()

    @model_validator(mode="after")
    def _check(self) -> EngineKey:
        for name, sizes in (("batches", self.batches), ("lengths", self.lengths)):
            if list(sizes) != sorted(set(sizes)):
                raise ValueError(f"{name} must ascend, each once, not {list(sizes)}")
        return self

    @model_serializer(mode="wrap")
    def _without_no_lengths(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        facts: dict[str, Any] = dump(self)
        if not self.lengths:
            del facts["lengths"]
        return facts

    def sha256(self) -> str:
        """Of the key as JSON without spaces, its names in alphabetical order."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def differences(self, other: EngineKey) -> Iterator[tuple[str, str, str]]:
        """What differs, as it is told to a person: name, own value, the other's value."""
        pairs = [
            ("graph", self.graph_sha256[:12], other.graph_sha256[:12]),
            ("TensorRT", self.tensorrt, other.tensorrt),
            ("GPU", self.gpu, other.gpu),
            ("compute capability", self.compute_capability, other.compute_capability),
            ("driver", self.driver, other.driver),
            ("L4T", self.l4t or "none", other.l4t or "none"),
            ("batch sizes", _listed(self.batches), _listed(other.batches)),
            ("lengths", _listed(self.lengths), _listed(other.lengths)),
            ("options", self.options.in_words(), other.options.in_words()),
        ]
        yield from ((name, own, others) for name, own, others in pairs if own != others)


class EngineRecord(Record):
    """The sidecar of one engine.

    `key.graph_sha256` is the graph that was asked for, `built_graph_sha256` the one inside, another after a fallback.
    `layers` counts the engine's layers by precision as its inspector tells them, empty where they were not inspected.
    """

    format: Literal["affect-engine"] = "affect-engine"
    format_version: Literal[1] = 1
    key: EngineKey
    engine_sha256: Sha256
    size_bytes: Annotated[int, Field(ge=1, le=MAX_ENGINE_BYTES)]
    stage: StageName
    asked: Precision
    precision: Precision
    built_graph_sha256: Sha256
    layers: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    build_s: Annotated[float, Field(ge=0)]
    built_at: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|\+00:00)$")]
    # why another precision than the asked one was built, one sentence an attempt
    fallbacks: tuple[str, ...] = ()
    # what else a person should know, such as layers that the inspector does not show
    notes: tuple[str, ...] = ()
    versions: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> EngineRecord:
        if self.asked == self.precision and self.built_graph_sha256 != self.key.graph_sha256:
            raise ValueError("built_graph_sha256 differs from the key's graph although nothing fell back")
        if self.asked != self.precision and not self.fallbacks:
            raise ValueError(f"{self.asked} was asked for and {self.precision} built without a reason in fallbacks")
        return self

    def to_json(self) -> bytes:
        """The content of the sidecar."""
        text = json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=True, allow_nan=False)
        return text.encode() + b"\n"


def _listed(sizes: tuple[int, ...]) -> str:
    return ", ".join(map(str, sizes)) or "none"


def record_from_json(content: bytes) -> EngineRecord:
    """The record in a sidecar; raises ValueError with a sentence that says what is wrong with it."""
    value = value_from_json(content)
    name = value.get("format") if isinstance(value, dict) else None
    if name != ENGINE_FORMAT:
        raise ValueError(f"its format is {printable(name)}, not {ENGINE_FORMAT!r}")
    version = value.get("format_version")
    if type(version) is int and version != ENGINE_FORMAT_VERSION:
        raise ValueError(f"its format version is {version}; this affectrt reads {ENGINE_FORMAT_VERSION}")
    try:
        return EngineRecord.model_validate_json(content, strict=True)
    except ValidationError as error:
        raise ValueError(listed("it does not follow the format", problems_from_validation(error, "record"))) from None
