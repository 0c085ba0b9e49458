"""One source on its way through a session of its own: opened, read as far as media has come, ended."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Literal, TypeGuard

import numpy as np

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import AffectError, MediaError

from .estimate import Estimate
from .faces import FaceFinder
from .replay import feed, finds_faces
from .session import Request, Session
from .sources import AudioChunk, Event, Gap, LiveSource, Outcome, Source, VideoChunk
from .words.pieces import Pieces
from .writer import Writer, look_ahead_s

__all__ = ["Stream", "is_live"]

_log = logging.getLogger(__name__)

# A run of the fusion is late when the last step it speaks of is older than its look-ahead, a hop and this.
LATE_S = 0.5
# How long a stream may hold up the others with media that has come, such as frames in which faces are sought.
_TURN_S = 0.25
_AGES_KEPT = 5000
# A modality of a live source that is so far behind the other one is not waited for.
_ABSENT_S = 3.0
_STOP_S = 2.0

State = Literal["opening", "running", "ended", "failed"]


def is_live(source: Source) -> TypeGuard[LiveSource]:
    return hasattr(source, "next_event")


class Stream:
    """The state of one source in a run of several: opening, running, ended or failed (`failure` says why)."""

    def __init__(
        self,
        source: Source,
        name: str,
        contract: Contract,
        clock: Callable[[], float],
        *,
        hop_steps: int | None = None,
        finder: FaceFinder | None = None,
        duration_s: float | None = None,
        pieces: Pieces | None = None,
    ) -> None:
        self.source = source
        self.name = name
        self.live = is_live(source)
        self.state: State = "opening"
        self.failure: AffectError | None = None
        self.session: Session | None = None
        self.media_s = 0.0
        self.estimates = 0
        self.largest_age_ms: float | None = None
        self.last_estimate_s: float | None = None
        self._contract = contract
        self._hop_steps = hop_steps
        self._finder = finder
        self._pieces = pieces
        self._clock = clock
        self._duration_s = duration_s
        self._began_s = clock()
        self._ended_by_duration = False
        self.waited_s = 0.0
        self._events: Iterator[Event] | None = None
        self._ages_ms = np.zeros(_AGES_KEPT)
        self._aged = 0
        self._reached: dict[str, float] = {}
        self._dropped_told = 0
        self._opener: threading.Thread | None = None
        self._open_failure: BaseException | None = None
        self._entered = False

    # -- opening and closing -----------------------------------------------------------------------------------

    def open(self) -> None:
        """Begin to open: a file at once, a live source, which may take for ever, in a thread of its own."""
        if not self.live:
            self._enter()
            return
        self._opener = threading.Thread(target=self._enter, name=f"affectrt-open {self.name}", daemon=True)
        self._opener.start()
        self._opener.join(0.05)

    def opened(self) -> bool:
        """Whether the source is open by now. Raises what opening it raised."""
        if self.state != "opening" or (self._opener is not None and self._opener.is_alive()):
            return self.state == "running"
        if self._open_failure is not None:
            raise self._open_failure
        self.session = Session(
            self._contract,
            modalities=self.source.modalities,
            hop_steps=self._hop_steps,
            source=self.name,
            found_faces=finds_faces(self._finder),
            pieces=self._pieces,
            await_words=not self.live,
        )
        self.state = "running"
        if not self.live:
            self._events = iter(self.source)
        _log.info("%s is open: %s", self.name, ", ".join(sorted(self.source.modalities)))
        return True

    def close(self) -> None:
        """Stop and leave the source; further calls do nothing."""
        self.source.stop()
        if self._opener is not None:
            self._opener.join(_STOP_S)
        if self._entered:
            self._entered = False
            self.source.__exit__(None, None, None)

    def _enter(self) -> None:
        try:
            self.source.__enter__()
            self._entered = True
        except BaseException as error:
            self._open_failure = error

    # -- media in ----------------------------------------------------------------------------------------------

    def read(self, writer: Writer, wait_s: float = 0.0) -> bool:
        """Take what has come (a live source: all of it, else one event); whether there was anything.

        At the end of the source the session is flushed and the stream has ended. An AffectError ends it as failed.
        """
        try:
            taken = self.opened() and (self._read_live(writer, wait_s) if self.live else self._read_next(writer))
        except AffectError as error:
            self._fail(error)
            return True
        reached_s = self._clock() - self._began_s if self.live else self.media_s
        if self._duration_s is not None and reached_s >= self._duration_s:
            self._end_in_time()
        return taken

    def _read_live(self, writer: Writer, wait_s: float) -> bool:
        source, taken = self.source, False
        assert is_live(source)
        began = self._clock()
        event = source.next_event(wait_s)
        self.waited_s += self._clock() - began
        while event is not None:
            taken = True
            self._take(event, writer)
            if self._clock() >= began + wait_s + _TURN_S:
                return True
            event = source.next_event(0.0)
        if source.ended:
            self._finish()
        return taken

    def _read_next(self, writer: Writer) -> bool:
        assert self._events is not None
        event = next(self._events, None)
        if event is None:
            self._finish()
            return False
        self._take(event, writer)
        return True

    def _take(self, event: Event, writer: Writer) -> None:
        assert self.session is not None
        if isinstance(event, (VideoChunk, AudioChunk)):
            writer.open()
        gaps = self.session.gap_count
        feed(self.session, event, self._finder, writer.show if writer.wants_frames else None)
        if isinstance(event, VideoChunk):
            self._came("video", float(event.pts_s[-1]))
        elif isinstance(event, AudioChunk):
            self._came("audio", event.pts_s)
        elif isinstance(event, Gap):
            self._reached.clear()
        if self.session.gap_count > gaps:
            _log.warning("gap in %s: %s", self.name, self.session.gaps[-1])

    def _came(self, modality: str, at_s: float) -> None:
        self.media_s = max(self.media_s, at_s)
        self._reached[modality] = at_s
        if not self.live or self.session is None:
            return
        for other in self.source.modalities:
            if at_s - self._reached.setdefault(other, at_s) > _ABSENT_S:
                self.session.mark_absent(other)

    def _end_in_time(self) -> None:
        if self.state == "opening":
            self._fail(
                MediaError(f"{self.name} gave nothing in {self._duration_s:g} s", expected="a source that answers")
            )
        elif self.state == "running":
            self._ended_by_duration = True
            self._finish()

    def _finish(self) -> None:
        if self.session is not None:
            self.session.flush()
        self.state = "ended"
        self.close()

    def _fail(self, error: AffectError) -> None:
        _log.warning("%s; the stream %s is over", error.found, self.name)
        self._finish()
        self.state, self.failure = "failed", error

    # -- computation and estimates -----------------------------------------------------------------------------

    def pending(self) -> list[Request]:
        """What the session asks for, late runs of the fusion given up first."""
        if self.session is None:
            return []
        late = self._late() if self.live and self.state == "running" else []
        if late:
            self.session.skip(late)
        return self.session.pending()

    def _late(self) -> list[Request]:
        assert self.session is not None
        runs = [r for r in self.session.pending() if r.stage not in self._contract.encoder_stages]
        newest: dict[int, int] = {}
        for run in runs:
            newest[run.track] = max(newest.get(run.track, run.step), run.step)
        hop_s = self.session.hop_steps / self._contract.step_hz
        allowed_s = look_ahead_s(self._contract) + hop_s + LATE_S
        return [
            run
            for run in runs
            if run.step < newest[run.track] and (self._age_s(run.step / self._contract.step_hz) or 0.0) > allowed_s
        ]

    def poll(self) -> list[Estimate]:
        """Estimates since the last call; of a live source with their age and the frames dropped since then."""
        estimates = self.session.poll() if self.session is not None else []
        self.estimates += len(estimates)
        if not estimates:
            return []
        self.last_estimate_s = self._clock()
        if not self.live:
            return estimates
        dropped = int(self.counters().get("frames_dropped", 0))
        fresh, self._dropped_told = dropped - self._dropped_told, dropped
        told = []
        for index, estimate in enumerate(estimates):
            age_s = self._age_s(estimate.t_s)
            quality = replace(estimate.quality, frames_dropped=fresh if index == 0 else 0)
            told.append(replace(estimate, quality=quality, age_ms=None if age_s is None else 1000 * age_s))
            if age_s is not None:
                self._ages_ms[self._aged % _AGES_KEPT] = 1000 * age_s
                self._aged += 1
                self.largest_age_ms = max(self.largest_age_ms or 0.0, 1000 * age_s)
        return told

    def _age_s(self, t_s: float) -> float | None:
        epoch_s = self.source.epoch_s if is_live(self.source) else None
        return None if epoch_s is None else self._clock() - epoch_s - t_s

    # -- what is told ------------------------------------------------------------------------------------------

    def counters(self) -> Mapping[str, int | float]:
        """Those of a live source; none of a file, of which nothing is dropped."""
        return self.source.counters() if is_live(self.source) else {}

    def ages_ms(self) -> dict[str, float]:
        """Age at emission: p50 and p99 of the last 5000 estimates, and the largest of all."""
        if self.largest_age_ms is None:
            return {}
        p50, p99 = np.percentile(self._ages_ms[: self._aged], (50, 99))
        return {"p50": round(float(p50), 1), "p99": round(float(p99), 1), "max": round(self.largest_age_ms, 1)}

    def outcome(self) -> Outcome:
        """How reading ended; an end that `duration_s` asked for is a good one."""
        outcome = self.source.outcome
        if self._ended_by_duration:
            outcome = replace(outcome, notes=tuple(note for note in outcome.notes if note.kind != "stopped"))
        return outcome
