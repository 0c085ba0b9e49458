"""Features of frozen encoders: those of a run, computed once, and nothing else is ever read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from doubles.media import write_media
from doubles.tiny_bundle import make_tiny_bundle, tiny_contract

from affectrt.bundle.errors import UsageError
from affectrt.runtime import Request, Scheduler
from affectrt.runtime.replay import replay
from affectrt.training import feature_cache
from affectrt.training.feature_cache import FeatureCache, cache_features
from affectrt.training.frozen_encoders import FrozenEncoders, of_bundle
from affectrt.training.media import open_media
from affectrt.training.prepare import Options, prepare
from affectrt.training.prepare.affwild2 import raw_videos
from affectrt.training.prepared import PreparedCorpus

Answers = dict[str, dict[int, np.ndarray]]
CLIPS = {"one": (25, 2.0), "two": (30, 1.4), "silent": (12.5, 2.0)}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, rng = tmp_path_factory.mktemp("raw"), np.random.default_rng(5)
    (root / "raw_videos").mkdir()
    labels = root / "6th_ABAW_Annotations/VA/train"
    labels.mkdir(parents=True)
    for name, (fps, seconds) in CLIPS.items():
        count = round(fps * seconds)
        frames = rng.integers(0, 255, (count, 32, 32, 3), np.uint8)
        samples = rng.uniform(-0.5, 0.5, round(48_000 * seconds)).astype(np.float32) if name != "silent" else None
        times = np.arange(count) / fps
        write_media(root / f"raw_videos/{name}.mp4", frames=frames, samples=samples, pts_s=times)
        (labels / f"{name}.txt").write_text("valence,arousal\n" + "0.1,0.2\n" * count)
    return root


@pytest.fixture(scope="module")
def corpus(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedCorpus:
    out = tmp_path_factory.mktemp("prepared") / "corpus"
    return prepare(raw_videos(raw), out, Options(tiny_contract(), faces="whole")).corpus


@pytest.fixture(scope="module")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny.affect").path


def encoders_of(path: Path, stack: ExitStack) -> FrozenEncoders:
    from affectrt.bundle import open_bundle

    return of_bundle(open_bundle(path), stack, backend="onnxruntime", threads=1)


def cached(path: Path, corpus: PreparedCorpus, cache: Path, **more: bool) -> FeatureCache:
    with ExitStack() as stack:
        return cache_features(encoders_of(path, stack), corpus, cache, corpus.all_videos, **more)


def test_features_are_to_the_last_bit_those_that_the_session_gets(
    raw: Path, corpus: PreparedCorpus, bundle_path: Path, tmp_path: Path
) -> None:
    found = cached(bundle_path, corpus, tmp_path / "cache")
    contract = tiny_contract()
    with ExitStack() as stack:
        engines = dict(encoders_of(bundle_path, stack).engines)
        scheduler = Scheduler(contract, engines)
        for video in corpus.all_videos:
            got: dict[str, dict[int, np.ndarray]] = {"video": {}, "audio": {}}

            def infer(
                requests: Sequence[Request],
                got: dict[str, dict[int, np.ndarray]] = got,
                scheduler: Scheduler = scheduler,
            ) -> list[np.ndarray]:
                asked = [r for r in requests if r.stage in got]
                for request, row in zip(asked, scheduler.infer(asked), strict=True):
                    got[request.stage][request.step] = row
                return [got[r.stage][r.step] if r.stage in got else np.zeros((10, 2), np.float32) for r in requests]

            with open_media(contract, raw / f"raw_videos/{video.name}.mp4") as source:
                replay(contract, source, infer, hop_steps=1)
            rows = found.rows(video.name)
            assert len(got["video"]) >= 20 and (len(got["audio"]) >= 20) == (video.name != "silent")
            for stage, answers in got.items():
                assert rows[stage].shape == (video.steps, contract.modalities[stage].feature_dim)
                for step, row in answers.items():
                    assert np.array_equal(rows[stage][step], row), (video.name, stage, step)
            assert video.name != "silent" or not rows["audio"].any()


def test_a_picture_that_is_held_on_has_the_features_of_the_step_that_showed_it_first(
    corpus: PreparedCorpus, bundle_path: Path, tmp_path: Path
) -> None:
    rows = cached(bundle_path, corpus, tmp_path / "cache").rows("silent")["video"]
    video = next(video for video in corpus.all_videos if video.name == "silent")
    shown = video.spans().crops_of_step[:, 0]
    held = np.flatnonzero(shown[1:] == shown[:-1]) + 1
    assert len(held) > 10 and np.array_equal(rows[held], rows[held - 1])
    assert len(np.unique(rows, axis=0)) == len(np.unique(shown))


def test_mirrored_features_are_those_of_the_mirrored_crops(
    corpus: PreparedCorpus, bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = cached(bundle_path, corpus, tmp_path / "cache", mirrored=True)
    seen = []
    cut = feature_cache._cut
    monkeypatch.setattr(feature_cache, "_cut", lambda span, px, way: seen.append((span, way)) or cut(span, px, way))
    cached(bundle_path, corpus, tmp_path / "another", mirrored=True)
    assert {way for _, way in seen} == {False, True}
    span = seen[0][0]
    assert np.array_equal(cut(span, 16, True), span[2:-2, 2:-2][:, ::-1])
    rows = usual.rows("one")
    np.testing.assert_allclose(rows["video"], rows["video-mirrored"], atol=1e-6)  # a mean of colours has no sides


def test_who_was_stopped_goes_on_and_what_is_there_is_not_computed_again(
    corpus: PreparedCorpus, bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = cached(bundle_path, corpus, tmp_path / "whole")
    write, calls = feature_cache._write_spans, []

    def stopped(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(feature_cache, "_write_spans", stopped)
    with pytest.raises(KeyboardInterrupt):
        cached(bundle_path, corpus, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.part"))
    monkeypatch.setattr(feature_cache, "_write_spans", write)
    again = cached(bundle_path, corpus, tmp_path / "cache")
    assert (whole.made_now, again.made_now) == (6, 4)
    files = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.*"))
    assert len(files) == 2 * 3 * 2 + 2
    assert all((tmp_path / "whole" / f).read_bytes() == (tmp_path / "cache" / f).read_bytes() for f in files)
    assert cached(bundle_path, corpus, tmp_path / "cache").made_now == 0


@pytest.mark.parametrize("damage", ["one bit", "cut short", "no record", "a lying record", "a link"])
def test_a_damaged_file_is_computed_again(
    corpus: PreparedCorpus, bundle_path: Path, tmp_path: Path, damage: str
) -> None:
    first = cached(bundle_path, corpus, tmp_path / "cache")
    wanted = np.array(first.rows("two")["audio"])
    path = next((tmp_path / "cache").glob("audio-*/two.npy"))
    content = bytearray(path.read_bytes())
    if damage == "one bit":
        content[-1] ^= 1
        path.write_bytes(content)
    elif damage == "cut short":
        path.write_bytes(content[:-4])
    elif damage == "no record":
        path.with_suffix(".json").unlink()
    elif damage == "a lying record":
        path.with_suffix(".json").write_text(json.dumps({"bytes": -1, "sha256": "x"}))
    else:
        path.rename(tmp_path / "elsewhere.npy")
        path.symlink_to(tmp_path / "elsewhere.npy")
    again = cached(bundle_path, corpus, tmp_path / "cache")
    assert again.made_now == 1 and np.array_equal(again.rows("two")["audio"], wanted)
    assert not path.is_symlink()


def test_other_encoders_another_corpus_and_other_crops_have_features_of_their_own(
    corpus: PreparedCorpus, bundle_path: Path, raw: Path, tmp_path: Path
) -> None:
    usual = cached(bundle_path, corpus, tmp_path / "cache")
    narrow = tiny_contract().model_dump()
    narrow["video"] |= {"crop_px": 14, "input": {"name": "frames", "dtype": "uint8", "shape": (14, 14, 3)}}
    contract = type(tiny_contract()).model_validate(narrow)
    other = make_tiny_bundle(tmp_path / "narrow.affect", contract=contract).path
    assert cached(other, corpus, tmp_path / "cache").made_now == 3  # the sound is the same
    options = Options(tiny_contract(), faces="whole", clock="pictures")
    pictures = prepare(raw_videos(raw), tmp_path / "pictures", options).corpus
    moved = cached(bundle_path, pictures, tmp_path / "cache")
    assert moved.made_now == 6 and moved.key != usual.key
    assert cached(bundle_path, corpus, tmp_path / "cache").made_now == 0


def test_a_cache_that_cannot_be_written_is_told(corpus: PreparedCorpus, bundle_path: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        cached(bundle_path, corpus, tmp_path / "file")
