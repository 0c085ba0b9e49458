"""`corpus.json` of a prepared corpus: what it is, what made it, its videos and what was left out of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from affectrt.bundle.contract import Contract
from affectrt.bundle.modalities import AudioModality, Record, TextModality, VideoModality

from .corpus import Split

__all__ = [
    "ARRAYS",
    "CORPUS_FILE",
    "FORMAT",
    "NAME_PATTERN",
    "NPY_HEADER_BYTES",
    "VIDEOS",
    "Clock",
    "ContractParts",
    "CorpusRecord",
    "FacesFrom",
    "FileRecord",
    "Kind",
    "LeftOut",
    "MadeBy",
    "VideoRecord",
]

FORMAT = "affectrt-corpus/1"
CORPUS_FILE, VIDEOS = "corpus.json", "videos"
ARRAYS = ("crops", "crop_of_step", "waveform", "start_of_step", "labels", "times")
NPY_HEADER_BYTES = 128

Kind = Literal["affwild2", "recola", "folder", "synthetic"]
Clock = Literal["steps", "pictures"]
FacesFrom = Literal["given", "found", "whole"]
Count = Annotated[int, Field(ge=0)]
NAME_PATTERN = r"^\w[\w.,()+@ \-]{0,199}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Text = Annotated[str, Field(max_length=2000)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ContractParts(Record):
    """What of a contract decides the corpus. `video.face` says which part of the frames is the face in these crops."""

    step_hz: Annotated[float, Field(gt=0, le=1000)]
    video: VideoModality | None = None
    audio: AudioModality | None = None
    text: TextModality | None = None

    @classmethod
    def of(cls, contract: Contract) -> ContractParts:
        return cls(step_hz=contract.step_hz, video=contract.video, audio=contract.audio, text=contract.text)

    def differences(self, contract: Contract) -> list[str]:
        """One line for each thing that a network of `contract` reads otherwise than these parts have it."""
        wrong = [] if self.step_hz == contract.step_hz else [_differs("step_hz", self.step_hz, contract.step_hz)]
        named = (
            ("video", self.video, contract.video, ("resize_px", "colour", "max_hold_s")),
            ("audio", self.audio, contract.audio, ("sample_rate_hz", "span_samples", "anchor", "grid_samples")),
        )
        for name, have, want, fields in named:
            if want is not None and have is None:
                wrong.append(f"the corpus has no {name}")
            elif want is not None:
                told = [(f"{name}.{field}", getattr(have, field), getattr(want, field)) for field in fields]
                wrong += [_differs(*each) for each in told if each[1] != each[2]]
        return wrong


def _differs(what: str, have: object, want: object) -> str:
    return f"{what} is {have} in the corpus, {want} in the network"


class FileRecord(Record):
    bytes: Count
    sha256: Sha256


class LeftOut(Record):
    """A video, or an annotation, that is not in the corpus, and why."""

    name: Text
    split: Split | None = None
    reason: Text
    failed: bool = False  # it could not be read, where the others were left out by a rule


class MadeBy(Record):
    """What prepared a corpus; the same raw files and the same of these give the same bytes."""

    affectrt: Text
    opencv: Text
    gstreamer: Text
    detector: Sha256 | None = None


class VideoRecord(Record):
    """One video. Counts are of steps unless they say otherwise; `restarts` are steps over which no span looks back:
    there the stream was broken, or the face came back after two seconds or more. `gaps` are the steps that a broken
    stream left out, first and one past the last."""

    name: Name
    split: Split
    subject: Annotated[str, Field(max_length=200)] | None = None
    steps: Annotated[int, Field(ge=1)]
    step_hz: Annotated[float, Field(gt=0, le=1000)]
    media: Text
    media_bytes: Count
    pictures: Count
    picture_hz: Annotated[float, Field(ge=0)] | None = None
    longest_pause_s: Annotated[float, Field(ge=0)] | None = None
    seconds: Annotated[float, Field(ge=0)]
    crops: Count
    crop_px: Count
    samples: Count
    seen: Count
    heard: Count
    annotated: Count
    words: Count = 0
    restarts: tuple[Count, ...] = ()
    gaps: tuple[tuple[Count, Count], ...] = ()
    dropped: dict[Text, Count] = Field(default_factory=dict)  # why → how many pictures, rows or steps
    notes: tuple[Text, ...] = ()
    files: dict[
        Literal[
            "crops.npy",
            "crop_of_step.npy",
            "waveform.npy",
            "start_of_step.npy",
            "labels.npy",
            "times.npy",
            "words.json",
        ],
        FileRecord,
    ]

    def is_empty(self, what: str) -> bool:
        return (self.crops if what == "crops" else self.samples) == 0

    @model_validator(mode="after")
    def _check(self) -> VideoRecord:
        if missing := [f"{array}.npy" for array in ARRAYS if f"{array}.npy" not in self.files]:
            raise ValueError(f"lists no {', '.join(missing)}")
        if max(self.seen, self.heard, self.annotated) > self.steps:
            raise ValueError("counts more steps than it has")
        edges = [edge for gap in self.gaps for edge in gap]
        if edges != sorted(edges) or max(edges, default=0) > self.steps:
            raise ValueError("has gaps that are out of order, or reach beyond its steps")
        if self.name.endswith("."):
            raise ValueError("a name must not end in a dot")
        return self


class CorpusRecord(Record):
    """`clock` "steps": step k is at k / step_hz; "pictures": step i is picture i, at i / step_hz of its video."""

    format: Literal["affectrt-corpus/1"]
    kind: Kind
    clock: Clock
    faces: FacesFrom
    contract: ContractParts
    made_by: MadeBy
    licence: Text
    videos: tuple[VideoRecord, ...] = Field(min_length=1)
    left_out: tuple[LeftOut, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> CorpusRecord:
        names = [video.name.casefold() for video in self.videos]
        if twice := sorted({name for name in names if names.count(name) > 1})[:5]:
            raise ValueError(f"lists {', '.join(twice)} twice")
        if self.clock == "steps" and any(video.step_hz != self.contract.step_hz for video in self.videos):
            raise ValueError("a video's step_hz is not the contract's, although the clock is that of steps")
        return self
