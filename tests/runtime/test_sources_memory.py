"""The source in memory behaves as a file does: in order of media time, each modality ending once."""

from __future__ import annotations

import numpy as np
from doubles.tiny_bundle import tiny_contract

from affectrt.runtime.sources import AudioChunk, FileSource, MemorySource, StreamEnd, VideoChunk, open_source


def test_chunks_come_in_the_order_of_media_time() -> None:
    frames = np.zeros((10, 8, 8, 3), np.uint8)
    samples = np.zeros(8000, np.float32)
    with MemorySource.from_arrays(frames=frames, pts_s=np.arange(10) / 25, samples=samples) as source:
        assert source.modalities == {"video", "audio"}
        events = list(source)
    times = [
        float(e.pts_s[0]) if isinstance(e, VideoChunk) else e.pts_s for e in events if not isinstance(e, StreamEnd)
    ]
    assert times == sorted(times)
    assert [e.modality for e in events if isinstance(e, StreamEnd)] == ["video", "audio"]
    assert sum(len(e.samples) for e in events if isinstance(e, AudioChunk)) == 8000
    assert source.outcome.kinds == ("complete",)


def test_stop_leaves_the_rest_out() -> None:
    with MemorySource.from_arrays(samples=np.zeros(16_000, np.float32)) as source:
        events = iter(source)
        next(events)
        source.stop()
        assert list(events) == []
    assert source.modalities == {"audio"} and source.outcome.kinds == ("stopped",)


def test_a_path_or_a_file_uri_is_a_source_and_the_contract_says_what_of_it() -> None:
    contract = tiny_contract(video=False)
    plain = open_source("some where/clip.mp4", contract)
    assert isinstance(plain, FileSource) and str(plain.path) == "some where/clip.mp4"
    uri = open_source("file:///some%20where/clip.mp4", contract)
    assert isinstance(uri, FileSource) and str(uri.path) == "/some where/clip.mp4"
