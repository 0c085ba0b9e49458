"""Which elements are chosen where: a Jetson, a desktop GPU, software; each looked at from any machine."""

from __future__ import annotations

import shlex
from fractions import Fraction

import pytest

from affectrt.bundle.errors import MissingDependency
from affectrt.runtime.sources import VideoWish, explain, parse_source
from affectrt.runtime.sources.decoder_check import broken_decoders, decodes
from affectrt.runtime.sources.elements import audio_branch, captures, hardware_decoders, video_branch
from affectrt.runtime.sources.registry import KnownElements

SOFTWARE = {
    "v4l2src": ("device",),
    "pulsesrc": ("device", "client-name", "provide-clock", "slave-method", "latency-time", "buffer-time"),
    "alsasrc": ("device", "provide-clock", "slave-method"),
    "uridecodebin": (),
    "rtspsrc": (),
    "souphttpsrc": (),
    "videotestsrc": (),
    "audiotestsrc": ("is-live", "samplesperbuffer", "freq", "volume", "wave", "tick-interval", "sine-periods-per-tick"),
}
LAPTOP = KnownElements(SOFTWARE)
JETSON = KnownElements({**SOFTWARE, "nvarguscamerasrc": ("sensor-id",), "nvv4l2decoder": (), "nvvidconv": ()})
DESKTOP = KnownElements({**SOFTWARE, "nvh264dec": (), "nvh265dec": (), "cudaconvertscale": ()})
OLD_DESKTOP = KnownElements({**SOFTWARE, "nvh264dec": (), "cudascale": ()})
WISH = VideoWish(640, 30)
HD = (1920, 1080, Fraction(1))


def test_a_csi_camera_stays_in_nvmm_until_it_is_small() -> None:
    (capture,) = captures(parse_source("csi://1?fps=60")[0], {"video"}, JETSON)
    assert [step.element for step in capture.steps] == ["nvarguscamerasrc", "capsfilter"]
    assert capture.steps[0].properties == {"sensor-id": "1"}
    assert "memory:NVMM" in capture.steps[1].properties["caps"] and "60/1" in capture.steps[1].properties["caps"]
    branch = video_branch(WISH, JETSON, memory="memory:NVMM", size=HD, paced=False)
    assert "nvvidconv ! video/x-raw,format=BGRx,width=640,height=360" in branch
    assert "videoscale" not in branch


def test_without_a_jetson_a_csi_camera_is_refused_with_a_way_out() -> None:
    with pytest.raises(MissingDependency, match="nvarguscamerasrc") as told:
        captures(parse_source("csi://0")[0], {"video"}, LAPTOP)
    assert "v4l2" in str(told.value)


@pytest.mark.parametrize(("machine", "scaler"), [(DESKTOP, "cudaconvertscale"), (OLD_DESKTOP, "cudascale")])
def test_frames_on_a_gpu_shrink_there_before_they_are_fetched(machine: KnownElements, scaler: str) -> None:
    branch = video_branch(WISH, machine, memory="memory:CUDAMemory", size=HD, paced=False)
    assert branch.index(scaler) < branch.index("width=640,height=360") < branch.index("cudadownload")


def test_in_software_the_rate_falls_first_and_colours_are_converted_last() -> None:
    branch = video_branch(WISH, LAPTOP, memory="", size=HD, paced=False)
    order = [
        branch.index(word) for word in ("leaky", "videorate", "videoscale", "videoconvert", "format=RGB", "sync=false")
    ]
    assert order == sorted(order)
    assert "drop-only=true max-rate=30" in branch and "videoconvertscale" not in branch


def test_a_file_played_in_real_time_waits_and_loses_nothing_before_its_time() -> None:
    for branch in (video_branch(WISH, LAPTOP, memory="", size=HD, paced=True), audio_branch(16_000, paced=True)):
        assert "leaky" not in branch and "sync=true" in branch


@pytest.mark.parametrize(
    ("size", "want"),
    [
        ((1920, 1080, Fraction(1)), "width=640,height=360"),
        ((1080, 1920, Fraction(1)), "width=360,height=640"),
        ((320, 240, Fraction(1)), "width=320,height=240"),
        ((720, 576, Fraction(64, 45)), "width=640,height=360"),
    ],
)
def test_what_leaves_a_gpu_keeps_its_shape_and_never_grows(size: tuple[int, int, Fraction], want: str) -> None:
    assert want in video_branch(WISH, JETSON, memory="memory:NVMM", size=size, paced=False)


def test_only_properties_that_the_element_has_are_set() -> None:
    (bare,) = captures(parse_source("alsa://hw:1,0")[0], {"audio"}, LAPTOP)
    assert bare.steps[0].properties == {"device": "hw:1,0", "provide-clock": "false", "slave-method": "skew"}


def test_what_was_typed_is_a_value_and_never_part_of_a_pipeline_line() -> None:
    (capture,) = captures(parse_source("pulse://x%20!%20filesink%20location=y")[0], {"audio"}, LAPTOP)
    assert len(capture.steps) == 1 and capture.steps[0].properties["device"] == "x ! filesink location=y"


@pytest.mark.parametrize(
    ("machine", "names"), [(LAPTOP, ()), (JETSON, ("nvv4l2decoder",)), (DESKTOP, ("nvh264dec", "nvh265dec"))]
)
def test_hardware_decoders_are_those_that_are_there(machine: KnownElements, names: tuple[str, ...]) -> None:
    assert hardware_decoders(machine) == names


def test_what_lacks_is_named_with_its_package() -> None:
    with pytest.raises(MissingDependency, match="pulsesrc") as told:
        captures(parse_source("pulse://")[0], {"audio"}, KnownElements({}))
    assert "gstreamer1.0-pulseaudio" in str(told.value)


@pytest.mark.parametrize(
    "typed", ["rtsp://user:hunter2@cam/1?k=hunter2", "v4l2:///dev/video0+pulse://", "csi://0", "clip.mp4"]
)
def test_an_explanation_has_words_and_a_line_and_no_secret(typed: str) -> None:
    text = explain(parse_source(typed), video=WISH, audio_rate_hz=16_000, registry=JETSON)
    assert "hunter2" not in text
    assert text.splitlines()[-1].startswith("gst-launch-1.0 ") and "640" in text


def test_an_explained_line_really_runs() -> None:
    gi = pytest.importorskip("gi")
    gi.require_version("Gst", "1.0")
    from gi.repository import Gst

    Gst.init(None)
    text = explain(parse_source("test://ball?duration=0.4"), video=WISH, audio_rate_hz=16_000)
    pipeline = Gst.parse_launch(" ".join(shlex.split(text.splitlines()[-1])[1:]))
    pipeline.set_state(Gst.State.PLAYING)
    message = pipeline.get_bus().timed_pop_filtered(5 * Gst.SECOND, Gst.MessageType.EOS | Gst.MessageType.ERROR)
    pipeline.set_state(Gst.State.NULL)
    assert message is not None and message.type == Gst.MessageType.EOS


def test_a_decoder_that_gives_no_frame_is_found_out() -> None:
    """`identity` that drops everything behaves as NVIDIA's decoder does in a container without its libraries."""
    gi = pytest.importorskip("gi")
    gi.require_version("Gst", "1.0")
    from gi.repository import Gst

    Gst.init(None)
    for element in ("x264enc", "h264parse", "avdec_h264"):
        if Gst.ElementFactory.find(element) is None:
            pytest.skip(f"GStreamer has no {element}")
    assert decodes("avdec_h264") is True
    assert decodes("identity drop-probability=1") is False
    assert decodes("nvh264dec_that_is_not_there") is False


def test_only_decoders_known_to_fail_are_distrusted() -> None:
    known = {"nvv4l2decoder": False, "nvh264dec": True, "nvjpegdec": None}
    assert broken_decoders(list(known), known.__getitem__) == ("nvv4l2decoder",)
