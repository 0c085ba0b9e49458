import hashlib
import json

import numpy as np
import pytest
from doubles.decoding import decode

from affectrt.bundle.errors import UsageError
from affectrt.training.corpus import Corpus
from affectrt.training.synthetic import corpus as maker
from affectrt.training.synthetic import make_clip, make_corpus, make_identity

pytest.importorskip("gi")

SMALL = {"seed": 3, "train": 3, "validation": 1, "test": 2, "seconds": 2.0, "size_px": 40, "progress": False}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus")
    make_corpus(root, **SMALL)
    return root


def files(root):
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())


def test_a_clip_is_the_same_every_time_and_another_seed_is_another():
    one, same, other = (make_clip(make_identity(1, 0), seed, seconds=1.0, size_px=40) for seed in (5, 5, 6))
    assert np.array_equal(one.samples, same.samples)
    assert np.array_equal(one.truth, same.truth)
    assert all(np.array_equal(a, b) for a, b in zip(one.frames(), same.frames(), strict=True))
    assert not np.array_equal(one.truth, other.truth)
    assert not np.array_equal(one.samples, other.samples)


def test_the_layout_is_aff_wild2_s(made):
    assert files(made) == [
        *(f"6th_ABAW_Annotations/VA/test/clip-000{i}.txt" for i in (4, 5)),
        *(f"6th_ABAW_Annotations/VA/train/clip-000{i}.txt" for i in (0, 1, 2)),
        "6th_ABAW_Annotations/VA/validate/clip-0003.txt",
        "corpus.json",
        *(f"raw_videos/clip-000{i}.mp4" for i in range(6)),
    ]
    lines = (made / "6th_ABAW_Annotations/VA/train/clip-0000.txt").read_text().splitlines()
    assert lines[0] == "valence,arousal"
    assert len(lines) == 1 + 50


def test_the_record_says_what_it_is_and_every_hash(made):
    record = json.loads((made / "corpus.json").read_text())
    assert record["licence"] == "CC0-1.0"
    assert record["label_hz"] == 25
    assert record["parameters"]["seed"] == 3
    assert record["parameters"]["generator_version"] == maker.GENERATOR_VERSION
    assert set(record["ideal_ccc"]) == {"meaning", "face", "voice", "both"}
    recorded = {path: digest for clip in record["clips"] for path, digest in clip["sha256"].items()}
    assert set(recorded) == set(files(made)) - {"corpus.json"}
    for path, digest in recorded.items():
        assert hashlib.sha256((made / path).read_bytes()).hexdigest() == digest


def test_no_person_is_in_two_splits(made):
    corpus = Corpus.open(made)
    people = [{video.identity for video in corpus.videos(split)} for split in ("train", "validation", "test")]
    assert [len(p) for p in people] == [3, 1, 2]
    assert len(set.union(*people)) == 6
    faces = {make_identity(3, index).face for index in range(6)}
    assert len(faces) == 6


def test_a_clip_s_file_holds_its_pictures_sound_and_truth(made):
    video = Corpus.open(made).videos("train")[1]
    record = json.loads((made / "corpus.json").read_text())["clips"][1]
    clip = make_clip(make_identity(3, 1), record["clip_seed"], seconds=2.0, size_px=40)
    assert np.allclose(video.truth, clip.truth, atol=1e-6)
    decoded = decode(video.media_path)
    assert len(decoded.pictures) == len(clip.truth) == record["frames"]
    assert decoded.samples.size / 48_000 == pytest.approx(2.0, abs=0.05)
    drawn = np.stack([frame.mean(axis=2) for frame in clip.frames()])
    assert np.abs(drawn - np.stack(decoded.pictures)).mean() < 12
    # the sound is where it was made, to the sample: correlate with the original at 16 kHz
    heard = decoded.samples[:96_000:3]
    lags = range(-80, 81)
    middle = slice(4000, 28_000)
    best = max(lags, key=lambda lag: float(np.dot(np.roll(heard, -lag)[middle], clip.samples[middle])))
    assert abs(best) <= 2


def test_making_it_again_touches_nothing(made):
    before = {path: (made / path).stat().st_mtime_ns for path in files(made)}
    make_corpus(made, **SMALL)
    assert {path: (made / path).stat().st_mtime_ns for path in files(made)} == before


def test_the_same_parameters_make_the_same_bytes(made, tmp_path):
    make_corpus(tmp_path / "again", **SMALL)
    assert Corpus.open(tmp_path / "again").fingerprint == Corpus.open(made).fingerprint


def test_an_interrupted_corpus_is_continued(made, tmp_path, monkeypatch):
    root = tmp_path / "corpus"
    written = []

    def interrupted(path, *args, **kwargs):
        if len(written) == 2:
            path.with_name(f".{path.stem}.1.mp4").write_bytes(b"half")  # as a killed run leaves it
            raise KeyboardInterrupt
        written.append(path)
        maker_write_clip(path, *args, **kwargs)

    maker_write_clip = maker.write_clip
    monkeypatch.setattr(maker, "write_clip", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_corpus(root, **SMALL)
    assert not (root / "corpus.json").exists()
    monkeypatch.setattr(
        maker, "write_clip", lambda path, *a, **k: (written.append(path), maker_write_clip(path, *a, **k))
    )
    make_corpus(root, **SMALL)
    assert len(written) == 6, "the two finished clips were kept"
    assert files(root) == files(made)
    assert (root / "corpus.json").read_bytes() == (made / "corpus.json").read_bytes()


def test_a_damaged_clip_is_made_again(made, tmp_path):
    root = tmp_path / "corpus"
    make_corpus(root, **SMALL)
    victim = root / "raw_videos/clip-0002.mp4"
    victim.write_bytes(victim.read_bytes()[:1000])
    make_corpus(root, **SMALL)
    assert victim.read_bytes() == (made / "raw_videos/clip-0002.mp4").read_bytes()


def test_another_corpus_is_never_written_over(made, tmp_path):
    with pytest.raises(UsageError, match="already holds another corpus"):
        make_corpus(made, **{**SMALL, "seed": 4})
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="not a made-up corpus"):
        make_corpus(tmp_path, **SMALL)
    assert files(tmp_path) == ["thesis.tex"]


def test_a_damaged_record_is_an_error_that_teaches(tmp_path):
    (tmp_path / "corpus.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read") as caught:
        make_corpus(tmp_path, **SMALL)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"train": -1}, "negative"),
        ({"train": 0, "validation": 0, "test": 0}, "nobody"),
        ({"seconds": 0.0}, "seconds is 0.0"),
        ({"size_px": 41}, "size_px is 41"),
        ({"seed": -1, "size_px": 4}, "size_px is 4.*seed is -1"),
    ],
)
def test_impossible_parameters_are_refused_before_anything_is_written(tmp_path, parameters, says):
    with pytest.raises(UsageError, match=says):
        make_corpus(tmp_path / "corpus", **{**SMALL, **parameters})
    assert not (tmp_path / "corpus").exists()
