"""Pictures → MP4 or MKV, playable at any moment: a process that is killed loses about the last second."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from affectrt.bundle.errors import AffectError, MissingDependency, UsageError

from ..faces import Frame
from ..sources.gst import gst
from .encoders import choose_encoder, description
from .lines import check_place

__all__ = ["MUXERS", "VideoFile"]

MUXERS = {
    # Each fragment has its own index, so that no end is needed to play what there is.
    ".mp4": "mp4mux fragment-duration=1000",
    # A cluster a second, for the same reason.
    ".mkv": "matroskamux min-cluster-duration=500000000 max-cluster-duration=1000000000",
}
_WAITING = 4  # pictures that may wait for the encoder
_STALL_S = 30.0
_SLICE_NS = 20_000_000


class VideoFile:
    """Takes RGB pictures of one even size with increasing times; encoding happens in GStreamer's threads.

    The file's clock begins with its first picture.

    The file is written under its own name from the first picture on. Nothing of an existing one is touched before.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        check_place(path, overwrite=overwrite)
        self.path = path
        self.encoder = ""
        self._overwrite = overwrite
        self._pipeline: Any = None
        self._source: Any = None
        self._picture_bytes = 0
        self._begin_s: float | None = None

    @property
    def opened(self) -> bool:
        return self._pipeline is not None

    @property
    def busy(self) -> bool:
        """Whether so many pictures wait for the encoder that `push` would have to wait too."""
        return bool(self._source.get_property("current-level-bytes") >= _WAITING * self._picture_bytes)

    def open(self, width: int, height: int) -> None:
        """UsageError when the place cannot be written, MissingDependency when no encoder is installed."""
        if width % 2 or height % 2:
            raise ValueError(f"a picture of {width}x{height}: colour is stored at half resolution, both must be even")
        lib = gst()
        suffix = self.path.suffix.lower()
        encoder = choose_encoder(suffix)
        self._reserve()
        self.encoder = encoder.element
        self._picture_bytes = height * _row_bytes(width)
        parts = (
            "appsrc name=pictures format=time max-bytes=0 block=false "
            f"caps=video/x-raw,format=RGB,width={width},height={height},framerate={encoder.rate},pixel-aspect-ratio=1/1",
            "queue max-size-buffers=1 max-size-bytes=0 max-size-time=0",
            description(encoder),
            MUXERS[suffix],
            "filesink name=file buffer-mode=unbuffered sync=false async=false",
        )
        try:
            self._pipeline = lib.parse_launch(" ! ".join(parts))
        except Exception as error:  # GLib.Error, whose class is known only once gi is loaded
            raise MissingDependency(
                f"a GStreamer element is missing: {error}", fix="sudo apt install gstreamer1.0-plugins-good"
            ) from error
        self._pipeline.get_by_name("file").set_property("location", str(self.path))
        self._source = self._pipeline.get_by_name("pictures")
        self._pipeline.set_state(lib.State.PLAYING)

    def push(self, picture: Frame, at_s: float, lasts_s: float) -> None:
        """Hand one picture over; waits while the encoder is busy. AffectError when it fails, or takes 30 s."""
        lib = gst()
        deadline = time.monotonic() + _STALL_S
        while self.busy:
            self._look(_SLICE_NS)
            if time.monotonic() > deadline:
                raise self._failed(f"the encoder {self.encoder} took nothing for {_STALL_S:.0f} s")
        self._look(0)
        self._begin_s = at_s if self._begin_s is None else self._begin_s
        buffer = lib.Buffer.new_wrapped(_padded(picture))
        buffer.pts = round((at_s - self._begin_s) * 1e9)
        buffer.duration = round(lasts_s * 1e9)
        if self._source.emit("push-buffer", buffer) != lib.FlowReturn.OK:
            self._look(1_000_000_000)
            raise self._failed("GStreamer refused a picture without giving a reason")

    def close(self) -> None:
        """Finish the file. AffectError when its end could not be written; what is there stays playable."""
        if self._pipeline is None:
            return
        deadline = time.monotonic() + _STALL_S
        try:
            self._source.emit("end-of-stream")
            while not self._look(_SLICE_NS):
                if time.monotonic() > deadline:
                    raise self._failed(f"the encoder {self.encoder} did not finish within {_STALL_S:.0f} s")
        finally:
            self._drop()

    def _drop(self) -> None:
        if self._pipeline is not None:
            self._pipeline.set_state(gst().State.NULL)
            self._pipeline = self._source = None

    def _reserve(self) -> None:
        """Make the empty file, so that one which appeared meanwhile is not replaced."""
        check_place(self.path, overwrite=self._overwrite)
        try:
            with self.path.open("wb" if self._overwrite else "xb"):
                pass
        except OSError as error:
            raise UsageError(f"{self.path} cannot be written: {error.strerror}", fix="choose another name") from None

    def _look(self, wait_ns: int) -> bool:
        """Read what GStreamer says; True once the end is written. AffectError for a failure."""
        kinds = gst().MessageType
        message = self._pipeline.get_bus().timed_pop_filtered(wait_ns, kinds.ERROR | kinds.EOS)
        if message is None:
            return False
        if message.type == kinds.EOS:
            return True
        error, detail = message.parse_error()
        # Why a write failed ("File too large") stands in the detail alone, at its end.
        last = (detail or "").strip().rpartition("\n")[2]
        why = last.rpartition(": ")[2] if last.startswith("Error while writing") else ""
        raise self._failed(why or str(error.message))

    def _failed(self, why: str) -> AffectError:
        self._drop()
        return AffectError(
            f"{self.path} cannot be written: {why}",
            expected="room on the disk and an encoder that keeps up",
            fix="what was written before stays playable",
        )


def _row_bytes(width: int) -> int:
    return -(-width * 3 // 4) * 4


def _padded(picture: Frame) -> bytes:
    """The picture's bytes as GStreamer lays them out: rows padded to 4 bytes."""
    height, width = picture.shape[:2]
    spare = _row_bytes(width) - width * 3
    if not spare:
        return picture.tobytes()
    return b"".join(row.tobytes() + bytes(spare) for row in picture.reshape(height, width * 3))
