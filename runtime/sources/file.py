"""A media file as a source: whatever GStreamer can decode, in the order of media time, as fast as it is asked."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from affectrt.bundle.errors import AffectError, MediaError

from .base import Event, Note, NoteKind, Outcome, StreamEnd, StreamName, VideoWish
from .chunks import AudioChunker, VideoChunker
from .container import missing_bytes
from .decode import AUDIO_BUFFERS, DecodePipeline
from .gst import gst
from .messages import no_decoder

__all__ = ["FileSource", "check_file"]

_SLICE_S = 0.1
# A stream that is silent this long holds the others up no more; it keeps its place in time when it comes back.
_PATIENCE_S = 0.5
# How much of the claimed duration may be missing: codec priming, last frames and rounding of containers.
_SHORTFALL = 0.05
_SHORTFALL_S = 0.2
# Timestamps of damaged files leap by years, and audiorate fills what they leap over, second by second.
_MAX_HOLE_S = 6 * 3600
_EXPECTED = "a media file such as MP4, MKV, WebM or WAV"


def check_file(given: str | os.PathLike[str]) -> None:
    """MediaError for what is no plain, readable file with something in it."""
    path = Path(given)
    try:
        if path.is_dir():
            raise MediaError(f"{path} is a directory", expected=_EXPECTED)
        if not path.exists():
            raise MediaError(f"{path} does not exist", expected=_EXPECTED, fix="check the path")
        if not path.is_file():
            raise MediaError(f"{path} is not a plain file", expected=_EXPECTED)
        if path.stat().st_size == 0:
            raise MediaError(f"{path} is empty: it contains no data", expected=_EXPECTED)
        with path.open("rb"):
            pass
    except OSError as error:
        raise MediaError(f"{path} cannot be opened: {error.strerror or error}", expected=_EXPECTED) from None


class FileSource:
    """Decodes the first video and the first audio stream of a file, as far as wanted.

    Frames keep their own timestamps (none is repeated or left out to fit a rate). Audio is mono at
    `audio_rate_hz`; what a damaged file lacks is left out, never filled with silence. Reading is single-threaded
    and lock-step: the stream that has come less far is next. A file without a wanted modality is fine as long as
    it has another; MediaError if it has none, and when it gives nothing for `timeout_s` after opening.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        video: VideoWish | None = None,
        audio_rate_hz: int | None = None,
        timeout_s: float = 8.0,
    ) -> None:
        if video is None and audio_rate_hz is None:
            raise ValueError("a source needs a wish: video, audio_rate_hz or both")
        self.path = Path(path)
        self.name = self.path.name
        self.duration_s: float | None = None
        self._video = video
        self._audio_rate_hz = audio_rate_hz
        self._wanted: list[StreamName] = []
        if video is not None:
            self._wanted.append("video")
        if audio_rate_hz is not None:
            self._wanted.append("audio")
        self._timeout_s = timeout_s
        self._pipeline: DecodePipeline | None = None
        self._chunkers: dict[StreamName, VideoChunker | AudioChunker] = {}
        self._lagging: set[StreamName] = set()
        self._outcome = Outcome()
        self._stopped = False

    @property
    def modalities(self) -> frozenset[str]:
        return frozenset(self._chunkers)

    @property
    def outcome(self) -> Outcome:
        return self._outcome

    def stop(self) -> None:
        self._stopped = True

    # -- opening ---------------------------------------------------------------------------------------------------

    def __enter__(self) -> FileSource:
        check_file(self.path)
        uri = gst().filename_to_uri(str(self.path.absolute()))
        self._pipeline = DecodePipeline(uri, str(self.path), self._video, self._audio_rate_hz)
        try:
            self._pipeline.open(self._timeout_s)
            if not self._pipeline.sinks:
                raise self._no_stream(self._pipeline)
        except BaseException:
            self.close()
            raise
        if "video" in self._pipeline.sinks:
            self._chunkers["video"] = VideoChunker()
        if "audio" in self._pipeline.sinks and self._audio_rate_hz is not None:
            self._chunkers["audio"] = AudioChunker(self._audio_rate_hz)
        self.duration_s = self._pipeline.duration_s()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline = None

    def _no_stream(self, pipeline: DecodePipeline) -> AffectError:
        lacking = [text for stream, text in pipeline.missing if stream in self._wanted]
        if lacking:
            return no_decoder(str(self.path), lacking)
        wanted = " and no ".join(self._wanted)
        return MediaError(
            f"{self.path} has no {wanted}",
            expected=f"a file with {' or '.join(self._wanted)}, which is what the model takes",
        )

    # -- reading ---------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Event]:
        pipeline = self._pipeline
        if pipeline is None:
            raise RuntimeError("enter the source before reading it: with FileSource(…) as source")
        open_streams = set(self._chunkers)
        broken: str | None = None
        progress = time.monotonic()
        while open_streams and not self._stopped:
            order = sorted(open_streams, key=lambda s: (self._chunkers[s].reached_s, s))
            pulled = self._pull(pipeline, order, time.monotonic() - progress, hopeless=broken is not None)
            if pulled is not None:
                stream, sample = pulled
                if sample is not None:
                    yield from self._chunkers[stream].push(sample)
                if sample is None or self._only_filling(pipeline, stream):
                    open_streams.discard(stream)
                    yield StreamEnd(stream)
                progress = time.monotonic()
            elif broken is not None:
                break
            broken = broken or self._breakage(pipeline, time.monotonic() - progress)
        if not self._stopped:
            for stream in sorted(open_streams):
                yield StreamEnd(stream)
        self._outcome = self._summed_up(pipeline, broken)
        if not self._stopped and self._decoded_s() == 0:
            reasons = "; ".join(note.message for note in self._outcome.notes)
            raise MediaError(f"nothing of {self.path} could be decoded: {reasons}", expected=_EXPECTED)

    def _pull(
        self, pipeline: DecodePipeline, order: list[StreamName], silent_s: float, *, hopeless: bool
    ) -> tuple[StreamName, Any] | None:
        """A stream and its next sample (None: it has ended), or None when nothing came.

        Only the first of `order` is asked, unless it lags. When reading is broken nobody is waited for.
        """
        for stream in order:
            waits = not hopeless and (stream not in self._lagging or stream == order[-1])
            sample = pipeline.pull(stream, _SLICE_S if waits else 0.0)
            if sample is not None:
                self._lagging.discard(stream)
                return stream, sample
            if pipeline.ended(stream):
                return stream, None
            if silent_s > _PATIENCE_S:
                self._lagging.add(stream)
            if not hopeless and stream not in self._lagging:
                return None
        return None

    def _decoded_s(self) -> float:
        return max(chunker.decoded_s for chunker in self._chunkers.values())

    def _only_filling(self, pipeline: DecodePipeline, stream: StreamName) -> bool:
        """Whether audiorate is filling up to the announced end: more than all that can wait in line was silence.

        The announced end of a damaged file can be days away.
        """
        chunker = self._chunkers[stream]
        if not isinstance(chunker, AudioChunker) or not pipeline.sound_is_over:
            return False
        return chunker.hole > AUDIO_BUFFERS + 8

    def _breakage(self, pipeline: DecodePipeline, silent_s: float) -> str | None:
        """Why reading cannot go on, or None."""
        pipeline.poll()
        at = max(chunker.reached_s for chunker in self._chunkers.values())
        if pipeline.failure is not None:
            return f"reading broke off at {at:.1f} s: {pipeline.failure}"
        if silent_s > self._timeout_s:
            return f"reading stalled at {at:.1f} s: nothing came for {self._timeout_s:.0f} s"
        audio = self._chunkers.get("audio")
        if isinstance(audio, AudioChunker) and audio.hole_s > _MAX_HOLE_S:
            return f"its sound has a hole of more than {_MAX_HOLE_S / 3600:.0f} h"
        if self.duration_s is not None and at > 1.1 * self.duration_s + 10:
            self.duration_s = pipeline.duration_s() or self.duration_s
            if at > 1.1 * self.duration_s + 10:
                return f"timestamps run on to {at:.1f} s in a file of {self.duration_s:.1f} s"
        return None

    # -- how it went -----------------------------------------------------------------------------------------------

    def _summed_up(self, pipeline: DecodePipeline, broken: str | None) -> Outcome:
        """The outcome, gravest note first."""
        pipeline.poll()
        notes: list[Note] = []
        # Asked again: the parser of a bare stream has guessed until now. A container's word does not change.
        duration_s = pipeline.duration_s() or self.duration_s
        if self._stopped:
            notes.append(Note("stopped", f"{self.name} was stopped at {self._decoded_s():.1f} s"))
        if broken is not None:
            notes.append(Note("damaged", f"{self.name} is damaged: {broken}"))
        elif not self._stopped:
            notes += self._cut_off(pipeline, duration_s)
        for stream in self._wanted:
            notes += self._absent(pipeline, stream)
        for text in pipeline.warnings:
            notes.append(Note("warning", f"{self.name}: {text}"))
        video = self._chunkers.get("video")
        if isinstance(video, VideoChunker) and video.late:
            notes.append(Note("warning", f"{self.name}: {video.late} frames were not later than the one before"))
        decoded: dict[str, float] = {stream: chunker.decoded_s for stream, chunker in self._chunkers.items()}
        return Outcome(tuple(notes), decoded, duration_s)

    def _cut_off(self, pipeline: DecodePipeline, duration_s: float | None) -> Iterator[Note]:
        read_s = max(self._decoded_s(), pipeline.unused_until_s())
        if duration_s is not None and duration_s - read_s > max(_SHORTFALL * duration_s, _SHORTFALL_S):
            yield Note("truncated", f"{self.name} is cut off: {read_s:.1f} s of {duration_s:.1f} s could be read")
        elif (missing := missing_bytes(self.path)) > 0:
            yield Note("truncated", f"{self.name} is cut off: its last {missing} bytes are missing")

    def _absent(self, pipeline: DecodePipeline, stream: StreamName) -> Iterator[Note]:
        if stream in self._chunkers and self._chunkers[stream].decoded_s > 0:
            return
        lacking = [text for name, text in pipeline.missing if name == stream]
        kind: NoteKind = "no_video" if stream == "video" else "no_audio"
        if stream in self._chunkers:
            yield Note(kind, f"{self.name} has an empty {stream} stream")
        elif lacking:
            yield Note("missing_decoder", str(no_decoder(self.name, lacking)))
        else:
            yield Note(kind, f"{self.name} has no {stream}")
