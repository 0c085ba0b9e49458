import json

import numpy as np
import pytest

from affectrt.bundle.errors import AffectError, MediaError, UsageError
from affectrt.training import Corpus
from affectrt.training.corpus import read_annotation, transcript_of

GOOD = "valence,arousal\n0.5,-0.25\n-5,-5\n-5,0.1\n1,-1\n"


@pytest.fixture
def root(tmp_path):
    """A release with two training videos, one of them with two people, and one validation video."""
    (tmp_path / "raw_videos").mkdir()
    for name in ("one.mp4", "pair.avi", "three.mp4"):
        (tmp_path / "raw_videos" / name).write_bytes(b"")
    for split, trials in {"train": ("one", "pair_left", "pair_right"), "validate": ("three",)}.items():
        folder = tmp_path / "6th_ABAW_Annotations/VA" / split
        folder.mkdir(parents=True)
        for trial in trials:
            (folder / f"{trial}.txt").write_text(GOOD)
    return tmp_path


def annotate(root, text, name="one"):
    path = root / "6th_ABAW_Annotations/VA/train" / f"{name}.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_row_that_is_not_annotated_in_either_dimension_is_not_a_number(root):
    truth = read_annotation(root / "6th_ABAW_Annotations/VA/train/one.txt")
    assert truth.dtype == np.float32
    assert np.array_equal(
        truth, np.array([[0.5, -0.25], [np.nan] * 2, [np.nan] * 2, [1, -1]], np.float32), equal_nan=True
    )


@pytest.mark.parametrize(
    "text",
    [GOOD.replace("\n", "\r\n"), "\ufeff" + GOOD, GOOD + "\n\n", GOOD.replace("valence,arousal", "valence, arousal")],
)
def test_harmless_differences_in_form_are_read(root, text):
    assert len(read_annotation(annotate(root, text))) == 4


def test_two_people_in_one_video_share_its_file(root):
    videos = Corpus.open(root).videos("train")
    assert [v.name for v in videos] == ["one", "pair_left", "pair_right"]
    assert [v.media_path.name for v in videos] == ["one.mp4", "pair.avi", "pair.avi"]
    assert all(v.identity is None for v in videos)


def test_the_record_names_the_people_and_the_rate(root):
    record = {"label_hz": 25, "clips": [{"name": "one", "identity": "person-0007"}]}
    (root / "corpus.json").write_text(json.dumps(record))
    corpus = Corpus.open(root)
    video = corpus.videos("train")[0]
    assert video.identity == "person-0007"
    assert corpus.label_hz == video.label_hz == 25


def test_without_a_record_the_rate_is_the_video_s_own(root):
    corpus = Corpus.open(root)
    with pytest.raises(UsageError, match="no common label rate"):
        _ = corpus.label_hz
    with pytest.raises(MediaError, match="does not tell its frame rate"):
        _ = corpus.videos("train")[0].label_hz


def test_the_frame_rate_is_read_from_the_video(root):
    pytest.importorskip("gi")
    from affectrt.training.synthetic import write_clip

    write_clip(root / "raw_videos/one.mp4", [np.zeros((32, 32, 3), np.uint8)] * 30, fps=30)
    assert Corpus.open(root).videos("train")[0].label_hz == pytest.approx(30, rel=0.01)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the file is empty"),
        ("valence,arousal\n", "no rows"),
        ("0.1,0.2\n0.3,0.4\n", "the first line is '0.1,0.2'"),
        ("arousal,valence\n0.1,0.2\n", "the first line is 'arousal,valence'"),
        ("valence,arousal\n0.1,0.2\n0.3,oops\n", "line 3 is '0.3,oops', not two numbers"),
        ("valence,arousal\n0.1,0.2,0.3\n", "line 2 is '0.1,0.2,0.3'"),
        ("valence,arousal\n0.1,0.2\n0.3\n", "line 3 is '0.3'"),
        ("valence,arousal\n0.1,0.2\n\n0.3,0.4\n", "line 3 is ''"),
        ("valence,arousal\n# 0.1,0.2\n", "line 2 is '# 0.1,0.2'"),
        ("valence,arousal\n0.1,1.01\n0.2,0.3\n7,7\n", r"line 2 is '0.1,1.01', outside \[-1, 1\] \(2 such rows\)"),
        ("valence,arousal\n0.1,nan\n", "outside"),
        ("valence,arousal\ninf,-5\n", "outside"),
        ("valence,arousal\n-4.9,0\n", "outside"),
        (b"valence,arousal\n\xff\xfe\x00\n", "not text"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not text"),
    ],
)
def test_a_hostile_annotation_is_refused_with_its_line(root, text, says):
    path = annotate(root, text)
    with pytest.raises(AffectError, match=says) as caught:
        read_annotation(path)
    assert str(path) in caught.value.found
    assert caught.value.expected
    assert caught.value.fix


def test_an_enormous_annotation_is_not_read(root, monkeypatch):
    from affectrt.training import corpus

    monkeypatch.setattr(corpus, "MAX_ANNOTATION_BYTES", 10)
    with pytest.raises(AffectError, match="MiB of text"):
        read_annotation(annotate(root, GOOD))


def test_all_that_is_wrong_is_said_at_once(root):
    annotate(root, "nonsense")
    annotate(root, GOOD, "stranger")
    with pytest.raises(AffectError) as caught:
        Corpus.open(root).videos("train")
    text = str(caught.value)
    assert "2 problems" in text
    assert "one.txt: the first line is 'nonsense'" in text
    assert "stranger.txt: there is no video of this name" in text


def test_a_folder_that_is_no_corpus_is_refused(tmp_path, root):
    with pytest.raises(UsageError, match="is not a corpus"):
        Corpus.open(tmp_path / "nowhere")


def test_a_split_without_labels_is_refused_and_the_others_named(root):
    with pytest.raises(UsageError, match="no labels for the split 'test'") as caught:
        Corpus.open(root).videos("test")
    assert caught.value.expected == "'train' or 'validation'"


def test_an_empty_split_is_an_error(root):
    (root / "6th_ABAW_Annotations/VA/validate/three.txt").unlink()
    with pytest.raises(AffectError, match="holds no annotations"):
        Corpus.open(root).videos("validation")


def test_a_damaged_record_is_an_error_that_teaches(root):
    (root / "corpus.json").write_text('{"clips": 3}')
    with pytest.raises(AffectError, match=r"corpus\.json cannot be read"):
        Corpus.open(root)


def test_the_fingerprint_changes_with_an_annotation(root):
    before = Corpus.open(root).fingerprint
    annotate(root, GOOD.replace("0.5", "0.6"))
    assert Corpus.open(root).fingerprint != before


def test_a_transcript_is_found_beside_the_media_or_in_the_corpus_for_all_people_of_a_file(root):
    assert all(video.words_path is None for video in Corpus.open(root).videos("train"))
    before = Corpus.open(root).fingerprint
    (root / "transcripts").mkdir()
    shared = root / "transcripts/pair.words.json"
    shared.write_text('{"words": []}')
    found = {video.name: video.words_path for video in Corpus.open(root).videos("train")}
    assert found == {"one": None, "pair_left": shared, "pair_right": shared}
    assert Corpus.open(root).fingerprint != before
    beside = root / "raw_videos/pair.vtt"
    beside.write_text("WEBVTT\n")
    assert transcript_of(root / "raw_videos/pair.avi") == beside


def test_videos_lie_in_the_batches_of_the_release_or_beside_each_other(root):
    flat = Corpus.open(root).fingerprint
    shared = root / "transcripts/pair.vtt"
    shared.parent.mkdir()
    for batch, name in (("batch1", "one.mp4"), ("batch2/more", "pair.avi")):
        (root / "raw_videos" / batch).mkdir(parents=True)
        (root / "raw_videos" / name).rename(root / "raw_videos" / batch / name)
    corpus = Corpus.open(root)
    assert corpus.fingerprint != flat
    shared.write_text("WEBVTT\n")
    found = {video.name: (video.media_path.parent.name, video.words_path) for video in corpus.videos("train")}
    assert found == {"one": ("batch1", None), "pair_left": ("more", shared), "pair_right": ("more", shared)}
    assert [video.media_path.parent.name for video in corpus.videos("validation")] == ["raw_videos"]


def test_the_room_can_be_entered_without_torch_or_gstreamer():
    import subprocess
    import sys

    code = (
        "import sys; import affectrt.training, affectrt.training.corpus, affectrt.training.synthetic;"
        "print([m for m in ('torch', 'gi') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
