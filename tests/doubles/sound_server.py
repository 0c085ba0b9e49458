"""A PulseAudio daemon of the test's own with a null sink, whose monitor is a microphone that hears what is played."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["SoundServer", "sound_server"]


class SoundServer:
    """`microphone` is the URI of what the null sink plays."""

    microphone = "pulse://heard.monitor"

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "socket"
        self.address = f"unix:{self._socket}"
        # None of the user's own settings, cookies or devices.
        home = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "XDG_CONFIG_HOME": str(folder)}
        self._environment = {**os.environ, **home, "PULSE_SERVER": self.address}
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        options = ["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--log-level=error"]
        modules = [
            f"module-native-protocol-unix socket={self._socket} auth-anonymous=1",
            "module-null-sink sink_name=heard",
        ]
        command = ["pulseaudio", *options, *(word for module in modules for word in ("-L", module))]
        self._run(command)
        for _ in range(100):
            if self._socket.exists():
                return
            time.sleep(0.05)
        pytest.skip("pulseaudio does not start here")

    def play(self, launch: str) -> None:
        """Play what a launch line makes, until the server ends."""
        self._run(["gst-launch-1.0", "-q", *launch.split(), "!", "pulsesink", "device=heard"])

    def kill(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._processes.clear()
        self._socket.unlink(missing_ok=True)

    def _run(self, command: list[str]) -> None:
        quiet = subprocess.DEVNULL
        self._processes.append(subprocess.Popen(command, env=self._environment, stdout=quiet, stderr=quiet))


@contextmanager
def sound_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundServer]:
    """A running server that this process's sources use as well. Skips the test where there can be none."""
    for program in ("pulseaudio", "gst-launch-1.0"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    gi = pytest.importorskip("gi")
    gi.require_version("Gst", "1.0")
    from gi.repository import Gst

    Gst.init(None)
    if Gst.ElementFactory.find("pulsesrc") is None:
        pytest.skip("GStreamer has no pulsesrc (apt: gstreamer1.0-pulseaudio)")
    # A socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="sound-") as folder:
        server = SoundServer(Path(folder))
        monkeypatch.setenv("PULSE_SERVER", server.address)
        for name in ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
            monkeypatch.setenv(name, folder)
        try:
            server.start()
            yield server
        finally:
            server.kill()
