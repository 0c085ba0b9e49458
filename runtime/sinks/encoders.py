"""Which element encodes pictures on this machine: NVIDIA's where one works, software otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from affectrt.bundle.errors import MissingDependency

from ..sources.gst import gst

__all__ = ["ENCODERS", "KEY_FRAME_EVERY", "Encoder", "choose_encoder", "description"]

# A fragment begins with a key frame: what a killed run loses is what came after its last one.
KEY_FRAME_EVERY = 25
_BITS_PER_S = 4_000_000


@dataclass(frozen=True)
class Encoder:
    """An element, what must stand around it, and settings as far as the installed version knows them."""

    element: str
    settings: tuple[tuple[str, str], ...]
    package: str
    before: str = "videoconvert ! video/x-raw,format=I420"
    after: str = ""
    suffixes: tuple[str, ...] = (".mp4", ".mkv")
    # What is announced; each picture carries its own time. 0/1 says that the rate varies.
    rate: str = "0/1"

    @property
    def needs(self) -> tuple[str, ...]:
        """Every element that it takes."""
        named = [
            part.split()[0] for part in f"{self.before} ! {self.element} ! {self.after}".split("!") if part.strip()
        ]
        return tuple(name for name in named if "/" not in name)


# In order of preference. NVIDIA's are chosen by what the registry and the device say; none was at hand to measure.
ENCODERS = (
    Encoder(
        "nvv4l2h264enc",
        (("bitrate", str(_BITS_PER_S)), ("idrinterval", str(KEY_FRAME_EVERY)), ("insert-sps-pps", "true")),
        "nvidia-l4t-gstreamer",
        before="videoconvert ! video/x-raw,format=I420 ! nvvidconv ! video/x-raw(memory:NVMM),format=NV12",
        after="h264parse",
    ),
    Encoder(
        "nvh264enc",
        (("bitrate", str(_BITS_PER_S // 1000)), ("gop-size", str(KEY_FRAME_EVERY)), ("zerolatency", "true")),
        "gstreamer1.0-plugins-bad",
        before="videoconvert ! video/x-raw,format=NV12",
        after="h264parse",
    ),
    Encoder(
        "x264enc",
        (
            ("pass", "quant"),
            ("quantizer", "21"),
            ("speed-preset", "superfast"),
            ("tune", "zerolatency"),
            ("key-int-max", str(KEY_FRAME_EVERY)),
        ),
        "gstreamer1.0-plugins-ugly",
        after="video/x-h264,profile=main",
    ),
    Encoder(
        "openh264enc",
        (
            ("rate-control", "quality"),
            ("qp-min", "16"),
            ("qp-max", "24"),
            ("bitrate", str(_BITS_PER_S)),
            ("gop-size", str(KEY_FRAME_EVERY)),
        ),
        "gstreamer1.0-plugins-bad",
        after="h264parse",
        rate="25/1",  # without one the last picture of an MP4 has no duration, and is not shown
    ),
    Encoder(
        "vp8enc",
        (
            ("deadline", "1"),
            ("cpu-used", "8"),
            ("end-usage", "cq"),
            ("cq-level", "10"),
            ("target-bitrate", str(_BITS_PER_S)),
            ("keyframe-max-dist", str(KEY_FRAME_EVERY)),
        ),
        "gstreamer1.0-plugins-good",
        suffixes=(".mkv",),
    ),
)


def choose_encoder(suffix: str) -> Encoder:
    """The first that is installed, opens its device, and may be put into that container.

    MissingDependency names the packages when there is none.
    """
    fitting = [encoder for encoder in ENCODERS if suffix in encoder.suffixes]
    for encoder in fitting:
        if all(gst().ElementFactory.find(name) is not None for name in encoder.needs) and _opens(encoder.element):
            return encoder
    software = [encoder for encoder in fitting if not encoder.element.startswith("nv")]
    raise MissingDependency(
        f"GStreamer has no encoder for {suffix} files",
        expected="one of " + ", ".join(f"{e.element} ({e.package})" for e in software),
        fix="name the sink NAME.mkv, or: sudo apt install gstreamer1.0-plugins-ugly",
    )


def description(encoder: Encoder) -> str:
    """The part of a pipeline that makes an encoded stream of RGB pictures.

    Settings that the installed version does not have are left out: NVIDIA renames them from release to release.
    """
    element = gst().ElementFactory.make(encoder.element, None)
    known = [f"{name}={value}" for name, value in encoder.settings if element.find_property(name) is not None]
    parts = [encoder.before, " ".join([encoder.element, *known]), encoder.after]
    return " ! ".join(part for part in parts if part)


def _opens(name: str) -> bool:
    """Whether the element gets at its device; to be in the registry is no proof of that."""
    lib = gst()
    element: Any = lib.ElementFactory.make(name, None)
    opened = element is not None and element.set_state(lib.State.READY) != lib.StateChangeReturn.FAILURE
    if element is not None:
        element.set_state(lib.State.NULL)
    return opened
