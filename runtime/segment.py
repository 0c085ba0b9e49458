"""An unbroken stretch of one stream: from its first step to a gap or the end.

Everything that has state between steps lives here: the alignment of media with steps, the feature timelines of every
track, and which fusion runs and estimates are due. A gap ends a segment and its state with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from affectrt.bundle.contract import Contract

from .alignment import AudioSpanner, FrameSelector, PlacedFrame, Samples, StepFrame
from .asking import Asked, Done
from .crops import CropSpans
from .engines.base import Array
from .estimate import Estimate
from .faces import crop_face
from .fusion_runs import FusionRuns, Line
from .media_clock import MediaClock
from .timeline import FeatureTimeline, features_from
from .track import VOICE, Shown, Track
from .windows import FusionWindows
from .words.line import Reading, WordLine
from .words.word import WordsChunk

__all__ = ["TRACK_PATIENCE_S", "Segment"]

# How long a face that was found may be out of sight before its track ends; of media, whatever the contract.
TRACK_PATIENCE_S = 2.0


class Segment:
    """State of one stretch; `ask` is called for every computation it needs.

    With `found_faces` faces come from a detector, and tracks end when they are no longer seen; without, each face that
    is shown stays for the whole segment. `alone` is the track of a segment that has no video. With `reading` there are
    words; with nothing but words the media named in `clocks` says how long the segment is.
    """

    def __init__(
        self,
        contract: Contract,
        *,
        used: frozenset[str],
        hop: int,
        first_step: int,
        source: str | None,
        ask: Asked,
        found_faces: bool = False,
        alone: int = 0,
        reading: Reading | None = None,
        clocks: Collection[str] = (),
    ) -> None:
        self._contract = contract
        self._windows = FusionWindows(contract.fusion, hop, first_step)
        self._first_step = first_step
        self._ask = ask
        self._runs = FusionRuns(contract, self._windows, source, ask)
        self._found_faces = found_faces
        self._patience_steps = max(1, round(TRACK_PATIENCE_S * contract.step_hz))
        self._open = set(clocks or used) - {"text"}
        self._total: int | None = None
        self._frames: FrameSelector | None = None
        self._audio: AudioSpanner | None = None
        self._audio_line: FeatureTimeline | None = None
        self._words: WordLine | None = None
        self._shared: dict[str, Line] = {}
        self._tracks: dict[int, Track] = {}
        self._ending: list[Track] = []
        if contract.video is not None and "video" in used:
            self._frames = FrameSelector(contract.step_hz, contract.video.max_hold_s, first_step)
        else:
            self._start_track(alone, first_step)
        if contract.audio is not None and "audio" in used:
            self._audio = AudioSpanner(contract.audio, contract.step_hz, first_step)
            self._audio_line = self._shared["audio"] = self._timeline(contract.audio.feature_dim, first_step)
        if contract.text is not None and reading is not None:
            self._words = WordLine(contract.text, contract.step_hz, first_step, reading, ask, self._fuse_all)
            self._shared["text"] = self._words
        self._clock = MediaClock(contract, first_step) if self._frames is None and self._audio is None else None

    def push_frame(self, placed: PlacedFrame) -> None:
        if "video" not in self._open:
            return
        if self._frames is not None:
            self._see(self._frames.push(placed))
        elif self._clock is not None:
            self._clock.see(placed.pts_s)
        self._advance()

    def push_audio(self, samples: Samples, pts_s: float) -> None:
        if "audio" not in self._open:
            return
        if self._audio is not None:
            self._audio.push(samples, pts_s)
            self._hear(self._audio.ready())
        elif self._clock is not None:
            self._clock.hear(len(samples), pts_s)
        self._advance()

    def push_words(self, chunk: WordsChunk | None = None) -> None:
        """Words that `Heard` has put right; None: nothing new, but what was heard may be final by now."""
        if self._words is not None:
            if chunk is not None:
                self._words.push(chunk)
            self._fuse_all()

    def end(self, modality: str) -> None:
        """No more media of this modality; with the last one the segment's length is known."""
        if modality not in self._open:
            return
        self._open.discard(modality)
        if not self._open:
            video_steps = self._frames.next_step if self._frames is not None else self._first_step
            audio_steps = self._audio.total_steps if self._audio is not None else self._first_step
            clock_steps = self._clock.next_step if self._clock is not None else self._first_step
            self._total = max(video_steps, audio_steps, clock_steps)
        self._advance()

    def take(self) -> list[Estimate]:
        """Estimates made since the last call, in order of time within each track."""
        return self._runs.take()

    @property
    def total_steps(self) -> int | None:
        """The step before which the segment ends, counted from the stream's start; None while it goes on."""
        return self._total

    @property
    def tracks(self) -> tuple[int, ...]:
        return tuple(self._tracks)

    @property
    def skipped_steps(self) -> int:
        return self._runs.skipped_steps

    @property
    def finished(self) -> bool:
        """Whether the segment has ended and every estimate of it has been made or skipped."""
        total = self._total
        return (
            total is not None
            and not self._ending
            and self._runs.idle
            and all(self._complete_until(track) >= total for track in self._tracks.values())
        )

    # -- step by step ------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Decide what can be decided: a modality that has ended follows the one that goes on."""
        limit = self._total
        if limit is None and "video" not in self._open and self._audio is not None:
            limit = self._audio.next_step
        elif limit is None and "audio" not in self._open and self._frames is not None:
            limit = self._frames.next_step
        if limit is not None:
            if self._frames is not None and "video" not in self._open:
                self._see(self._frames.fill(limit))
            if self._audio is not None and "audio" not in self._open:
                self._hear(self._audio.fill(limit))
        if self._words is not None:
            clocks = (self._frames, self._audio, self._clock)
            self._words.reach(max(clock.next_step for clock in clocks if clock is not None))
        self._fuse_all()
        if not (self._tracks or self._ending) and self._frames is not None:
            for line in self._shared.values():
                line.forget_before(self._frames.next_step)

    def _hear(self, spans: Iterable[tuple[int, Samples | None]]) -> None:
        audio, line = self._contract.audio, self._audio_line
        assert audio is not None and line is not None
        for step, span in spans:
            if span is None or not self._windows.holds(step):
                line.put(step, None)
            else:
                self._ask(audio.stage, -1, step, {audio.input.name: span}, self._storing(line, Shown([step], None)))

    def _see(self, steps: Iterable[StepFrame]) -> None:
        for seen in steps:
            shown = [face.track for face in seen.placed.faces] if seen.placed is not None else []
            if shown and VOICE in self._tracks:
                self._end_track(self._tracks[VOICE], seen.step)
            for number in shown:
                if number not in self._tracks:
                    self._start_track(number, seen.step)
            if self._found_faces and self._shared and not self._tracks:
                self._start_track(VOICE, seen.step)
            for track in tuple(self._tracks.values()):
                self._look(track, seen)
                if track.number in shown:
                    track.last_seen = seen.step
                elif self._is_lost(track, seen.step):
                    self._end_track(track, seen.step + 1)

    def _look(self, track: Track, seen: StepFrame) -> None:
        """Ask for the features of one track at one step, unless a held frame has them already."""
        video, line = self._contract.video, track.video
        assert video is not None and line is not None
        face = None
        if seen.placed is not None:
            face = next((f for f in seen.placed.faces if f.track == track.number), None)
        if face is None or seen.placed is None:
            line.put(seen.step, None)
            return
        track.faces[seen.step] = (face.side_px, face.score)
        if video.span_frames == 1 and self._repeat(track.shown, line, seen):
            return
        held = self._windows.holds(seen.step)
        if held or video.span_frames > 1:
            crop = crop_face(seen.placed.frame, face, video.resize_px, video.crop_px, video.face)
            span = track.spans.push(crop)
        if not held:
            line.put(seen.step, None)
            return
        track.shown = Shown([seen.step], seen.placed)
        self._ask(video.stage, track.number, seen.step, {video.input.name: span}, self._storing(line, track.shown))

    def _repeat(self, shown: Shown | None, line: FeatureTimeline, seen: StepFrame) -> bool:
        """Encode once: a held frame shares the features of the step that showed it first."""
        if shown is None or shown.origin is not seen.placed or shown.steps[-1] != seen.step - 1:
            return False
        shown.steps.append(seen.step)
        if shown.features is not None:
            line.put(seen.step, shown.features)
        return True

    def _storing(self, line: FeatureTimeline, shown: Shown) -> Done:
        def store(result: Array | None) -> None:
            shown.features = features_from(result, shown.steps[0])
            for step in shown.steps:
                line.put(step, shown.features)
            self._fuse_all()

        return store

    # -- tracks ------------------------------------------------------------------------------------------------

    def _start_track(self, number: int, step: int) -> None:
        video = self._contract.video if self._frames is not None else None
        self._tracks[number] = Track(
            number=number,
            first_step=step,
            next_fusion=self._windows.run_from(step),
            video=self._timeline(video.feature_dim, step) if video is not None else None,
            emitted_until=step,
            spans=CropSpans(video.span_frames if video is not None else 1),
            queue=self._runs.queue(number),
            last_seen=step,
        )

    def _is_lost(self, track: Track, step: int) -> bool:
        unseen = step - track.last_seen
        return self._found_faces and track.number != VOICE and unseen >= self._patience_steps

    def _end_track(self, track: Track, until: int) -> None:
        """The track ends before step `until`: what it has not been estimated of is still to come, then it is gone."""
        track.until = until
        self._ending.append(self._tracks.pop(track.number))

    def _timeline(self, dim: int, first_step: int) -> FeatureTimeline:
        return FeatureTimeline(dim, first_step, self._windows.keep_steps)

    def _complete_until(self, track: Track) -> int:
        decided = [line.decided_until for line in (track.video, *self._shared.values()) if line is not None]
        if self._clock is not None:
            decided.append(self._clock.next_step)
        return min(decided)

    def _fuse_all(self) -> None:
        for track in (*self._ending, *self._tracks.values()):
            self._fuse(track)
        if self._ending:
            self._ending = [t for t in self._ending if t.until is not None and self._complete_until(t) < t.until]

    def _fuse(self, track: Track) -> None:
        """Ask for every fusion run whose steps are all decided."""
        complete = self._complete_until(track)
        until = self._total if track.until is None else track.until
        while track.next_fusion < complete and (until is None or track.next_fusion < until):
            self._run(track, track.next_fusion)
            track.next_fusion = self._windows.run_from(track.next_fusion + 1)
        per_step = self._contract.fusion.output == "per_step"
        if per_step and until is not None and track.emitted_until < until <= complete:
            self._run(track, until - 1)

    def _run(self, track: Track, last: int) -> None:
        self._runs.ask(track, last, self._shared)
        if track.video is not None:
            track.video.forget_before(self._windows.oldest_needed(track.emitted_until))
        if self._shared:
            slowest = min(other.emitted_until for other in (*self._ending, *self._tracks.values()))
            for line in self._shared.values():
                line.forget_before(self._windows.oldest_needed(slowest))
        for step in [s for s in track.faces if s <= last]:
            del track.faces[step]
