"""One GStreamer pipeline that decodes a URI into at most one stream of frames and one of samples.

Branches are attached when the decoder shows its pads: a pipeline that is linked beforehand waits for ever for a
stream that the file does not have. Streams that nobody wants are not decoded; they only tell how long they are.
"""

from __future__ import annotations

import time
from typing import Any, get_args

from affectrt.bundle.errors import AffectError, MediaError, MissingDependency

from .base import StreamName, VideoWish
from .gst import APT_LINE, gst, running_time_s
from .messages import (
    DECODERS_LINE,
    error_from_message,
    missing_decoder_from_message,
    no_streams,
    sentence_from_message,
)

__all__ = ["AUDIO_BUFFERS", "DecodePipeline"]

AUDIO_BUFFERS = 64
_SLICE_NS = 100_000_000
_MAX_WARNINGS = 20
_SILENT_SLICES = 3
# No recorder goes further. The resampler's filter grows with the rate: at 600 MHz a second of sound takes a minute.
_MAX_RATE_HZ = 768_000


def _video_branch(wish: VideoWish) -> str:
    # videoscale keeps the display's aspect ratio within the ranges and leaves smaller pictures alone.
    side = f"[1,{wish.max_side_px}]"
    return (
        "queue max-size-buffers=8 max-size-bytes=0 max-size-time=0 ! videoflip video-direction=auto ! "
        "videoscale ! videoconvert ! "
        f"video/x-raw,format=RGB,width={side},height={side},pixel-aspect-ratio=1/1 ! "
        "appsink name=sink sync=false max-buffers=4 drop=false wait-on-eos=false"
    )


def _audio_branch(rate_hz: int) -> str:
    return (
        "queue max-size-time=2000000000 max-size-bytes=0 max-size-buffers=0 ! audioconvert ! "
        "audiorate name=rate skip-to-first=true ! audioresample ! "
        f"audio/x-raw,format=F32LE,rate={rate_hz},channels=1,layout=interleaved ! "
        f"appsink name=sink sync=false max-buffers={AUDIO_BUFFERS} drop=false wait-on-eos=false"
    )


class DecodePipeline:
    """Owns the pipeline of one URI. All methods belong to one thread; GStreamer calls `_on_…` from its own.

    `sinks` holds one appsink per wanted stream that is there, complete once `open` returns. `sound_is_over` turns
    true when the decoder has given its last samples, which are not yet all pulled then.
    """

    def __init__(self, uri: str, name: str, video: VideoWish | None, audio_rate_hz: int | None) -> None:
        self._uri = uri
        self._name = name
        self._branches: dict[StreamName, str] = {}
        if video is not None:
            self._branches["video"] = _video_branch(video)
        if audio_rate_hz is not None:
            self._branches["audio"] = _audio_branch(audio_rate_hz)
        self._pipeline: Any = None
        self._decoder: Any = None
        self._handlers: list[int] = []
        self._unused: list[Any] = []
        self._callback_error: Exception | None = None
        self._complete = False
        self.sinks: dict[StreamName, Any] = {}
        self.missing: list[tuple[str, str]] = []
        self.warnings: list[str] = []
        self.failure: str | None = None
        self.sound_is_over = False

    def open(self, timeout_s: float) -> None:
        """Start, and wait until it is known which streams there are. Raises MediaError or MissingDependency."""
        lib = gst()
        self._pipeline = lib.Pipeline.new(None)
        self._decoder = lib.ElementFactory.make("uridecodebin", None) if _has("uridecodebin") else None
        if self._decoder is None:
            raise MissingDependency("GStreamer has no uridecodebin", expected="its base plugins", fix=APT_LINE)
        self._decoder.set_property("uri", self._uri)
        self._handlers = [
            self._decoder.connect("pad-added", self._on_pad_added),
            self._decoder.connect("no-more-pads", self._on_no_more_pads),
            self._decoder.connect("autoplug-continue", self._on_autoplug_continue),
        ]
        self._pipeline.add(self._decoder)
        self._pipeline.set_state(lib.State.PLAYING)
        deadline = time.monotonic() + timeout_s
        silent_slices = 0
        while not self._complete:
            if time.monotonic() > deadline:
                raise MediaError(f"{self._name} gave neither audio nor video within {timeout_s:.0f} s of opening")
            fatal = self.poll(wait=True)
            if fatal is not None and not self._complete:
                raise error_from_message(fatal, self._name, [text for _, text in self.missing])
            silent_slices = silent_slices + 1 if not self._complete and self._gave_up() else 0
            if silent_slices > _SILENT_SLICES:
                raise no_streams(self._name)

    def _gave_up(self) -> bool:
        """Whether a demuxer has stopped reading without having found a stream.

        It says so in a message, but decodebin loses messages that come while it starts that very demuxer.
        """
        lib = gst()
        elements = self._decoder.iterate_recurse()
        result, element = elements.next()
        while result == lib.IteratorResult.OK:
            pad = element.get_static_pad("sink")
            demuxes = "Demux" in element.get_factory().get_metadata("klass")
            if demuxes and element.numsrcpads == 0 and pad is not None:
                return bool(pad.get_task_state() == lib.TaskState.PAUSED)
            result, element = elements.next()
        return False

    def poll(self, *, wait: bool = False) -> Any:
        """Read what GStreamer has said since the last call; returns the first fatal message if there is one.

        Raises what went wrong in a callback: GStreamer itself would swallow that.
        """
        lib = gst()
        kinds = lib.MessageType
        mask = kinds.ERROR | kinds.WARNING | kinds.ELEMENT | kinds.EOS | kinds.APPLICATION
        bus = self._pipeline.get_bus()
        fatal = None
        message = bus.timed_pop_filtered(_SLICE_NS if wait else 0, mask)
        while message is not None:
            if message.type == kinds.ERROR:
                fatal = fatal or message
                self.failure = self.failure or sentence_from_message(message)
            elif message.type == kinds.WARNING:
                text = sentence_from_message(message)
                if text and text not in self.warnings and len(self.warnings) < _MAX_WARNINGS:
                    self.warnings.append(text)
            elif (missing := missing_decoder_from_message(message)) is not None:
                self.missing.append(missing)
            elif message.type == kinds.EOS:
                self._complete = True
            message = bus.timed_pop_filtered(0, mask)
        if self._callback_error is not None:
            raise self._callback_error
        return fatal

    def pull(self, stream: StreamName, timeout_s: float) -> Any:
        """The next sample of a stream, or None when there is none within `timeout_s`."""
        return self.sinks[stream].try_pull_sample(int(timeout_s * 1e9))

    def ended(self, stream: StreamName) -> bool:
        return bool(self.sinks[stream].is_eos())

    def duration_s(self) -> float | None:
        """What the container, or the parser of a bare stream, says at this moment."""
        lib = gst()
        known, duration = self._pipeline.query_duration(lib.Format.TIME)
        return float(duration) / 1e9 if known and 0 < duration != lib.CLOCK_TIME_NONE else None

    def unused_until_s(self) -> float:
        """Media time that the streams nobody wanted have reached."""
        ends = [0.0]
        for sink in self._unused:
            sample = sink.get_property("last-sample")
            if sample is not None and (at := running_time_s(sample)) is not None:
                ends.append(at)
        return max(ends)

    def close(self) -> None:
        """Stop and let go. References are dropped because each cycle through a callback would keep its pipeline."""
        if self._pipeline is None:
            return
        for handler in self._handlers:
            self._decoder.disconnect(handler)
        self._pipeline.set_state(gst().State.NULL)
        self._handlers, self._unused = [], []
        self._pipeline = self._decoder = None
        self.sinks = {}

    # -- called by GStreamer, from its threads -------------------------------------------------------------------

    def _on_pad_added(self, _decoder: Any, pad: Any) -> None:
        try:
            self._attach(pad)
        except Exception as error:
            self._callback_error = self._callback_error or error
            self._wake()

    def _on_no_more_pads(self, _decoder: Any) -> None:
        self._complete = True
        self._wake()

    def _on_autoplug_continue(self, _decoder: Any, pad: Any, caps: Any) -> bool:
        """Whether to decode on. A demuxer's stream that nobody wants is shown encoded, as it is."""
        try:
            kind = caps.get_structure(0).get_name().split("/")[0]
            if kind not in get_args(StreamName) or kind in self._branches:
                return True
            # Containers are called video/… too, so that only what comes out of one is judged by its name.
            origin = pad.get_target() if hasattr(pad, "get_target") else pad
            element = origin.get_parent_element() if origin is not None else None
            return element is None or "Demux" not in element.get_factory().get_metadata("klass")
        except Exception as error:
            self._callback_error = self._callback_error or error
            return True

    def _on_sound_event(self, _pad: Any, info: Any) -> Any:
        lib = gst()
        if info.get_event().type == lib.EventType.EOS:
            self.sound_is_over = True
        return lib.PadProbeReturn.OK

    def _attach(self, pad: Any) -> None:
        lib = gst()
        caps = pad.get_current_caps() or pad.query_caps(None)
        media_type = caps.get_structure(0).get_name()
        known, rate_hz = caps.get_structure(0).get_int("rate")
        if media_type == "audio/x-raw" and known and rate_hz > _MAX_RATE_HZ:
            raise MediaError(f"{self._name} is damaged: it claims {rate_hz} samples of sound a second")
        stream: StreamName | None = next((s for s in self._branches if media_type == f"{s}/x-raw"), None)
        if stream is None or stream in self.sinks:
            branch = lib.ElementFactory.make("fakesink", None)
            branch.set_property("sync", False)
            branch.set_property("async", False)
            if media_type.split("/")[0] in get_args(StreamName):
                self._unused.append(branch)
        else:
            try:
                branch = lib.parse_bin_from_description(self._branches[stream], True)
            except Exception as error:  # GLib.Error, whose class is known only once gi is loaded
                raise _no_element(error) from error
            self.sinks[stream] = branch.get_by_name("sink")
            if stream == "audio":
                into_rate = branch.get_by_name("rate").get_static_pad("sink")
                into_rate.add_probe(lib.PadProbeType.EVENT_DOWNSTREAM, self._on_sound_event)
        self._pipeline.add(branch)
        branch.sync_state_with_parent()
        try:
            linked = pad.link(branch.get_static_pad("sink")) == lib.PadLinkReturn.OK
        except Exception:  # the overrides' LinkError, which plain PyGObject does not have
            linked = False
        if not linked:
            raise MediaError(
                f"{self._name} is damaged: its {media_type} stream describes itself in a way that no player takes",
                expected="a whole media file",
            )

    def _wake(self) -> None:
        lib = gst()
        structure = lib.Structure.new_empty("streams-known")
        self._pipeline.post_message(lib.Message.new_application(self._pipeline, structure))


def _has(element: str) -> bool:
    return gst().ElementFactory.find(element) is not None


def _no_element(error: Exception) -> AffectError:
    return MissingDependency(f"a GStreamer element is missing: {error}", fix=DECODERS_LINE)
