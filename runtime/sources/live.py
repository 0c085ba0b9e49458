"""A live source: cameras, microphones, network streams, made-up media, and files played in real time.

A supervisor thread builds the pipeline, watches it, tears it down and builds a new one; a thread for each appsink pulls
samples and puts chunks into the mailbox, from which the reader takes them. All of them share one clock, the system's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType

from affectrt.bundle.errors import MediaError

from .attempt import Attempt
from .base import AudioChunk, Event, Gap, Note, Outcome, StreamEnd, StreamName, VideoChunk, VideoWish
from .decoder_check import distrust_broken_decoders
from .faults import Fault
from .file import FileSource
from .mailbox import Mailbox
from .meters import DriftMeter, SkewMeter
from .reconnect import Reconnect
from .uri import SourceUri

__all__ = ["GstLiveSource"]

_SLICE_S = 0.05
_JOIN_S = 5.0


class GstLiveSource:
    """One source or a pair (pictures, sound). Media time is seconds since the first connection's start, on one axis
    over all reconnections.

    Entering waits for the first media. It raises MediaError when there is no use in waiting: a device or path that
    is not there, a refused password, a stream without anything that is wanted; and when `reconnect` is exhausted.
    Frames that wait for more than 8 places inside GStreamer, while this process's Python is held up, are dropped
    there and not counted.
    """

    def __init__(
        self,
        sources: Sequence[SourceUri],
        *,
        video: VideoWish | None = None,
        audio_rate_hz: int | None = None,
        reconnect: Reconnect | None = None,
    ) -> None:
        if video is None and audio_rate_hz is None:
            raise ValueError("a source needs a wish: video, audio_rate_hz or both")
        self.name = "+".join(source.public for source in sources)
        self.duration_s: float | None = None
        self.problem: str | None = None
        self._sources = tuple(sources)
        self._video = video
        self._audio_rate_hz = audio_rate_hz
        self._reconnect = reconnect or Reconnect()
        wanted: list[StreamName] = []
        if video is not None:
            wanted.append("video")
        if audio_rate_hz is not None:
            wanted.append("audio")
        self._modalities: frozenset[StreamName] = frozenset(wanted)
        self._wanted = self._shared_out(wanted)
        self._file = all(source.kind == "file" for source in sources)
        self._mailbox = Mailbox(audio_rate_hz)
        self._drift, self._skew = DriftMeter(), SkewMeter()
        self._counts = {"not_advancing": 0, "frozen": 0, "gaps": 0, "reconnects": 0}
        self._reached_s: dict[StreamName, float] = {"video": -1.0, "audio": -1.0}
        self._epoch_s: float | None = None
        self._notes: list[Note] = []
        self._transport = "tcp"
        self._supervisor: threading.Thread | None = None
        self._opened = False
        self._finished = False
        self._stopped = False

    def _shared_out(self, wanted: Sequence[StreamName]) -> tuple[frozenset[StreamName], ...]:
        if len(self._sources) == 1:
            return (frozenset(wanted),)
        pair: tuple[StreamName, StreamName] = ("video", "audio")
        return tuple(frozenset({stream} & set(wanted)) for stream in pair)

    # -- what a reader sees ----------------------------------------------------------------------------------------

    @property
    def modalities(self) -> frozenset[str]:
        return frozenset(self._modalities)

    @property
    def outcome(self) -> Outcome:
        reached: dict[str, float] = {stream: at for stream, at in self._reached_s.items() if at > 0}
        return Outcome(tuple(self._notes), reached, self.duration_s)

    @property
    def epoch_s(self) -> float:
        return self._epoch_s if self._epoch_s is not None else time.monotonic()

    @property
    def ended(self) -> bool:
        return self._stopped or (self._finished and self._mailbox.empty)

    def counters(self) -> Mapping[str, int | float]:
        box = self._mailbox
        return {
            "frames_in": box.came["video"],
            "frames_dropped": box.dropped["video"],
            "audio_chunks_in": box.came["audio"],
            "audio_chunks_dropped": box.dropped["audio"],
            **self._counts,
            "queue_video": box.waiting["video"],
            "queue_audio": box.waiting["audio"],
            "skew_ms": self._skew.ms(),
            "drift_ppm": self._drift.ppm(),
        }

    def stop(self) -> None:
        # Only a flag: a signal handler may interrupt the very thread that holds a lock.
        self._stopped = True

    def next_event(self, timeout_s: float) -> Event | None:
        return self._mailbox.take(timeout_s, lambda: self._stopped)

    def __iter__(self) -> Iterator[Event]:
        if self._supervisor is None:
            raise RuntimeError("enter the source before reading it: with open_source(…) as source")
        while not self.ended:
            event = self.next_event(_SLICE_S)
            if event is not None:
                yield event
        if self._stopped and not any(note.kind == "stopped" for note in self._notes):
            self._notes.insert(0, Note("stopped", f"{self.name} was stopped"))

    def __enter__(self) -> GstLiveSource:
        distrust_broken_decoders()
        for source in self._sources:
            if source.kind == "file":
                # Its reader knows every way in which a file can be broken, and says so before anything plays.
                with FileSource(source.location, video=self._video, audio_rate_hz=self._audio_rate_hz):
                    pass
        self._supervisor = threading.Thread(target=self._supervise, name="affectrt-live", daemon=True)
        self._supervisor.start()
        try:
            while not (self._opened or self._finished or self._stopped):
                time.sleep(0.005)
            if self._finished and not self._opened:
                self._mailbox.take(0.0, lambda: False)  # raises what it was told
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._stopped = True
        if self._supervisor is not None and self._supervisor is not threading.current_thread():
            self._supervisor.join(_JOIN_S)

    # -- the supervisor's thread -----------------------------------------------------------------------------------

    def _supervise(self) -> None:
        try:
            self._keep_connected()
        except BaseException as error:
            self._mailbox.fail(error)
        finally:
            self._finished = True

    def _keep_connected(self) -> None:
        failures = 0
        silent: frozenset[StreamName] = frozenset()
        while not self._stopped:
            attempt = self._attempt(silent)
            fault = attempt.run()
            if fault is None:
                return
            silent = attempt.silent
            self.problem = fault.reason
            if not self._opened and fault.transport and self._transport == "tcp":
                self._transport = "udp"
                continue
            if not self._opened and fault.final:
                raise fault.error or MediaError(f"{self.name}: {fault.reason}")
            if attempt.finite and attempt.came:
                self._break_off(fault, attempt.open_streams)
                return
            if attempt.came:
                failures = 0
                self._counts["gaps"] += 1
                self._mailbox.put(Gap(f"{self.name}: {fault.reason}"))
            if attempt.finite:
                raise fault.error or MediaError(f"{self.name} cannot be played: {fault.reason}")
            if self._reconnect.exhausted(failures):
                raise self._given_up(fault, failures)
            self._rest(self._reconnect.wait_s(failures))
            failures += 1

    def _attempt(self, silent: frozenset[StreamName]) -> Attempt:
        # What was not there at the first connection has no place in the session that reads this.
        self._drift = DriftMeter()
        wanted = self._wanted if not self._opened else tuple(part & self._modalities for part in self._wanted)
        return Attempt(
            self._sources,
            wanted,
            self._video,
            self._audio_rate_hz,
            reconnect=self._reconnect,
            drift=self._drift,
            transport=self._transport,
            silent=silent,
            stopped=lambda: self._stopped,
            reading=lambda: self._mailbox.begun,
            accept=self._accept,
            first_media=self._first_media,
            at_end=lambda stream: self._mailbox.put(StreamEnd(stream)),
        )

    def _first_media(self, attempt: Attempt) -> None:
        """Media has come, and it is known which streams there are."""
        self.problem = None
        if self._opened:
            self._counts["reconnects"] += 1
            return
        self._modalities = frozenset(attempt.streams)
        self.duration_s = attempt.duration_s if self._file else None
        self._opened = True

    def _break_off(self, fault: Fault, streams: Sequence[StreamName]) -> None:
        self._notes.append(Note("damaged", f"{self.name} broke off: {fault.reason}"))
        for stream in streams:
            self._mailbox.put(StreamEnd(stream))

    def _given_up(self, fault: Fault, failures: int) -> MediaError:
        tries = f" after {failures} attempts to connect again" if failures else ""
        return MediaError(
            f"{self.name} is lost{tries}: {fault.reason}",
            expected="a source that answers",
            fix="see that it runs and can be reached; more attempts are waited for with --rtsp-reconnect-attempts",
        )

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopped and time.monotonic() < until:
            time.sleep(min(_SLICE_S, max(0.0, until - time.monotonic())))

    # -- the pulling threads ---------------------------------------------------------------------------------------

    def _accept(self, stream: StreamName, chunk: VideoChunk | AudioChunk | None, base_s: float, reach_s: float) -> bool:
        """Move a chunk (None: a repeated picture) onto the axis of the whole source; whether it was new media.

        `reach_s` is how far ahead of the clock it may lie.
        """
        if chunk is None:
            self._counts["frozen"] += 1
            return False
        if self._epoch_s is None:
            self._epoch_s = base_s
        shift = base_s - self._epoch_s
        moved: VideoChunk | AudioChunk
        if isinstance(chunk, VideoChunk):
            moved = replace(chunk, pts_s=chunk.pts_s + shift)
            first = float(moved.pts_s[0])
        else:
            first = chunk.pts_s + shift
            moved = replace(chunk, pts_s=first)
        late_s = time.monotonic() - self._epoch_s - first
        if first <= self._reached_s[stream] or -late_s > reach_s:
            self._counts["not_advancing"] += 1
            return False
        self._reached_s[stream] = first
        if isinstance(moved, AudioChunk):
            late_s -= len(moved.samples) / (self._audio_rate_hz or 1)
        self._skew.push(stream, late_s)
        self._mailbox.put(moved)
        return True
