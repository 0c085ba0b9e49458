"""How a run of several streams is doing, as plain data: for people on standard error, for watchdogs in a file."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from affectrt.bundle.errors import UsageError

from .sinks import Sink
from .sinks.queued import QueuedSink
from .stream import Stream
from .writer import Writer

__all__ = ["HealthFile", "Pulse", "Status"]

_log = logging.getLogger(__name__)

Status = Literal["running", "ended", "stopped", "failed"]

_STATS_EVERY_S = 10.0
_HEALTH_EVERY_S = 1.0


class HealthFile:
    """A JSON file that is replaced whole each time; UsageError when `path` cannot be one."""

    def __init__(self, path: Path) -> None:
        if path.is_dir() or not path.parent.is_dir():
            raise UsageError(
                f"{path} cannot become a health file", expected="the path of a file in a folder that exists"
            )
        self.path = path
        self._failed = False

    def write(self, record: dict[str, Any]) -> None:
        """A run does not end for want of this file; that it cannot be written is told once."""
        part = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        try:
            part.write_text(json.dumps(record, allow_nan=False) + "\n")
            part.replace(self.path)
            self._failed = False
        except OSError as error:
            part.unlink(missing_ok=True)
            if not self._failed:
                _log.warning("%s cannot be written: %s", self.path, error.strerror)
            self._failed = True


class Pulse:
    """Tells how the run is doing, `stats` every 10 s and `health` every second of `clock`, and both at the end."""

    def __init__(
        self,
        streams: Sequence[Stream],
        sinks: Sequence[Sink],
        writer: Writer,
        clock: Callable[[], float],
        *,
        stats: Callable[[dict[str, Any]], None] | None = None,
        health: HealthFile | None = None,
    ) -> None:
        self._streams = streams
        self._sinks = sinks
        self._writer = writer
        self._clock = clock
        self._stats = stats
        self._health = health
        self._began_s = clock()
        self._next_stats_s = self._began_s + _STATS_EVERY_S
        self._next_health_s = self._began_s

    def beat(self) -> None:
        """Tell what is due."""
        now = self._clock()
        if self._health is not None and now >= self._next_health_s:
            self._next_health_s = now + _HEALTH_EVERY_S
            self._health.write(self.record("running"))
        if self._stats is not None and now >= self._next_stats_s:
            self._next_stats_s = now + _STATS_EVERY_S
            self._stats(self.record("running"))

    def end(self, status: Status) -> None:
        """The last word."""
        record = self.record(status)
        if self._health is not None:
            self._health.write(record)
        if self._stats is not None:
            self._stats(record)

    def record(self, status: Status) -> dict[str, Any]:
        """`time` and `last_estimate` are seconds since 1970, `times_real_time` is media over time not spent waiting."""
        now, wall = self._clock(), time.time()
        last = max((s.last_estimate_s for s in self._streams if s.last_estimate_s is not None), default=None)
        busy_s = now - self._began_s - sum(stream.waited_s for stream in self._streams)
        media_s = sum(stream.media_s for stream in self._streams)
        return {
            "status": status,
            "time": round(wall, 3),
            "uptime_s": round(now - self._began_s, 3),
            "estimates": self._writer.count,
            "last_estimate": None if last is None else round(wall - (now - last), 3),
            "times_real_time": round(media_s / busy_s, 2) if busy_s > 0 else None,
            "streams": [_stream_record(stream) for stream in self._streams],
            "sinks": [
                {
                    "name": sink.name,
                    "queued": sink.queued,
                    "dropped": sink.dropped,
                    **({"frames_left_out": sink.left_out} if sink.wants_frames else {}),
                }
                for sink in self._sinks
                if isinstance(sink, QueuedSink)
            ],
            "failed_sinks": list(self._writer.failures),
        }


def _stream_record(stream: Stream) -> dict[str, Any]:
    session, ages = stream.session, stream.ages_ms()
    return {
        "source": stream.name,
        "state": stream.state,
        "problem": stream.failure.found if stream.failure is not None else getattr(stream.source, "problem", None),
        "media_s": round(stream.media_s, 3),
        "estimates": stream.estimates,
        "faces": sum(track >= 0 for track in session.tracks) if session is not None else 0,
        "gaps": session.gap_count if session is not None else 0,
        "skipped_steps": session.skipped_steps if session is not None else 0,
        "age_ms": ages or None,
        **(session.text_counters if session is not None else {}),
        **{name: round(value, 3) for name, value in stream.counters().items() if name != "gaps"},
    }
