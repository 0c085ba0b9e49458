"""Whether the hardware decoders that are there really decode: in some containers they start and never give a frame."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache

from .elements import hardware_decoders
from .gst import gst
from .registry import GstRegistry

__all__ = ["broken_decoders", "decodes", "distrust_broken_decoders"]

_LIMIT_S = 3.0
_FRAMES = 10
_ENCODERS = {
    "h264": ("x264enc", "openh264enc", "nvv4l2h264enc", "nvh264enc"),
    "h265": ("x265enc", "nvv4l2h265enc", "nvh265enc"),
    "jpeg": ("jpegenc",),
}


@cache
def distrust_broken_decoders() -> tuple[str, ...]:
    """Once in a process: hardware decoders that fail are ranked so that software takes their place; their names."""
    broken = broken_decoders(hardware_decoders(GstRegistry()), decodes)
    registry = gst().Registry.get()
    for name in broken:
        registry.lookup_feature(name).set_rank(gst().Rank.NONE)
    return broken


def broken_decoders(names: Sequence[str], works: Callable[[str], bool | None]) -> tuple[str, ...]:
    """Those that are known not to work; of which nothing is known (None) is trusted."""
    return tuple(name for name in names if works(name) is False)


def decodes(decoder: str) -> bool | None:
    """Whether it gives frames for ten that are encoded here, within 3 s; None where they cannot be encoded."""
    lib = gst()
    kind = next((kind for kind in _ENCODERS if kind in decoder), "h264")
    encoder = next((name for name in _ENCODERS[kind] if lib.ElementFactory.find(name) is not None), None)
    parser = "jpegparse" if kind == "jpeg" else f"{kind}parse"
    if encoder is None or lib.ElementFactory.find(parser) is None:
        return None
    line = (
        f"videotestsrc num-buffers={_FRAMES} ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 ! "
        f"{encoder} ! {parser} ! {decoder} ! appsink name=out sync=false max-buffers={_FRAMES} wait-on-eos=false"
    )
    try:
        pipeline = lib.parse_launch(line)
    except Exception:  # GLib.Error: not to be linked is not to be used
        return False
    pipeline.set_state(lib.State.PLAYING)
    sink, until, frames = pipeline.get_by_name("out"), time.monotonic() + _LIMIT_S, 0
    while frames < _FRAMES and time.monotonic() < until:
        frames += sink.try_pull_sample(100_000_000) is not None
        if sink.is_eos():
            break
    pipeline.set_state(lib.State.NULL)
    return frames >= _FRAMES // 2
