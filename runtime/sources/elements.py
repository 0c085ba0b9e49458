"""Which elements bring a source in and make frames and samples of it: NVIDIA's where they are, software elsewhere.

Pure choices over a registry, so that a Jetson's and a desktop GPU's can be looked at on any machine. What a person
typed travels as property values, never inside a launch line that is parsed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from affectrt.bundle.errors import MissingDependency

from .base import StreamName, VideoWish
from .registry import Registry
from .uri import SourceUri

__all__ = ["Capture", "Step", "audio_branch", "captures", "hardware_decoders", "video_branch"]

# What a camera is asked for unless the URI says otherwise: enough for several faces, little to convert.
_CAMERA = {"width": "1280", "height": "720", "fps": "30"}
_TEST = {"width": "640", "height": "360", "fps": "25"}
_TEST_RATE_HZ = 48_000
_TEST_CHUNK = 960
_VOLUME_OF_ONE = 0.1  # the element's volume goes up to 10
_PACKAGES = {
    "v4l2src": "gstreamer1.0-plugins-good",
    "pulsesrc": "gstreamer1.0-pulseaudio",
    "alsasrc": "gstreamer1.0-alsa",
    "videotestsrc": "gstreamer1.0-plugins-base",
    "audiotestsrc": "gstreamer1.0-plugins-base",
    "uridecodebin": "gstreamer1.0-plugins-base",
    "rtspsrc": "gstreamer1.0-plugins-good",
    "souphttpsrc": "gstreamer1.0-plugins-good",
}
_HARDWARE_DECODERS = ("nvv4l2decoder", "nvh264dec", "nvh265dec", "nvjpegdec", "vah264dec", "vah265dec")


@dataclass(frozen=True)
class Step:
    """One element; values as GStreamer reads them from text.

    `switched` names a property that is `high` (a part of its range) in the first half of every `period_s` of running
    time, and 0 in the second.
    """

    element: str
    properties: Mapping[str, str] = field(default_factory=dict)
    switched: str | None = None
    period_s: float = 1.0
    high: float = 1.0


@dataclass(frozen=True)
class Capture:
    """What comes in: one stream through `steps`, or whatever `uri` holds (`stream` None, not yet decoded).

    `decode`: what the steps give may be encoded, as a camera's JPEG is.
    """

    words: str
    stream: StreamName | None = None
    steps: tuple[Step, ...] = ()
    uri: str | None = None
    decode: bool = False


def captures(source: SourceUri, wanted: Collection[StreamName], registry: Registry) -> list[Capture]:
    """How a source that is no plain file is brought in. MissingDependency names the package that lacks."""
    kind = source.kind
    if kind in {"rtsp", "http"}:
        for element in ("uridecodebin", "rtspsrc" if kind == "rtsp" else "souphttpsrc"):
            _need(element, registry)
        how = "network camera, over TCP" if kind == "rtsp" else "web stream, in its own time"
        return [Capture(how, uri=source.location)]
    if kind == "test":
        makers = {"video": _test_video, "audio": _test_audio}
        return [makers[stream](source, registry) for stream in ("video", "audio") if stream in wanted]
    maker = {"v4l2": _v4l2, "csi": _csi, "pulse": _pulse, "alsa": _alsa}[kind]
    made = maker(source, registry)
    return [made] if made.stream in wanted else []


def _v4l2(source: SourceUri, registry: Registry) -> Capture:
    _need("v4l2src", registry)
    asked = source.options
    if asked:
        size = "".join(f",{name}={asked[name]}" for name in ("width", "height") if name in asked)
        rate = f",framerate={asked['fps']}/1" if "fps" in asked else ""
    else:
        # Without bounds v4l2src takes the largest picture there is, at whatever rate that comes.
        size = f",width=[1,{_CAMERA['width']}],height=[1,{_CAMERA['height']}]"
        rate = ",framerate=[10/1,60/1]"
    caps = f"video/x-raw{size}{rate};image/jpeg{size}{rate}"
    steps = (Step("v4l2src", {"device": source.location}), Step("capsfilter", {"caps": caps}))
    return Capture("camera through Video4Linux, raw or JPEG", "video", steps, decode=True)


def _csi(source: SourceUri, registry: Registry) -> Capture:
    asked = {**_CAMERA, **source.options}
    size = f"width={asked['width']},height={asked['height']},framerate={asked['fps']}/1"
    if registry.has("nvarguscamerasrc"):
        steps = (
            Step("nvarguscamerasrc", {"sensor-id": source.location or "0"}),
            Step("capsfilter", {"caps": f"video/x-raw(memory:NVMM),format=NV12,{size}"}),
        )
        return Capture("CSI camera through NVIDIA's Argus, frames stay in NVMM", "video", steps)
    raise MissingDependency(
        f"GStreamer has no nvarguscamerasrc, which {source.public} needs",
        expected="a Jetson with NVIDIA's GStreamer plugins",
        fix="sudo apt install nvidia-l4t-gstreamer; elsewhere use v4l2:///dev/video0",
    )


def _pulse(source: SourceUri, registry: Registry) -> Capture:
    _need("pulsesrc", registry)
    device = {} if source.location in {"", "default"} else {"device": source.location}
    step = _step("pulsesrc", {**device, "client-name": "affectrt", **_SOUND_CARD}, registry)
    return Capture("microphone through PulseAudio or PipeWire", "audio", (step,))


def _alsa(source: SourceUri, registry: Registry) -> Capture:
    _need("alsasrc", registry)
    device = {"device": source.location} if source.location else {}
    return Capture("microphone through ALSA", "audio", (_step("alsasrc", {**device, **_SOUND_CARD}, registry),))


# The system's clock leads, and the card's follows it; 10 ms at a time.
_SOUND_CARD = {"provide-clock": "false", "slave-method": "skew", "latency-time": "10000", "buffer-time": "200000"}


def _test_video(source: SourceUri, registry: Registry) -> Capture:
    _need("videotestsrc", registry)
    asked = {**_TEST, **source.options}
    pattern = "solid-color" if "flash" in asked else source.location or "smpte"
    properties = {"is-live": "true", "pattern": pattern}
    if "duration" in asked:
        properties["num-buffers"] = str(max(1, round(float(asked["duration"]) * int(asked["fps"]))))
    caps = f"video/x-raw,width={asked['width']},height={asked['height']},framerate={asked['fps']}/1"
    steps = [Step("videotestsrc", properties), Step("capsfilter", {"caps": caps})]
    if "flash" in asked:
        # By the time on the buffers, not by the maker's own count, which starts when it likes.
        steps[1:1] = [Step("videobalance", switched="brightness", period_s=float(asked["flash"]))]
    return Capture("pictures made up here", "video", tuple(steps))


def _test_audio(source: SourceUri, registry: Registry) -> Capture:
    _need("audiotestsrc", registry)
    flash = source.options.get("flash")
    sound = source.options.get("audio", "ticks" if flash else "tone")
    # At a volume of 0 GStreamer calls what it gives a gap.
    volume = "0.000001" if sound == "silence" else "0.5"
    properties = {"is-live": "true", "samplesperbuffer": str(_TEST_CHUNK), "freq": "1000", "volume": volume}
    if sound == "ticks" and not flash:
        properties |= {"wave": "ticks", "tick-interval": "1000000000", "sine-periods-per-tick": "80"}
    if (duration := source.options.get("duration")) is not None:
        properties["num-buffers"] = str(max(1, round(float(duration) * _TEST_RATE_HZ / _TEST_CHUNK)))
    caps = f"audio/x-raw,format=F32LE,rate={_TEST_RATE_HZ},channels=1"
    steps = [_step("audiotestsrc", properties, registry), Step("capsfilter", {"caps": caps})]
    if sound == "ticks" and flash:
        steps[1:1] = [Step("volume", switched="volume", period_s=float(flash), high=_VOLUME_OF_ONE)]
    return Capture("sound made up here", "audio", tuple(steps))


def video_branch(
    wish: VideoWish, registry: Registry, *, memory: str, size: tuple[int, int, Fraction], paced: bool
) -> str:
    """From decoded frames to RGB in an appsink, as a launch line: rate first, then scaling, colours last.

    `memory` is the caps' memory feature ("" is the system's), `size` width, height and pixel aspect ratio of what
    comes in. `paced`: frames wait for their time, as those of a file that is played must.
    """
    side = f"[1,{wish.max_side_px}]"
    rate = ""
    if wish.max_rate_hz is not None:
        rate = f"videorate name=rate drop-only=true max-rate={wish.max_rate_hz} ! "
    if memory == "memory:NVMM":
        width, height = _fitted(size, wish.max_side_px)
        convert = (
            f"nvvidconv ! video/x-raw,format=BGRx,width={width},height={height},pixel-aspect-ratio=1/1 ! videoconvert"
        )
    elif memory == "memory:CUDAMemory":
        width, height = _fitted(size, wish.max_side_px)
        scale = next((e for e in ("cudaconvertscale", "cudascale") if registry.has(e)), None)
        shrink = f"{scale} ! video/x-raw(memory:CUDAMemory),width={width},height={height} ! " if scale else ""
        convert = f"{shrink}cudadownload ! videoscale ! videoconvert"
    else:
        convert = "videoscale ! videoconvert"
    leaky = "" if paced else "leaky=downstream "
    return (
        f"queue {leaky}max-size-buffers=2 max-size-bytes=0 max-size-time=0 ! {rate}{convert} ! "
        f"video/x-raw,format=RGB,width={side},height={side},pixel-aspect-ratio=1/1 ! videoflip video-direction=auto ! "
        f"appsink name=sink sync={str(paced).lower()} max-buffers=8 drop=true wait-on-eos=false"
    )


def audio_branch(rate_hz: int, *, paced: bool) -> str:
    """From decoded sound to mono samples in an appsink. audiorate keeps samples on their timestamps within 20 ms."""
    leaky = "" if paced else "leaky=downstream "
    return (
        f"queue {leaky}max-size-time=1000000000 max-size-bytes=0 max-size-buffers=0 ! audioconvert ! "
        "audio/x-raw,format=F32LE,channels=1,layout=interleaved ! "
        "audiorate name=rate skip-to-first=true tolerance=20000000 ! audioresample ! "
        f"audio/x-raw,format=F32LE,rate={rate_hz},channels=1,layout=interleaved ! "
        f"appsink name=sink sync={str(paced).lower()} max-buffers=100 drop=true wait-on-eos=false"
    )


def hardware_decoders(registry: Registry) -> tuple[str, ...]:
    """Those that are there, and would be plugged before software by their own ranks."""
    return tuple(name for name in _HARDWARE_DECODERS if registry.has(name))


def _fitted(size: tuple[int, int, Fraction], max_side_px: int) -> tuple[int, int]:
    """Square pixels, the longer side at most `max_side_px`, even numbers: converters of NVIDIA's take no ranges."""
    width, height, aspect = size
    shown = float(width * aspect)
    scale = min(1.0, max_side_px / max(shown, height))
    return max(2, round(shown * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


def _step(element: str, properties: Mapping[str, str], registry: Registry) -> Step:
    """With those of the properties that this version of the element has."""
    return Step(element, {name: text for name, text in properties.items() if registry.has_property(element, name)})


def _need(element: str, registry: Registry) -> None:
    if not registry.has(element):
        raise MissingDependency(
            f"GStreamer has no {element}", expected=_PACKAGES[element], fix=f"sudo apt install {_PACKAGES[element]}"
        )
