"""An unbroken stretch of one stream: from its first step to a gap or the end.

Everything that has state between steps lives here: the alignment of media with steps, the feature timelines of every
track, and which fusion runs and estimates are due. A gap ends a segment and its state with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import EngineError

from .alignment import AudioSpanner, FrameSelector, PlacedFrame, Samples, StepFrame
from .crops import CropSpans
from .engines.base import Array
from .estimate import Estimate, Quality
from .faces import crop_face
from .timeline import Features, FeatureTimeline
from .track import Pending, Shown, Track
from .windows import FusionWindows

__all__ = ["Asked", "Segment"]

# How a segment asks for a computation: stage, track, step, feeds, and what to do with the result.
Asked = Callable[[str, int, int, Mapping[str, Array], Callable[[Array], None]], None]


class Segment:
    """State of one stretch; `ask` is called for every computation it needs."""

    def __init__(
        self,
        contract: Contract,
        *,
        used: frozenset[str],
        hop: int,
        first_step: int,
        source: str | None,
        ask: Asked,
    ) -> None:
        self._contract = contract
        self._windows = FusionWindows(contract.fusion, hop, first_step)
        self._first_step = first_step
        self._source = source
        self._ask = ask
        self._limits = {output.name: (output.low, output.high) for output in contract.outputs}
        self._open = set(used)
        self._total: int | None = None
        self._frames: FrameSelector | None = None
        self._audio: AudioSpanner | None = None
        self._audio_line: FeatureTimeline | None = None
        self._tracks: dict[int, Track] = {}
        self._estimates_made: list[Estimate] = []
        if contract.video is not None and "video" in used:
            self._frames = FrameSelector(contract.step_hz, contract.video.max_hold_s, first_step)
        else:
            self._start_track(0, first_step)
        if contract.audio is not None and "audio" in used:
            self._audio = AudioSpanner(contract.audio, contract.step_hz, first_step)
            self._audio_line = self._timeline(contract.audio.feature_dim, first_step)

    def push_frame(self, placed: PlacedFrame) -> None:
        if self._frames is not None and "video" in self._open:
            self._see(self._frames.push(placed))
            self._advance()

    def push_audio(self, samples: Samples, pts_s: float) -> None:
        if self._audio is not None and "audio" in self._open:
            self._audio.push(samples, pts_s)
            self._hear(self._audio.ready())
            self._advance()

    def end(self, modality: str) -> None:
        """No more media of this modality; with the last one the segment's length is known."""
        if modality not in self._open:
            return
        self._open.discard(modality)
        if not self._open:
            video_steps = self._frames.next_step if self._frames is not None else self._first_step
            audio_steps = self._audio.total_steps if self._audio is not None else self._first_step
            self._total = max(video_steps, audio_steps)
        self._advance()

    def take(self) -> list[Estimate]:
        """Estimates made since the last call, in order of time within each track."""
        estimates, self._estimates_made = self._estimates_made, []
        return estimates

    @property
    def finished(self) -> bool:
        """Whether the segment has ended and every estimate of it has been made."""
        return self._total is not None and all(
            not track.queue and self._complete_until(track) >= self._total for track in self._tracks.values()
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
        for track in self._tracks.values():
            self._fuse(track)
        if not self._tracks and self._frames is not None and self._audio_line is not None:
            self._audio_line.forget_before(self._frames.next_step)

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
            faces = seen.placed.faces if seen.placed is not None else ()
            for face in faces:
                if face.track not in self._tracks:
                    self._start_track(face.track, seen.step)
            for track in self._tracks.values():
                self._look(track, seen)

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

    def _storing(self, line: FeatureTimeline, shown: Shown) -> Callable[[Array], None]:
        def store(result: Array) -> None:
            features: Features = np.asarray(result, np.float32)
            if not np.isfinite(features).all():
                raise EngineError(
                    f"the encoder gave a feature that is not a number at step {shown.steps[0]}",
                    expected="finite features",
                    fix="affectrt verify the bundle, or run it with --precision fp32",
                )
            shown.features = features
            for step in shown.steps:
                line.put(step, features)
            for track in self._tracks.values():
                self._fuse(track)

        return store

    # -- fusion and estimates ----------------------------------------------------------------------------------

    def _start_track(self, number: int, step: int) -> None:
        video = self._contract.video if self._frames is not None else None
        self._tracks[number] = Track(
            number=number,
            first_step=step,
            next_fusion=self._windows.run_from(step),
            video=self._timeline(video.feature_dim, step) if video is not None else None,
            emitted_until=step,
            spans=CropSpans(video.span_frames if video is not None else 1),
        )

    def _timeline(self, dim: int, first_step: int) -> FeatureTimeline:
        return FeatureTimeline(dim, first_step, self._windows.keep_steps)

    def _complete_until(self, track: Track) -> int:
        lines = [line for line in (track.video, self._audio_line) if line is not None]
        return min(line.decided_until for line in lines)

    def _fuse(self, track: Track) -> None:
        """Ask for every fusion run whose steps are all decided."""
        complete = self._complete_until(track)
        while track.next_fusion < complete and (self._total is None or track.next_fusion < self._total):
            self._ask_fusion(track, track.next_fusion)
            track.next_fusion = self._windows.run_from(track.next_fusion + 1)
        per_step = self._contract.fusion.output == "per_step"
        if per_step and self._total is not None and track.emitted_until < self._total <= complete:
            self._ask_fusion(track, self._total - 1)

    def _ask_fusion(self, track: Track, last: int) -> None:
        held = self._windows.steps(last, track.first_step)
        feeds: dict[str, Array] = {}
        for name, modality in self._contract.modalities.items():
            line = {"video": track.video, "audio": self._audio_line}.get(name)
            if line is None:
                feeds[name] = np.zeros((self._contract.fusion.window_steps, modality.feature_dim), np.float32)
            else:
                feeds[name] = self._windows.features(line, held)
        steps, rows = self._windows.estimated(held, track.emitted_until)
        track.emitted_until = last + 1
        pending = Pending(track, steps, rows, self._describe(track, steps))
        track.queue.append(pending)
        for stage in self._contract.fusion.stages:
            self._ask(stage.stage, track.number, last, feeds, self._gathering(pending, stage.stage))
        if track.video is not None:
            track.video.forget_before(self._windows.oldest_needed(track.emitted_until))
        if self._audio_line is not None:
            slowest = min(other.emitted_until for other in self._tracks.values())
            self._audio_line.forget_before(self._windows.oldest_needed(slowest))
        for step in [s for s in track.faces if s <= last]:
            del track.faces[step]

    def _describe(self, track: Track, steps: range) -> list[tuple[tuple[str, ...], Quality]]:
        described = []
        for step in steps:
            seen = track.video is not None and step in track.faces
            heard = self._audio_line.present(step) if self._audio_line is not None else None
            names = tuple(name for name, real in (("video", seen), ("audio", heard)) if real)
            px, score = track.faces.get(step, (None, None))
            described.append((names, Quality(face_px=px, face_score=score, audio=heard)))
        return described

    def _gathering(self, pending: Pending, stage: str) -> Callable[[Array], None]:
        def gather(result: Array) -> None:
            pending.results[stage] = result
            queue, stages = pending.track.queue, len(self._contract.fusion.stages)
            # Results may come in any order; estimates leave in the order of time.
            while queue and len(queue[0].results) == stages:
                self._estimates_made.extend(self._estimates(queue.popleft()))

        return gather

    def _estimates(self, pending: Pending) -> Iterable[Estimate]:
        columns: dict[str, Array] = {}
        for stage in self._contract.fusion.stages:
            values = np.atleast_2d(pending.results[stage.stage])
            for column, name in enumerate(stage.outputs):
                columns[name] = np.clip(values[:, column], *self._limits[name])
        for step, row, (modalities, quality) in zip(pending.steps, pending.rows, pending.described, strict=True):
            values_at = {name: float(column[row]) for name, column in columns.items()}
            if not all(np.isfinite(v) for v in values_at.values()):
                raise EngineError(
                    f"the fusion gave an estimate that is not a number at step {step}",
                    expected="finite estimates",
                    fix="affectrt verify the bundle, or run it with --precision fp32",
                )
            yield Estimate(
                t_s=step / self._contract.step_hz,
                valence=values_at.get("valence"),
                arousal=values_at.get("arousal"),
                track=pending.track.number,
                modalities=modalities,
                quality=quality,
                warming_up=step - pending.track.first_step < self._contract.fusion.warm_up_steps,
                source=self._source,
            )
