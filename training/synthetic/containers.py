"""Which GStreamer elements make which container, and the packages that bring them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from affectrt.bundle.errors import MissingDependency

__all__ = ["AAC", "AAC_RATE_HZ", "CONTAINERS", "H264", "KEY_FRAME_EVERY", "Encoder", "choose_encoder", "need_element"]

KEY_FRAME_EVERY = 25
AAC_RATE_HZ = 48_000


@dataclass(frozen=True)
class Encoder:
    """`delay`: samples at 48 kHz by which the decoded sound comes late, because the container cannot say so (measured).

    `tail`: silent samples at 48 kHz that must follow, because the encoder keeps the last ones to itself.
    """

    element: str
    settings: str
    package: str
    delay: int = 0
    tail: int = 0


H264 = (
    Encoder(
        "x264enc",
        f"pass=quant quantizer=23 speed-preset=veryfast tune=zerolatency threads=1 key-int-max={KEY_FRAME_EVERY}",
        "gstreamer1.0-plugins-ugly",
    ),
    Encoder(
        "openh264enc",
        f"rate-control=quality qp-min=18 qp-max=26 gop-size={KEY_FRAME_EVERY} ! h264parse",
        "gstreamer1.0-plugins-bad",
    ),
)
VP8 = (Encoder("vp8enc", f"deadline=1 cpu-used=8 cq-level=10 end-usage=cq target-bitrate=2000000 "
                f"keyframe-max-dist={KEY_FRAME_EVERY}", "gstreamer1.0-plugins-good"),)  # fmt: skip
AAC = (
    Encoder("avenc_aac", "bitrate=128000", "gstreamer1.0-libav", delay=1024),
    Encoder("voaacenc", "bitrate=128000", "gstreamer1.0-plugins-bad", delay=1600, tail=1600 + 1024),
)
OPUS = (Encoder("opusenc", "bitrate=96000", "gstreamer1.0-plugins-base"),)
VORBIS = (Encoder("vorbisenc", "quality=0.6", "gstreamer1.0-plugins-base"),)
PCM = (Encoder("identity", "", "gstreamer1.0-plugins-base"),)

# suffix: pictures, sound, muxer and its package
CONTAINERS: dict[str, tuple[tuple[Encoder, ...], tuple[Encoder, ...], str]] = {
    ".mp4": (H264, AAC, "mp4mux"),
    ".mkv": (H264, OPUS, "matroskamux"),
    ".webm": (VP8, VORBIS, "webmmux"),
    ".wav": ((), PCM, "wavenc"),
}


def choose_encoder(gst: Any, encoders: tuple[Encoder, ...], what: str) -> Encoder:
    for encoder in encoders:
        if gst.ElementFactory.find(encoder.element) is not None:
            return encoder
    raise MissingDependency(
        f"no {what} encoder among GStreamer's plugins",
        expected="one of " + ", ".join(f"{e.element} ({e.package})" for e in encoders),
        fix=f"sudo apt-get install {encoders[0].package}",
    )


def need_element(gst: Any, element: str, package: str) -> None:
    if gst.ElementFactory.find(element) is None:
        raise MissingDependency(f"GStreamer element {element} is missing", fix=f"sudo apt-get install {package}")
