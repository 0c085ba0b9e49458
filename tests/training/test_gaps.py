"""Recordings that were interrupted: whoever evaluates them, raw or prepared, streamed or offline, begins anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.known_answers import KNOWN
from doubles.media import write_media
from doubles.tiny_experiments import tiny_opened

from affectrt.runtime.sources.base import AudioChunk, VideoChunk
from affectrt.runtime.sources.memory import MemorySource
from affectrt.training.corpus import Corpus
from affectrt.training.evaluate import Opened, examine
from affectrt.training.evaluation import Examination, agreements
from affectrt.training.prepare import Options, prepare
from affectrt.training.prepare.affwild2 import raw_videos
from affectrt.training.prepared import PreparedCorpus

AWAY_S = 70.0  # timestamps that leap by more than a minute are a gap
HZ = 25


def annotate(root: Path, rows: int) -> None:
    folder = root / "6th_ABAW_Annotations/VA/test"
    folder.mkdir(parents=True)
    (folder / "clip.txt").write_text("valence,arousal\n" + "".join(f"{i / 1000},{-i / 1000}\n" for i in range(rows)))


def of_both(opened: Opened, root: Path, out: Path, chosen: tuple[str, ...]) -> tuple[PreparedCorpus, list[Examination]]:
    """The raw corpus's examinations, then those of what was prepared of it: streamed and offline."""
    raw = raw_videos(root)
    corpus = prepare(raw, out, Options(opened.contract, faces="whole")).corpus
    found: list[Examination] = []
    for one in (Corpus.open(root), corpus):
        examined = examine(opened, one, "test", sets=(chosen,), windows=("stream", "offline"))
        assert all(agreement.agree for agreement in agreements(examined)), agreements(examined)
        found += examined
    return corpus, found


def test_a_file_whose_pictures_pause_for_a_minute_is_cut_there(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    frames = np.repeat(np.repeat(rng.integers(0, 256, (60, 2, 2, 3), np.uint8), 32, axis=1), 32, axis=2)
    times = np.arange(60) / HZ + np.where(np.arange(60) < 33, 0.0, AWAY_S)
    (tmp_path / "raw/raw_videos").mkdir(parents=True)
    write_media(tmp_path / "raw/raw_videos/clip.mkv", frames=frames, pts_s=times)
    annotate(tmp_path / "raw", 60)
    corpus, found = of_both(KNOWN, tmp_path / "raw", tmp_path / "out", ("video",))
    assert corpus.record.videos[0].gaps == ((33, 33 + round(AWAY_S * HZ)),)
    for examination in found:
        estimated = np.flatnonzero(~np.isnan(examination.played[0].dense[:, 0]))
        assert estimated.tolist() == np.round(times * HZ).tolist()
        np.testing.assert_allclose(examination.played[0].dense, found[0].played[0].dense, atol=1e-5)


class Interrupted(MemorySource):
    """Two seconds and some of light and sound, a pause, and as much again; sound and pictures do not begin together."""

    def __init__(self, px: int) -> None:
        rng = np.random.default_rng(6)
        chunks: list[VideoChunk | AudioChunk] = []
        for begin_s, lead_s in ((0.0, 0.0), (AWAY_S + 0.013, 0.24)):
            pictures = rng.integers(0, 256, (170, px, px, 3), np.uint8)
            at = begin_s + lead_s + np.arange(170) / HZ
            chunks += [VideoChunk([one], np.array([t])) for one, t in zip(pictures, at, strict=True)]
            sound = rng.uniform(-0.5, 0.5, round(16_000 * 6.9)).astype(np.float32)
            chunks += [AudioChunk(sound[i : i + 640], begin_s + i / 16_000) for i in range(0, len(sound), 640)]
        super().__init__(chunks, name="interrupted")
        self.times_s: list[float] = [float(c.pts_s[0]) for c in chunks if isinstance(c, VideoChunk)]
        self.notes: tuple[str, ...] = ()


@pytest.mark.parametrize("system", [pytest.param("rcma", marks=pytest.mark.slow), "cav"])
def test_no_window_reaches_over_a_gap(system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through sessions that see the media and those that see what was prepared of it, and through offline windows."""
    opened = tiny_opened(system)
    assert opened.contract.video is not None
    px = opened.contract.video.resize_px

    def media(contract: Any, path: Path, modalities: Any = None, **_: Any) -> MemorySource:
        return Interrupted(px)

    for where in ("play", "offline_features"):
        monkeypatch.setattr(f"affectrt.training.{where}.open_media", media)
    monkeypatch.setattr("affectrt.training.examined.picture_times", lambda path: np.array(Interrupted(px).times_s))
    monkeypatch.setattr("affectrt.training.prepare.one_video.RawSource", lambda *_, **__: Interrupted(px))
    (tmp_path / "raw/raw_videos").mkdir(parents=True)
    (tmp_path / "raw/raw_videos/clip.mp4").write_bytes(b"in memory")
    annotate(tmp_path / "raw", 340)
    corpus, found = of_both(opened, tmp_path / "raw", tmp_path / "out", ("video", "audio"))
    (gap,) = corpus.record.videos[0].gaps
    assert gap[1] == round(AWAY_S * HZ)
    streamed = found[0].played[0].dense
    assert np.isnan(streamed[gap[0] : gap[1]]).all() and not np.isnan(streamed[-8:]).all()
    for examination in found[1:]:
        np.testing.assert_allclose(examination.played[0].dense, streamed, atol=1e-5)
