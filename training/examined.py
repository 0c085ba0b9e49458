"""A video that a model is examined on, of a media corpus or of a prepared one: streamed, as features, beside its truth.

A prepared video is streamed through a session of its own: a picture at every step, the crop that was kept or one
without a face, the sound and the words that belong to it, with the gaps that it had when it was prepared. Nothing is
detected, so between them it has one track; a face that comes back after two seconds does not begin another.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence, Set
from typing import Protocol

import numpy as np
import numpy.typing as npt

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import UsageError
from affectrt.runtime import Estimate
from affectrt.runtime.faces import whole_frame
from affectrt.runtime.replay import Infer
from affectrt.runtime.session import Session
from affectrt.runtime.words import WordsChunk
from affectrt.runtime.words.pieces import Pieces
from affectrt.runtime.words.transcript import read_transcript

from .annotation import annotation_of_steps
from .corpus import Corpus, CorpusVideo
from .media import picture_times
from .offline import StepFeatures, Stretch, stretches_of
from .offline_features import features_of_media, features_of_spans, with_words
from .play import MAX_BATCH, Rows, beside, play, steps_of
from .prepared import PreparedCorpus, PreparedVideo

__all__ = ["Examined", "examined_videos"]


class Examined(Protocol):
    """One video; `infer` are the model's engines."""

    @property
    def name(self) -> str: ...

    @property
    def subject(self) -> str | None: ...

    @property
    def step_hz(self) -> float: ...

    def stream(
        self, infer: Infer, pieces: Pieces | None, modalities: Collection[str], hop_steps: int | None
    ) -> list[Estimate]:
        """Every estimate of a session."""

    def features(self, infer: Infer, pieces: Pieces | None, grid: int) -> StepFeatures:
        """What offline windows are made of."""

    def beside(self, dense: Rows) -> tuple[Rows, Rows]:
        """As `training.play.beside`."""

    def row_times_s(self, dense: Rows) -> Rows:
        """When the rows of `beside` are."""

    def picture_steps(self) -> npt.NDArray[np.int64]:
        """The step of every picture."""


def examined_videos(contract: Contract, corpus: Corpus | PreparedCorpus, split: str) -> Sequence[Examined]:
    """Raises UsageError for a split without videos and for a corpus that was prepared for another contract."""
    if isinstance(corpus, Corpus):
        return [_Media(contract, video) for video in corpus.videos(split)]
    corpus.check_fits(contract)
    return [_Prepared(contract, video, corpus.record.clock) for video in corpus.videos(split)]


class _Media:
    def __init__(self, contract: Contract, video: CorpusVideo) -> None:
        self._contract, self._video = contract, video
        self.name, self.subject, self.step_hz = video.name, video.identity, contract.step_hz
        self._times: Rows | None = None

    def stream(
        self, infer: Infer, pieces: Pieces | None, modalities: Collection[str], hop_steps: int | None
    ) -> list[Estimate]:
        media = self._video.media_path
        return play(self._contract, media, infer, pieces=pieces, modalities=modalities, hop_steps=hop_steps)

    def features(self, infer: Infer, pieces: Pieces | None, grid: int) -> StepFeatures:
        video = self._video
        found = features_of_media(self._contract, video.media_path, infer, grid)
        words = read_transcript(video.words_path) if pieces is not None and video.words_path is not None else ()
        annotation = annotation_of_steps(video.truth, self._picture_times_s(), found[0], self.step_hz)
        known = np.asarray(~np.isnan(annotation).any(axis=1), bool)
        return with_words(
            self._contract, found, infer, words=words, pieces=pieces, step_hz=self.step_hz, annotated=known
        )

    def beside(self, dense: Rows) -> tuple[Rows, Rows]:
        return beside(self._contract, self._video.truth, self._picture_times_s(), dense)

    def row_times_s(self, dense: Rows) -> Rows:
        if self._contract.fusion.describes == "window_mean":
            return _estimated(dense) / self.step_hz
        return self._picture_times_s()[: len(self._video.truth)]

    def picture_steps(self) -> npt.NDArray[np.int64]:
        return steps_of(self._picture_times_s(), self.step_hz)

    def _picture_times_s(self) -> Rows:
        # A second way through the decoder, which need not be gone again for every set of modalities.
        if self._times is None:
            self._times = picture_times(self._video.media_path)
        return self._times


class _Prepared:
    def __init__(self, contract: Contract, video: PreparedVideo, clock: str) -> None:
        self._contract, self._video, self._clock = contract, video, clock
        self.name, self.subject, self.step_hz = video.name, video.subject, video.step_hz

    def stream(
        self, infer: Infer, pieces: Pieces | None, modalities: Collection[str], hop_steps: int | None
    ) -> list[Estimate]:
        """Raises UsageError where a step is not one of the contract's clock."""
        if self.step_hz != self._contract.step_hz:
            raise UsageError(
                f"{self.name} has {self.step_hz:g} steps a second, one for each picture; the model's stream has "
                f"{self._contract.step_hz:g}",
                expected="a corpus that was prepared with --clock steps, or windows without a stream",
                fix="--windows published or --windows offline",
            )
        words = self._video.words() if pieces is not None and "text" in modalities else ()
        has = (set(modalities) & {"video", "audio"}) | ({"text"} if words else set())
        if not has & set(self._contract.modalities):
            return []  # words alone, and none were said
        session = Session(self._contract, modalities=has, hop_steps=hop_steps, pieces=pieces, await_words=True)
        if words:
            session.push_words(WordsChunk(words, 0.0, math.inf, math.inf))
        return _streamed(self._contract, self._video, session, infer, has)

    def features(self, infer: Infer, pieces: Pieces | None, grid: int) -> StepFeatures:
        video = self._video
        found = features_of_spans(self._contract, video.spans(), video.gaps, infer, grid)
        known = np.asarray(~np.isnan(video.truth()).any(axis=1), bool)
        words = video.words() if pieces is not None else ()
        return with_words(
            self._contract, found, infer, words=words, pieces=pieces, step_hz=self.step_hz, annotated=known
        )

    def beside(self, dense: Rows) -> tuple[Rows, Rows]:
        return beside(self._contract, self._video.truth(), None, dense)

    def row_times_s(self, dense: Rows) -> Rows:
        windows = self._contract.fusion.describes == "window_mean"
        return (_estimated(dense) if windows else np.arange(self._video.steps)) / self.step_hz

    def picture_steps(self) -> npt.NDArray[np.int64]:
        """On the clock of steps pictures are taken to be evenly apart: their own times are not kept."""
        if self._clock == "pictures":
            return np.arange(self._video.steps)
        record = self._video.record
        rate = record.picture_hz or (record.pictures / record.seconds if record.seconds > 0 else self.step_hz)
        return steps_of(np.arange(record.pictures) / rate, self.step_hz)


def _estimated(dense: Rows) -> npt.NDArray[np.int64]:
    return np.flatnonzero(~np.isnan(dense).all(axis=1))


def _streamed(
    contract: Contract, video: PreparedVideo, session: Session, infer: Infer, has: Set[str]
) -> list[Estimate]:
    spans = video.spans()
    stretches = stretches_of(np.zeros(video.steps, np.bool_), video.gaps)
    sound = _sound(contract, spans.start_of_step, stretches) if contract.audio is not None and "audio" in has else {}
    side = contract.video.resize_px if contract.video is not None else 8
    nothing = np.zeros((side, side, 3), np.uint8)
    shows = "video" in has and contract.video is not None
    estimates: list[Estimate] = []
    for step in (step for stretch in stretches for step in range(stretch.first, stretch.end)):
        if any(step == gap.stop for gap in video.gaps):
            session.mark_gap("the recording was interrupted")
        at_s = step / contract.step_hz
        if shows or not has & {"video", "audio"}:
            row = int(spans.crops_of_step[step, -1]) if shows else -1
            frame = np.array(spans.crops[row]) if row >= 0 else nothing
            session.push_video([frame], [at_s], [[whole_frame(frame)] if row >= 0 else []])
        if step in sound:
            first, sample, end = sound[step]
            rate = contract.audio.sample_rate_hz if contract.audio is not None else 1
            session.push_audio(np.array(spans.waveform[first : first + end - sample]), sample / rate)
        if len(session.pending()) >= MAX_BATCH:
            _resolve(session, infer)
            estimates += session.poll()
    session.flush()
    _resolve(session, infer)
    return estimates + session.poll()


def _resolve(session: Session, infer: Infer) -> None:
    while requests := session.pending():
        session.resolve(requests, infer(requests))


def _sound(
    contract: Contract, start_of_step: npt.NDArray[np.int64], stretches: Sequence[Stretch]
) -> dict[int, tuple[int, int, int]]:
    """Step → where in the waveform its own samples begin, which sample of the media that is, and one past their end.

    A step's own samples reach from where the grid of the contract puts it to where that puts the next: what lies
    beyond the last of them repeats it, in the waveform as in the session.
    """
    lasts = {stretch.end - 1 for stretch in stretches}
    audio = contract.audio
    assert audio is not None
    lead = audio.span_samples if audio.anchor == "end" else 0
    sound = {}
    for step in np.flatnonzero(start_of_step >= 0).tolist():
        # the span of a step on the "end" anchor ends where the next step begins
        place = step if audio.anchor == "start" else step - 1
        begin = audio.span_start(place, contract.step_hz) + lead
        end = audio.span_start(place + 1, contract.step_hz) + lead
        if step in lasts:
            # as much of a step that was not heard out as its span has: one more step it must not become
            whole, next_whole = (math.ceil((step + n) * audio.sample_rate_hz / contract.step_hz) for n in (1, 2))
            end = max(end, whole, min(next_whole - 1, audio.span_end(step, contract.step_hz)))
        first = int(start_of_step[step]) + begin - audio.span_start(step, contract.step_hz)
        sound[step] = (first, begin, end)
    return sound
