"""Files and streams of a web server, on the loopback interface: played in their own time, ended, or refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from doubles.live_reading import read_live
from doubles.media import flash_and_beep, write_media

from affectrt.bundle.errors import MediaError
from affectrt.runtime.sources import GstLiveSource, VideoWish, parse_source

RATE_HZ = 16_000
STEP_S = 0.04


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address under which it is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield tmp_path, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def streamed(url: str) -> GstLiveSource:
    return GstLiveSource(parse_source(url), video=VideoWish(160, 30), audio_rate_hz=RATE_HZ)


@pytest.mark.parametrize("suffix", [".webm", ".mp4"])
def test_a_web_servers_file_plays_in_step_to_its_end(suffix: str, site: tuple[Path, str]) -> None:
    folder, address = site
    frames, samples, times = flash_and_beep(2)
    write_media(folder / f"clip{suffix}", frames=frames, samples=samples)
    with streamed(f"{address}/clip{suffix}?token=geheim") as source:
        assert "geheim" not in source.name
        reading = read_live(source, 10)
    assert sorted(reading.ends) == ["audio", "video"] and source.outcome.complete and not reading.gaps
    np.testing.assert_allclose(reading.flashes_s(), times, atol=0.05)
    assert np.abs(reading.beep_after_flash_s()).max() <= STEP_S


def test_hls_plays_in_step(site: tuple[Path, str]) -> None:
    gi = pytest.importorskip("gi")
    gi.require_version("Gst", "1.0")
    from gi.repository import Gst

    Gst.init(None)
    for element in ("hlssink2", "hlsdemux", "x264enc", "avenc_aac"):
        if Gst.ElementFactory.find(element) is None:
            pytest.skip(f"GStreamer has no {element}")
    folder, address = site
    line = (
        f"hlssink2 name=out location={folder}/part%d.ts playlist-location={folder}/live.m3u8 target-duration=1 "
        "max-files=0 playlist-length=0 "
        "videotestsrc num-buffers=100 ! video/x-raw,width=160,height=120,framerate=25/1 ! "
        "x264enc tune=zerolatency key-int-max=25 ! h264parse ! out.video "
        "audiotestsrc num-buffers=188 ! audio/x-raw,rate=48000 ! avenc_aac ! out.audio"
    )
    pipeline = Gst.parse_launch(line)
    pipeline.set_state(Gst.State.PLAYING)
    message = pipeline.get_bus().timed_pop_filtered(20 * Gst.SECOND, Gst.MessageType.EOS | Gst.MessageType.ERROR)
    pipeline.set_state(Gst.State.NULL)
    assert message is not None and message.type == Gst.MessageType.EOS
    with streamed(f"{address}/live.m3u8") as source:
        reading = read_live(source, 12)
    assert len(reading.frames) > 80 and len(reading.chunks) > 80 and reading.advances()


def test_a_page_that_is_not_there_is_told_at_once(site: tuple[Path, str]) -> None:
    with pytest.raises(MediaError, match="cannot be opened") as told, streamed(f"{site[1]}/none.webm?token=geheim"):
        pass
    assert "geheim" not in str(told.value)


def test_a_page_that_is_no_media_is_told_at_once(site: tuple[Path, str]) -> None:
    (site[0] / "page.html").write_text("<html>" + "words " * 1000)
    with pytest.raises(MediaError), streamed(f"{site[1]}/page.html"):
        pass
