"""Small media files with known content, encoded by GStreamer while a test runs."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

__all__ = ["cut", "flash_and_beep", "rotate_mp4", "write_media"]

Frames = npt.NDArray[np.uint8]
Samples = npt.NDArray[np.float32]

FORMATS = {
    # suffix: (video encoder, audio encoder, muxer)
    ".mp4": (
        "x264enc bframes=2 b-adapt=false key-int-max=25 speed-preset=ultrafast ! video/x-h264,profile=main",
        "avenc_aac",
        "mp4mux",
    ),
    ".mkv": ("x264enc key-int-max=25 speed-preset=ultrafast ! video/x-h264,profile=main", "opusenc", "matroskamux"),
    ".webm": ("vp8enc deadline=1 cpu-used=8 keyframe-max-dist=25", "vorbisenc", "webmmux"),
    ".wav": ("", "", "wavenc"),
}


def write_media(
    path: Path,
    *,
    frames: Frames | None = None,
    pts_s: Sequence[float] | npt.NDArray[np.float64] | None = None,
    fps: int = 25,
    samples: Samples | None = None,
    rate_hz: int = 48_000,
    audio_from_s: float = 0.0,
    audio_clock_hz: float | None = None,
    audio_encoder: str | None = None,
    muxer_options: str = "",
) -> Path:
    """Encode RGB frames (N, height, width, 3) and a mono waveform into the container that the suffix names.

    `audio_clock_hz` is how many samples really came in a second, where that is not what the header says; encoders
    smooth such timestamps, raw samples (`audio_encoder`) keep them.
    """
    gi = pytest.importorskip("gi")
    gi.require_version("Gst", "1.0")
    from gi.repository import Gst

    Gst.init(None)
    video, audio, muxer = FORMATS[path.suffix]
    audio = audio if audio_encoder is None else audio_encoder
    parts = [f"{muxer} name=mux {muxer_options} ! filesink name=out"]
    if frames is not None:
        _, height, width, _ = frames.shape
        # The rate is only announced; each buffer carries its own time. 0/1 means that it varies.
        rate = f"{fps}/1" if pts_s is None else "0/1"
        parts.append(
            f"appsrc name=video format=time max-bytes=0 caps=video/x-raw,format=RGB,width={width},height={height},"
            f"framerate={rate},pixel-aspect-ratio=1/1 ! videoconvert ! video/x-raw,format=I420 ! {video} ! queue ! mux."
        )
    if samples is not None:
        encoder = f"{audio} ! " if audio else ""
        parts.append(
            f"appsrc name=audio format=time max-bytes=0 caps=audio/x-raw,format=F32LE,rate={rate_hz},channels=1,"
            f"layout=interleaved ! audioconvert ! {encoder} queue ! mux."
        )
    _require(" ".join(parts))
    pipeline = Gst.parse_launch(" ".join(parts))
    pipeline.get_by_name("out").set_property("location", str(path))
    pipeline.set_state(Gst.State.PLAYING)
    if frames is not None:
        times = np.arange(len(frames)) / fps if pts_s is None else np.asarray(pts_s)
        lasts = np.append(np.diff(times), 1 / fps)
        source = pipeline.get_by_name("video")
        for frame, at, duration in zip(_padded(frames), times, lasts, strict=True):
            _push(Gst, source, frame.tobytes(), at, duration)
        source.emit("end-of-stream")
    if samples is not None:
        source = pipeline.get_by_name("audio")
        step = rate_hz // 50
        for start in range(0, len(samples), step):
            chunk = samples[start : start + step]
            clock_hz = audio_clock_hz or rate_hz
            _push(Gst, source, chunk.tobytes(), audio_from_s + start / clock_hz, len(chunk) / clock_hz)
        source.emit("end-of-stream")
    message = pipeline.get_bus().timed_pop_filtered(60 * Gst.SECOND, Gst.MessageType.EOS | Gst.MessageType.ERROR)
    pipeline.set_state(Gst.State.NULL)
    assert message is not None, "encoding did not end"
    assert message.type == Gst.MessageType.EOS, message.parse_error()
    return path


def flash_and_beep(
    seconds: float, *, fps: int = 25, size: tuple[int, int] = (96, 128), rate_hz: int = 48_000, every_s: float = 1.0
) -> tuple[Frames, Samples, npt.NDArray[np.float64]]:
    """Black frames and silence; at 0.4 s and every second after, two white frames and a 1 kHz beep of 80 ms."""
    frames = np.zeros((round(seconds * fps), *size, 3), np.uint8)
    samples = np.zeros(round(seconds * rate_hz), np.float32)
    times = np.arange(0.4, seconds - 0.2, every_s)
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(round(0.08 * rate_hz)) / rate_hz)
    for at in times:
        frames[round(at * fps) : round(at * fps) + 2] = 255
        samples[round(at * rate_hz) :][: len(tone)] = tone
    return frames, samples, times


def cut(path: Path, part: float, to: Path) -> Path:
    """The first `part` (0 … 1) of a file's bytes."""
    content = path.read_bytes()
    to.write_bytes(content[: int(len(content) * part)])
    return to


def rotate_mp4(path: Path, to: Path) -> Path:
    """The same MP4 with a matrix in its track header that says: show it turned by 90° clockwise, as phones write."""
    content = bytearray(path.read_bytes())
    at = content.find(b"tkhd")
    assert at > 0
    # ISO/IEC 14496-12: version 0 header, the matrix stands 44 bytes after the box's type and flags begin.
    matrix = at + 4 + 40
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)
    to.write_bytes(bytes(content))
    return to


def _padded(frames: Frames) -> Frames:
    """RGB rows as GStreamer lays them out: padded to 4 bytes."""
    count, height, width, _ = frames.shape
    rows = np.zeros((count, height, -(-width * 3 // 4) * 4), np.uint8)
    rows[:, :, : width * 3] = frames.reshape(count, height, width * 3)
    return rows


def _push(gst: object, source: object, content: bytes, at_s: float, duration_s: float) -> None:
    buffer = gst.Buffer.new_wrapped(content)  # type: ignore[attr-defined]
    buffer.pts = round(at_s * 1e9)
    buffer.duration = round(duration_s * 1e9)
    assert source.emit("push-buffer", buffer) is not None  # type: ignore[attr-defined]


def _require(description: str) -> None:
    """Skip the test when an encoder of the pipeline is not installed."""
    from gi.repository import Gst

    for element in ("x264enc", "avenc_aac", "opusenc", "vp8enc", "vorbisenc"):
        if element in description and Gst.ElementFactory.find(element) is None:
            pytest.skip(f"GStreamer has no {element}")
