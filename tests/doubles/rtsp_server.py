"""A network camera in a process of its own, so that it can be killed, stopped and started again.

    with RtspServer(port) as server: server.kill(); server.start()

It sends H.264 and Opus; in the first half of every second the picture is white and there is a tone.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence

import pytest

__all__ = ["RtspServer", "free_port"]

_PICTURE = (
    "videotestsrc is-live=true pattern=solid-color name=picture ! "
    "video/x-raw,width=160,height=120,framerate=25/1 ! videobalance name=flash ! videoconvert ! "
    "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=12 ! rtph264pay name=pay0 pt=96"
)
_SOUND = (
    "audiotestsrc is-live=true samplesperbuffer=480 freq=1000 volume=0.5 ! audio/x-raw,rate=48000,channels=1 ! "
    "volume name=beep ! audioconvert ! opusenc frame-size=10 ! rtpopuspay name=pay{index} pt=97"
)


class RtspServer:
    """`password` is asked of the user called `user`; `transport` udp refuses TCP.

    Skips the test where there is no server library.
    """

    def __init__(
        self, *, streams: Sequence[str] = ("video", "audio"), password: str | None = None, transport: str = "any"
    ) -> None:
        pytest.importorskip("gi")
        self.port = free_port()
        self._arguments = [sys.executable, __file__, str(self.port), "+".join(streams), password or "", transport]
        self._process: subprocess.Popen[str] | None = None
        self.url = f"rtsp://127.0.0.1:{self.port}/live"

    def start(self) -> None:
        """Returns once it listens."""
        self._process = subprocess.Popen(self._arguments, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if line != "listening":
            self._process.wait()
            pytest.skip(f"no RTSP server can be started: {line or 'it says nothing'}")

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None

    def freeze(self) -> None:
        """As when the cable is pulled: connections stay, nothing comes."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> RtspServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _serve(port: str, streams: str, password: str, transport: str) -> None:
    try:
        import gi

        gi.require_version("Gst", "1.0")
        gi.require_version("GstRtspServer", "1.0")
        gi.require_version("GstRtsp", "1.0")
        gi.require_version("GstController", "1.0")
        from gi.repository import GLib, Gst, GstController, GstRtsp, GstRtspServer
    except (ImportError, ValueError) as error:
        print(error, flush=True)
        return
    Gst.init(None)
    if Gst.ElementFactory.find("x264enc") is None or Gst.ElementFactory.find("rtpopuspay") is None:
        print("x264enc or rtpopuspay is missing", flush=True)
        return

    def switch(element: object, name: str, high: float) -> None:
        wave = GstController.LFOControlSource()
        for key, value in {
            "frequency": 1.0,
            "amplitude": high / 2,
            "offset": high / 2,
            "timeshift": 500_000_000,
        }.items():
            wave.set_property(key, value)
        wave.set_property("waveform", GstController.LFOWaveform.SQUARE)
        element.add_control_binding(GstController.DirectControlBinding.new(element, name, wave))  # type: ignore[attr-defined]

    def configure(_factory: object, media: object) -> None:
        top = media.get_element()  # type: ignore[attr-defined]
        for name, key, high in (("flash", "brightness", 1.0), ("beep", "volume", 0.1)):
            element = top.get_by_name(name)
            if element is not None:
                switch(element, key, high)

    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    parts = [_PICTURE] if "video" in streams else []
    if "audio" in streams:
        parts.append(_SOUND.format(index=len(parts)))
    factory.set_launch(f"( {' '.join(parts)} )")
    factory.set_shared(True)
    if transport == "udp":
        factory.set_protocols(GstRtsp.RTSPLowerTrans.UDP)
    factory.connect("media-configure", configure)
    if password:
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic("user", password), token)
        server.set_auth(auth)
        factory.add_role_from_structure(
            Gst.Structure.from_string("user,media.factory.access=true,media.factory.construct=true")[0]
        )
    server.get_mount_points().add_factory("/live", factory)
    if server.attach(None) == 0:
        print("the port is taken", flush=True)
        return
    print("listening", flush=True)
    parent = os.getppid()
    # A test that is killed leaves no server behind.
    GLib.timeout_add(500, lambda: os.getppid() == parent or os._exit(0))
    GLib.MainLoop().run()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
