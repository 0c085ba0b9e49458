"""Pictures and samples → a real media file, through GStreamer.

    .mp4   H.264 + AAC      .mkv   H.264 + Opus      .webm  VP8 + Vorbis      .wav   PCM, no pictures

Pictures and sound share one clock: sample n belongs to media time n / sample_rate. The file appears under its own name
only when it is complete.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from affectrt.bundle.errors import MediaError, MissingDependency, UsageError
from affectrt.runtime.sources.gst import bind_unwinder

from .containers import AAC_RATE_HZ, CONTAINERS, Encoder, choose_encoder, need_element
from .mp4 import forget_creation_time

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["write_clip"]

Image = npt.NDArray[np.uint8]

STALL_S = 30.0  # a pipeline that accepts or finishes nothing for so long is given up
QUEUED_BYTES = 8 << 20
AUDIO_CHUNK_S = 0.1


def _gst() -> Any:
    bind_unwinder()
    try:
        import gi

        gi.require_version("Gst", "1.0")
        from gi.repository import Gst
    except (ImportError, ValueError) as error:
        raise MissingDependency(
            f"GStreamer's Python binding cannot be loaded: {error}",
            expected="the distribution's python3-gi and python3-gst-1.0, seen from this interpreter",
            fix="sudo apt-get install python3-gi python3-gst-1.0 gir1.2-gstreamer-1.0",
        ) from error
    Gst.init(None)
    return Gst


class _Writer:
    """A running pipeline that never blocks for ever: every wait also watches the bus and the clock."""

    def __init__(self, gst: Any, description: str, part: Path) -> None:
        self.gst = gst
        self.pipeline = gst.parse_launch(description)
        self.pipeline.get_by_name("file").set_property("location", str(part))
        self.bus = self.pipeline.get_bus()

    def __enter__(self) -> _Writer:
        self.pipeline.set_state(self.gst.State.PLAYING)
        return self

    def __exit__(self, *_: object) -> None:
        self.pipeline.set_state(self.gst.State.NULL)

    def _check(self, wait_s: float, *, until_end: bool = False) -> bool:
        kinds = self.gst.MessageType.ERROR | self.gst.MessageType.EOS
        message = self.bus.timed_pop_filtered(int(wait_s * 1e9), kinds)
        if message is not None and message.type == self.gst.MessageType.ERROR:
            error, detail = message.parse_error()
            where = message.src.get_name() if message.src else "GStreamer"
            last = (detail or "").strip().rpartition("\n")[2]
            raise MediaError(f"encoding failed in {where}: {error.message} ({last})")
        return until_end and message is not None

    def push(self, source: str, data: bytes, pts_ns: int, duration_ns: int) -> None:
        element = self.pipeline.get_by_name(source)
        deadline = time.monotonic() + STALL_S
        while element.get_property("current-level-bytes") > QUEUED_BYTES:
            self._check(0.005)
            if time.monotonic() > deadline:
                raise MediaError(f"the encoder took no data for {STALL_S:.0f} s")
        buffer = self.gst.Buffer.new_wrapped(data)
        buffer.pts = pts_ns
        buffer.duration = duration_ns
        if element.emit("push-buffer", buffer) != self.gst.FlowReturn.OK:
            self._check(1.0)
            raise MediaError("the encoder refused data without giving a reason")

    def finish(self, sources: Sequence[str]) -> None:
        for source in sources:
            self.pipeline.get_by_name(source).emit("end-of-stream")
        deadline = time.monotonic() + STALL_S
        while not self._check(0.1, until_end=True):
            if time.monotonic() > deadline:
                raise MediaError(f"the encoder did not finish within {STALL_S:.0f} s")


def _timed(frames: Iterable[Image], fps: float, pts_s: Sequence[float] | None) -> Iterator[tuple[Image, int, int]]:
    """Each picture with its time and duration in nanoseconds; the last one of a given list lasts 1 / fps."""
    if pts_s is None:
        for index, frame in enumerate(frames):
            begin, end = (round(at * 1e9 / fps) for at in (index, index + 1))
            yield frame, begin, end - begin
        return
    times = [round(t * 1e9) for t in pts_s]
    if any(b <= a for a, b in pairwise(times)) or (times and times[0] < 0):
        raise UsageError("the pictures' times must start at 0 or later and increase", expected="pts_s in seconds")
    ends = [*times[1:], (times[-1] if times else 0) + round(1e9 / fps)]
    given = 0
    for given, frame in enumerate(frames, 1):
        if given > len(times):
            break
        yield frame, times[given - 1], ends[given - 1] - times[given - 1]
    if given != len(times):
        raise UsageError(f"{len(times)} times do not fit the pictures", expected="one time per picture")


def _check_frame(frame: Image, shape: tuple[int, ...], even: bool) -> None:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.shape != shape:
        raise UsageError(
            f"a picture is {frame.dtype} {frame.shape}", expected=f"uint8 (height, width, 3) RGB, all {shape}"
        )
    if even and (shape[0] % 2 or shape[1] % 2):
        raise UsageError(
            f"pictures of {shape[1]}x{shape[0]} pixels cannot be encoded",
            expected="an even width and height, because colour is stored at half resolution",
            fix="choose an even size_px",
        )


def _description(
    gst: Any, suffix: str, shape: tuple[int, ...] | None, fps_caps: str, sound: Encoder | None, rate: int
) -> str:
    pictures, _, muxer = CONTAINERS[suffix]
    need_element(gst, muxer, "gstreamer1.0-plugins-good")
    lines = [f"{muxer} name=mux ! filesink name=file"]
    deep = "queue max-size-buffers=0 max-size-bytes=0 max-size-time=0"  # so that neither branch can block the other
    if shape is not None:
        encoder = choose_encoder(gst, pictures, "picture")
        lines.append(
            "appsrc name=pictures format=time max-bytes=0 "
            f"caps=video/x-raw,format=RGB,width={shape[1]},height={shape[0]},framerate={fps_caps}"
            ",pixel-aspect-ratio=1/1 "
            "! queue max-size-buffers=4 ! videoconvert ! video/x-raw,format=I420 "
            f"! {encoder.element} {encoder.settings} ! {deep} ! mux."
        )
    if sound is not None:
        raw = f"audio/x-raw,format={'S16LE' if muxer == 'wavenc' else 'F32LE'}"
        target = "" if muxer == "wavenc" else f"! audioresample quality=8 ! audio/x-raw,rate={AAC_RATE_HZ},channels=1 "
        lines.append(
            f"appsrc name=sound format=time max-bytes=0 caps={raw},rate={rate},channels=1,layout=interleaved "
            f"! audioconvert {target}! {sound.element} {sound.settings} ! {deep} ! mux."
        )
    return " ".join(lines)


def write_clip(
    path: Path,
    frames: Iterable[Image] | None,
    *,
    fps: float = 25.0,
    samples: npt.NDArray[np.float32] | None = None,
    sample_rate_hz: int = 16_000,
    pts_s: Sequence[float] | None = None,
) -> None:
    """Writes `path`; its suffix chooses the container.

    `frames`: RGB pictures, all of one even size, or None for sound alone. `samples`: mono in [-1, 1], or None for
    pictures alone. `pts_s`: one time per picture for a variable frame rate; otherwise picture i is shown at i / fps.
    Raises `UsageError`, `MissingDependency` (naming the package) or `MediaError`; then no file is left behind.
    """
    suffix = path.suffix.lower()
    if suffix not in CONTAINERS:
        raise UsageError(f"{path.name}: container {suffix or '(none)'} is not known", expected=", ".join(CONTAINERS))
    if frames is not None and suffix == ".wav":
        raise UsageError(f"{path.name}: a .wav file holds no pictures", fix="write .mp4, or pass no frames")
    if samples is not None and (samples.ndim != 1 or not np.isfinite(samples).all()):
        raise UsageError(f"{path.name}: samples of shape {samples.shape}", expected="one channel of finite numbers")
    if not 0 < fps <= 1000:
        raise UsageError(f"{path.name}: {fps} pictures a second", expected="more than 0, at most 1000")
    gst = _gst()
    timed = iter(()) if frames is None else _timed(frames, fps, pts_s)
    first = next(timed, None)
    if first is None and (samples is None or not samples.size):
        raise UsageError(f"{path.name}: there are neither pictures nor samples to write")
    shape = None if first is None else first[0].shape
    if first is not None:
        _check_frame(first[0], first[0].shape, even=True)
    sound = None if samples is None or not samples.size else choose_encoder(gst, CONTAINERS[suffix][1], "sound")
    rate = Fraction(0 if pts_s is not None else fps).limit_denominator(1001)  # 0/1 says "variable"
    description = _description(gst, suffix, shape, f"{rate.numerator}/{rate.denominator}", sound, sample_rate_hz)

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}{suffix}")
    try:
        with _Writer(gst, description, part) as writer:
            pieces = (
                _sound_pieces(samples, sample_rate_hz, sound, suffix) if samples is not None and sound else iter(())
            )
            piece = next(pieces, None)
            while first is not None or piece is not None:
                # in time order, so that neither stream has to wait for the other
                if first is not None and (piece is None or first[1] <= piece[1]):
                    _check_frame(first[0], shape or first[0].shape, even=True)
                    writer.push("pictures", _padded_rows(first[0]), first[1], first[2])
                    first = next(timed, None)
                elif piece is not None:
                    writer.push("sound", *piece)
                    piece = next(pieces, None)
            writer.finish([name for name, used in (("pictures", shape), ("sound", sound)) if used is not None])
        if suffix == ".mp4":
            forget_creation_time(part)
        part.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()


def _padded_rows(frame: Image) -> bytes:
    """GStreamer starts every RGB row at a multiple of four bytes."""
    spare = -frame.shape[1] * 3 % 4
    return (np.pad(frame.reshape(frame.shape[0], -1), ((0, 0), (0, spare))) if spare else frame).tobytes()


def _sound_pieces(
    samples: npt.NDArray[np.float32], rate: int, encoder: Encoder, suffix: str
) -> Iterator[tuple[bytes, int, int]]:
    """Chunks with time and duration in ns. What the encoder's delay would push back is cut off the front."""
    lead = round(encoder.delay * rate / AAC_RATE_HZ)
    sound = np.pad(samples[lead:], (0, round(encoder.tail * rate / AAC_RATE_HZ)))
    chunk = max(1, round(AUDIO_CHUNK_S * rate))
    for begin in range(0, sound.size, chunk):
        piece = np.clip(sound[begin : begin + chunk], -1, 1)
        data = np.rint(piece * 32767).astype("<i2") if suffix == ".wav" else piece.astype("<f4")
        at, until = (round(n * 1e9 / rate) for n in (begin, begin + piece.size))
        yield data.tobytes(), at, until - at
