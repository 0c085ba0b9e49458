"""Decodes a media file with GStreamer alone, so that what writes files is not tested by what reads them."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

__all__ = ["Decoded", "decode"]

RATE_HZ = 48_000


@dataclass
class Decoded:
    """`pictures`: each (height, width), grey; `picture_s`: running times; `samples`: mono, 48 kHz, from `sound_s`."""

    pictures: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    picture_s: list[float] = field(default_factory=list)
    samples: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    sound_s: float = 0.0


def decode(path: Path, limit_s: float = 30.0) -> Decoded:
    gi = pytest.importorskip("gi")
    gi.require_version("Gst", "1.0")
    from gi.repository import Gst

    Gst.init(None)
    pipeline, source = Gst.Pipeline.new(), Gst.ElementFactory.make("uridecodebin")
    source.set_property("uri", path.resolve().as_uri())
    pipeline.add(source)
    decoded = Decoded()
    sounds: list[tuple[float, bytes]] = []
    sinks: dict[str, Any] = {}
    branches = {
        "video": "videoconvert ! video/x-raw,format=GRAY8 ! appsink name=sink sync=false",
        "audio": f"audioconvert ! audioresample ! audio/x-raw,format=F32LE,rate={RATE_HZ},channels=1 "
        "! appsink name=sink sync=false",
    }

    def link(_: Any, pad: Any) -> None:
        kind = pad.get_current_caps().get_structure(0).get_name().partition("/")[0]
        branch = Gst.parse_bin_from_description(branches[kind], True)
        pipeline.add(branch)
        branch.sync_state_with_parent()
        pad.link(branch.get_static_pad("sink"))
        sinks[kind] = branch.get_by_name("sink")

    def pull(kind: str, sink: Any) -> None:
        until = time.monotonic() + limit_s
        while time.monotonic() < until and not sink.get_property("eos"):
            sample = sink.emit("try-pull-sample", 100 * Gst.MSECOND)
            if sample is None:
                continue
            buffer = sample.get_buffer()
            at = sample.get_segment().to_running_time(Gst.Format.TIME, buffer.pts) / 1e9
            content = buffer.extract_dup(0, buffer.get_size())
            if kind == "audio":
                sounds.append((at, content))
                continue
            caps = sample.get_caps().get_structure(0)
            width, height = caps.get_value("width"), caps.get_value("height")
            rows = np.frombuffer(content, np.uint8).reshape(height, -1)
            decoded.pictures.append(rows[:, :width])
            decoded.picture_s.append(at)

    handler = source.connect("pad-added", link)
    try:
        pipeline.set_state(Gst.State.PAUSED)
        state = pipeline.get_state(int(limit_s * 1e9))
        assert state[0] == Gst.StateChangeReturn.SUCCESS, f"{path.name} cannot be decoded: {state}"
        pipeline.set_state(Gst.State.PLAYING)
        threads = [threading.Thread(target=pull, args=item) for item in sinks.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        source.disconnect(handler)
        pipeline.set_state(Gst.State.NULL)
    if sounds:
        decoded.sound_s = sounds[0][0]
        decoded.samples = np.frombuffer(b"".join(content for _, content in sounds), np.float32)
    return decoded
