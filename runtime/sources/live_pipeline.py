"""One GStreamer pipeline of a live source or of a pair: all on the system's clock, all torn down at once."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from affectrt.bundle.errors import MediaError, MissingDependency

from .base import StreamName, VideoWish
from .elements import Capture, Step, audio_branch, captures, video_branch
from .faults import Fault, fault_from_message
from .gst import gst
from .making import make_element, set_properties, size_of
from .messages import DECODERS_LINE, missing_decoder_from_message
from .meters import DriftMeter, sound_probe
from .registry import GstRegistry
from .uri import SourceUri

__all__ = ["LivePipeline"]

# Lost or late packets are waited for so long; without pacing nothing else is.
_RTSP = {"latency": "200", "drop-on-latency": "true"}


class LivePipeline:
    """Owns the pipeline; its methods belong to one thread, GStreamer calls `_on_…` from its own.

    `wanted` has the streams each source shall give; `transport` is what network cameras speak over, tcp or udp.
    `sinks` fills with one appsink a stream; `complete` turns true when no more will come.
    """

    def __init__(
        self,
        sources: Sequence[SourceUri],
        wanted: Sequence[frozenset[StreamName]],
        video: VideoWish | None,
        audio_rate_hz: int | None,
        drift: DriftMeter,
        transport: str,
    ) -> None:
        self._sources = sources
        self._wanted = wanted
        self._video = video
        self._audio_rate_hz = audio_rate_hz
        self._drift = drift
        self._transport = transport
        self._registry = GstRegistry()
        self._pipeline: Any = None
        self._handlers: list[tuple[Any, int]] = []
        self._open_decoders = 0
        self._callback_error: BaseException | None = None
        self._missing: list[str] = []
        self.sinks: dict[StreamName, Any] = {}

    @property
    def complete(self) -> bool:
        return self._open_decoders == 0

    @property
    def base_time_s(self) -> float:
        """`time.monotonic()` at running time 0."""
        return float(self._pipeline.get_base_time()) / 1e9

    def duration_s(self) -> float | None:
        lib = gst()
        known, duration = self._pipeline.query_duration(lib.Format.TIME)
        return float(duration) / 1e9 if known and 0 < duration != lib.CLOCK_TIME_NONE else None

    def start(self, *, held: bool) -> None:
        """Build and play; `held`: only up to the first picture, until `play` is called.

        Raises MissingDependency; everything else is told by `poll`.
        """
        lib = gst()
        self._pipeline = lib.Pipeline.new(None)
        # A sound card's own clock would become the pipeline's; ages and a pair need the one that all share.
        self._pipeline.use_clock(lib.SystemClock.obtain())
        for index, source in enumerate(self._sources):
            wanted = self._wanted[index]
            if source.kind == "file":
                parts = [Capture("", uri=str(lib.filename_to_uri(str(Path(source.location).absolute()))))]
            else:
                parts = captures(source, wanted, self._registry)
            for part in parts:
                self._add(part, source, wanted)
        self._pipeline.set_state(lib.State.PAUSED if held else lib.State.PLAYING)

    def play(self) -> None:
        self._pipeline.set_state(gst().State.PLAYING)

    def poll(self, wait_s: float) -> Fault | None:
        """What GStreamer has said within `wait_s`: the first fatal thing, else None.

        Raises what went wrong in a callback: GStreamer itself would swallow that.
        """
        lib = gst()
        kinds = lib.MessageType
        mask = kinds.ERROR | kinds.ELEMENT | kinds.APPLICATION
        bus = self._pipeline.get_bus()
        fault: Fault | None = None
        message = bus.timed_pop_filtered(int(wait_s * 1e9), mask)
        while message is not None:
            if message.type == kinds.ERROR:
                fault = fault or fault_from_message(message, self._sources, self._missing)
            elif (missing := missing_decoder_from_message(message)) is not None:
                self._missing.append(missing[1])
            message = bus.timed_pop_filtered(0, mask)
        if self._callback_error is not None:
            raise self._callback_error
        return fault

    @property
    def missing(self) -> Sequence[str]:
        """Decoders that lack, in words."""
        return self._missing

    def close(self) -> None:
        """Stop and let go of everything: each cycle through a callback would keep its whole pipeline."""
        if self._pipeline is None:
            return
        for element, handler in self._handlers:
            element.disconnect(handler)
        self._handlers = []
        self._pipeline.set_state(gst().State.NULL)
        self._pipeline = None
        self.sinks = {}

    # -- building --------------------------------------------------------------------------------------------------

    def _add(self, part: Capture, source: SourceUri, wanted: frozenset[StreamName]) -> None:
        lib = gst()
        if part.uri is not None:
            decoder = self._made(Step("uridecodebin"))
            decoder.set_property("uri", part.uri)
            self._connect(decoder, "source-setup", self._on_source_setup, source, wanted)
            self._decode(decoder, source, wanted)
            return
        elements = [self._made(step) for step in part.steps]
        for one, other in pairwise(elements):
            one.link(other)
        if part.decode:
            decoder = self._made(Step("decodebin"))
            elements[-1].link(decoder)
            self._decode(decoder, source, wanted)
        elif part.stream is not None:
            caps = lib.Caps.from_string(part.steps[-1].properties.get("caps", "ANY"))
            self._attach(elements[-1].get_static_pad("src"), part.stream, caps, paced=False)

    def _made(self, step: Step) -> Any:
        element = make_element(step)
        self._pipeline.add(element)
        return element

    def _decode(self, decoder: Any, source: SourceUri, wanted: frozenset[StreamName]) -> None:
        self._open_decoders += 1
        self._connect(decoder, "pad-added", self._on_pad_added, source, wanted)
        self._connect(decoder, "no-more-pads", self._on_no_more_pads)

    def _connect(self, element: Any, signal: str, act: Any, *arguments: Any) -> None:
        self._handlers.append((element, element.connect(signal, act, *arguments)))

    def _attach(self, pad: Any, stream: StreamName, caps: Any, *, paced: bool) -> None:
        lib = gst()
        if stream == "video" and self._video is not None:
            memory = caps.get_features(0).to_string() if caps.get_size() and not caps.is_any() else ""
            size = (
                size_of(caps.get_structure(0))
                if memory.startswith("memory:NV") or "CUDA" in memory
                else (2, 2, Fraction(1))
            )
            description = video_branch(self._video, self._registry, memory=memory, size=size, paced=paced)
        else:
            description = audio_branch(self._audio_rate_hz or 16_000, paced=paced)
        try:
            branch = lib.parse_bin_from_description(description, True)
        except Exception as error:  # GLib.Error, whose class is known only once gi is loaded
            raise MissingDependency(f"a GStreamer element is missing: {error}", fix=DECODERS_LINE) from error
        self._pipeline.add(branch)
        if stream == "audio":
            counted = branch.get_by_name("rate").get_static_pad("sink")
            counted.add_probe(lib.PadProbeType.BUFFER, sound_probe(self._drift, self._pipeline, ahead=not paced))
        branch.sync_state_with_parent()
        try:
            linked = pad.link(branch.get_static_pad("sink")) == lib.PadLinkReturn.OK
        except Exception:  # the overrides' LinkError, which plain PyGObject does not have
            linked = False
        if not linked:
            raise MediaError(f"the {stream} stream describes itself in a way that no player takes")
        self.sinks = {**self.sinks, stream: branch.get_by_name("sink")}

    # -- called by GStreamer, from its threads ---------------------------------------------------------------------

    def _on_source_setup(self, _decoder: Any, element: Any, source: SourceUri, wanted: frozenset[StreamName]) -> None:
        try:
            properties = {**_RTSP, "protocols": self._transport} if source.kind == "rtsp" else {}
            set_properties(element, properties)
            for name, secret in (("user-id", source.user), ("user-pw", source.password)):
                if secret is not None and element.find_property(name) is not None:
                    element.set_property(name, secret)
            if source.kind == "rtsp":
                self._connect(element, "select-stream", _selected, wanted)
        except Exception as error:
            self._callback_error = self._callback_error or error

    def _on_pad_added(self, _decoder: Any, pad: Any, source: SourceUri, wanted: frozenset[StreamName]) -> None:
        try:
            caps = pad.get_current_caps() or pad.query_caps(None)
            kind = caps.get_structure(0).get_name()
            stream = next((s for s in wanted if kind == f"{s}/x-raw"), None)
            if stream is not None and stream not in self.sinks:
                self._attach(pad, stream, caps, paced=source.kind in {"file", "http"})
                return
            lib = gst()
            unused = lib.ElementFactory.make("fakesink", None)
            unused.set_property("sync", False)
            unused.set_property("async", False)
            self._pipeline.add(unused)
            unused.sync_state_with_parent()
            pad.link(unused.get_static_pad("sink"))
        except Exception as error:
            self._callback_error = self._callback_error or error

    def _on_no_more_pads(self, _decoder: Any) -> None:
        self._open_decoders -= 1


def _selected(_source: Any, _number: int, caps: Any, wanted: frozenset[StreamName]) -> bool:
    """Which of a network camera's tracks are asked for: an undecodable one that nobody wants does no harm."""
    return caps.get_structure(0).get_string("media") in wanted
