"""A session is the state of one stream: media in, requests for computation out, features back in, estimates out.

It does no input or output of its own: no clock, no thread, no GStreamer, no engine. The same session serves files,
live sources, tests and benchmarks:

    session.push_video(frames, pts_s); session.push_audio(samples, pts_s); session.push_words(chunk)
    while requests := session.pending():
        session.resolve(requests, scheduler.infer(requests))
    estimates = session.poll()
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import MediaError, UsageError

from .alignment import PlacedFrame, Samples
from .asking import Done, Request
from .engines.base import Array
from .estimate import Estimate
from .faces import Face, Frame, whole_frame
from .segment import Segment
from .track import VOICE
from .words.line import Reading
from .words.pieces import Pieces
from .words.word import WordsChunk

__all__ = ["Request", "Session"]

# Timestamps that leap further than this are a gap, not a pause: filling it step by step would cost without telling.
_MAX_LEAP_S = 60.0
_MEDIA = frozenset(("video", "audio"))
# A stream that runs for weeks may lose its media often: of so many gaps the reasons are kept.
_GAPS_KEPT = 100


class Session:
    """The state of one stream under one contract.

    `modalities` are those that the source has. A modality of the model that the source lacks is missing at every
    step; one that the model lacks is ignored. MediaError when the two have nothing in common, UsageError when
    `hop_steps` is so large that no estimate would speak of some steps.

    `found_faces`: faces come from a detector, so a track ends when its face has not been seen for 2 s, and while no
    track of a face lives the voice alone is track -1. Without it the frame itself is the face, for as long as it runs.

    Text is in use when the source has it, the model encodes it, and `pieces` say how. With `await_words` every run of
    the fusion waits until the transcript is final as far as it looks; without, words that come later fill in steps of
    the past for the runs to come. A source of nothing but words for this model has the steps that its media has.

    `gaps` has the reasons of the last 100 gaps, `gap_steps` the steps that each left out; `gap_count` counts all.
    """

    def __init__(
        self,
        contract: Contract,
        *,
        modalities: Collection[str] = ("video", "audio"),
        hop_steps: int | None = None,
        source: str | None = None,
        found_faces: bool = False,
        pieces: Pieces | None = None,
        await_words: bool = False,
    ) -> None:
        hop = contract.fusion.default_hop_steps if hop_steps is None else hop_steps
        longest = max(contract.fusion.span_steps, contract.described_steps)
        if not 1 <= hop <= longest:
            raise UsageError(
                f"a hop of {hop} steps",
                expected=f"1 … {longest} steps",
                fix="give another --hop",
            )
        self.contract = contract
        self.hop_steps = hop
        self.source = source
        self._used = frozenset(modalities) & frozenset(contract.modalities)
        if contract.text is None or contract.text.stage is None or pieces is None:
            self._used -= {"text"}
        self._reading = Reading(pieces, await_words) if pieces is not None and "text" in self._used else None
        # What says how many steps there are.
        self._media = self._used - {"text"} or (frozenset(modalities) & _MEDIA or _MEDIA)
        if not self._used:
            raise MediaError(
                f"the source has {_listed(modalities)}, the model takes {_listed(contract.modalities)}",
                expected="a source with at least one of the model's modalities",
            )
        self._ended: set[str] = set()
        self._absent: set[str] = set()
        self._found_faces = found_faces
        self._fusion_stages = frozenset(stage.stage for stage in contract.fusion.stages)
        self._waiting: dict[Request, Done] = {}
        self._estimates: list[Estimate] = []
        self._ending: list[Segment] = []
        self._over_steps = self._skipped_before = 0
        self._latest_s = 0.0
        self.gaps: list[str] = []
        self.gap_steps: list[range] = []
        self.gap_count = 0
        self._segment: Segment | None = self._new_segment(0)

    # -- media in ----------------------------------------------------------------------------------------------

    def push_video(
        self,
        frames: Sequence[Frame],
        pts_s: Sequence[float] | npt.NDArray[np.float64],
        faces: Sequence[Sequence[Face]] | None = None,
    ) -> None:
        """Frames (uint8 RGB, height × width × 3) with media times in seconds; faces default to the whole frame."""
        self._returns("video")
        for index, (frame, pts) in enumerate(zip(frames, pts_s, strict=True)):
            found = faces[index] if faces is not None else [whole_frame(frame)]
            self._at(float(pts)).push_frame(PlacedFrame(float(pts), frame, tuple(found)))
        self._collect()

    def push_audio(self, samples: Samples, pts_s: float) -> None:
        """Mono samples in [-1, 1] at the contract's rate, the first of them at media time `pts_s`."""
        self._returns("audio")
        samples = np.asarray(samples, np.float32)
        if not np.isfinite(samples).all():
            samples = np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0)
        self._at(float(pts_s)).push_audio(samples, float(pts_s))
        self._collect()

    def push_words(self, chunk: WordsChunk) -> None:
        """What is new of the transcript, on media time; nothing happens where text is not in use."""
        if self._reading is not None:
            self._read(self._reading.heard.push(chunk))

    def end(self, modality: str) -> None:
        """The source has no more of this modality; the others go on without it, over gaps as well."""
        self._ended.add(modality)
        if modality == "text" and self._reading is not None:
            self._reading.heard.ended = True
            self._read(None)
        elif self._segment is not None:
            self._segment.end(modality)
        self._collect()

    def flush(self) -> None:
        """The stream is over: what was pushed is all there is."""
        for modality in self._used | self._media:
            self.end(modality)

    def mark_gap(self, reason: str) -> None:
        """Media was lost. The present segment ends as a stream would; the next media starts a new one, warming up.

        Kept: the media clock, and which modalities have ended. Gone: windows, tracks, held frames and hops.
        """
        self.gaps = [*self.gaps, reason][-_GAPS_KEPT:]
        self.gap_count += 1
        if self._segment is not None:
            for modality in self._media:
                self._segment.end(modality)
            self._over_steps = max(self._over_steps, self._segment.total_steps or 0)
            self._ending.append(self._segment)
            self._segment = None
        self._collect()

    def mark_absent(self, modality: str) -> None:
        """A live source gives nothing of this modality: a gap, after which the others go on without it.

        When it comes again that is another gap. The last modality that gives something is never absent.
        """
        giving = (self._used & _MEDIA) - self._ended - self._absent
        if modality in giving and len(giving) > 1:
            self._absent.add(modality)
            self.mark_gap(f"{modality} is absent")

    def _read(self, chunk: WordsChunk | None) -> None:
        """Words end with their segment, unless the transcript was to be waited for."""
        reading = self._reading
        for segment in (*(self._ending if reading is not None and reading.await_words else ()), self._segment):
            if segment is not None:
                segment.push_words(chunk)
        self._collect()

    def _returns(self, modality: str) -> None:
        if modality in self._absent:
            self._absent.discard(modality)
            self.mark_gap(f"{modality} is back")

    # -- computation and estimates -----------------------------------------------------------------------------

    def pending(self) -> list[Request]:
        """All requests not yet resolved, oldest first."""
        return list(self._waiting)

    def resolve(self, requests: Sequence[Request], results: Sequence[Array]) -> None:
        """Hand back one result a request, in the same order. KeyError for a request that is not pending."""
        for request, result in zip(requests, results, strict=True):
            self._waiting.pop(request)(result)
        self._collect()

    def skip(self, requests: Sequence[Request]) -> None:
        """Give up these runs of the fusion, with all its stages: their steps are never estimated.

        The others keep their order. For who has fallen behind and wants the present instead. KeyError for a request
        that is not pending, ValueError for one of an encoder, whose features later windows need.
        """
        for request in requests:
            if request.stage not in self._fusion_stages:
                raise ValueError(f"a request of {request.stage} cannot be skipped, only runs of the fusion")
            if request not in self._waiting:
                raise KeyError(request)
        runs = {(request.track, request.step) for request in requests}
        for request in tuple(self._waiting):
            if request.stage in self._fusion_stages and (request.track, request.step) in runs:
                self._waiting.pop(request)(None)
        self._collect()

    @property
    def tracks(self) -> tuple[int, ...]:
        """The tracks that live now."""
        return self._segment.tracks if self._segment is not None else ()

    @property
    def text_runs(self) -> int:
        """Sentences that the encoder was asked for; one too long for it, in parts, is one."""
        return self._reading.runs if self._reading is not None else 0

    @property
    def sentence_changes(self) -> int:
        """Sentences that the media came to, and changes of their words after that."""
        return self._reading.changes if self._reading is not None else 0

    @property
    def text_counters(self) -> dict[str, int]:
        """What reports tell of text; nothing where it is not in use."""
        if self._reading is None:
            return {}
        words = self._reading.heard.count
        return {"text_runs": self.text_runs, "sentence_changes": self.sentence_changes, "words_heard": words}

    @property
    def skipped_steps(self) -> int:
        """Steps that would have been estimated, had their runs not been skipped."""
        present = [self._segment] if self._segment is not None else []
        return self._skipped_before + sum(segment.skipped_steps for segment in (*self._ending, *present))

    def poll(self) -> list[Estimate]:
        """Estimates since the last call, in order of time within each track."""
        estimates, self._estimates = self._estimates, []
        return estimates

    # -- segments ----------------------------------------------------------------------------------------------

    def _at(self, pts_s: float) -> Segment:
        if not math.isfinite(pts_s):
            raise MediaError(f"a timestamp of {pts_s} s", expected="finite media time")
        if self._segment is not None and not self._media <= self._ended and pts_s - self._latest_s > _MAX_LEAP_S:
            self.mark_gap(f"timestamps leap from {self._latest_s:.3f} s to {pts_s:.3f} s")
        if self._segment is None:
            first = max(self._over_steps, math.floor(pts_s * self.contract.step_hz + 0.5))
            self.gap_steps = [*self.gap_steps, range(self._over_steps, first)][-_GAPS_KEPT:]
            self._segment = self._new_segment(first)
        self._latest_s = max(self._latest_s, pts_s)
        if self._reading is not None:
            self._reading.heard.reach(self._latest_s)
            for ending in self._ending:
                ending.push_words(None)
        return self._segment

    def _new_segment(self, first_step: int) -> Segment:
        return Segment(
            self.contract,
            used=self._used - self._ended - self._absent,
            alone=VOICE if self._found_faces and "video" in self._used else 0,
            hop=self.hop_steps,
            first_step=first_step,
            source=self.source,
            ask=self._ask,
            found_faces=self._found_faces,
            reading=self._reading,
            clocks=() if self._used & _MEDIA else self._media - self._ended,
        )

    def _ask(self, stage: str, track: int, step: int, feeds: Mapping[str, Array], done: Done) -> None:
        self._waiting[Request(stage, track, step, feeds)] = done

    def _collect(self) -> None:
        # What lies before a gap is told before what follows it.
        while self._ending:
            self._estimates.extend(self._ending[0].take())
            if not self._ending[0].finished:
                return
            self._skipped_before += self._ending.pop(0).skipped_steps
        if self._segment is not None:
            self._estimates.extend(self._segment.take())


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
