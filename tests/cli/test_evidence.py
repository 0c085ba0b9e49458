"""What a person names becomes files with what is known of them, and a judge of what was held out."""

import json
from pathlib import Path

import pytest
from doubles.tiny_bundle import tiny_contract

from affectrt.bundle import UsageError
from affectrt.calibration.data import check_disjoint
from affectrt.cli.evidence import evaluation_set, known_media
from affectrt.cli.media import media_from_paths

SPLITS = {"train": "train", "validation": "validate", "test": "test"}


def make_corpus(root: Path, people: dict[str, dict[str, str]], *, record: bool = True, seed: int | None = None) -> Path:
    """Split → clip → person; every clip's bytes are its own."""
    for split, clips in people.items():
        for name in clips:
            media = root / "raw_videos" / f"{name.removesuffix('_left').removesuffix('_right')}.mp4"
            annotation = root / "6th_ABAW_Annotations" / "VA" / SPLITS[split] / f"{name}.txt"
            for path, text in (
                (media, f"{root.name} {media.stem}"),
                (annotation, "valence,arousal\n0.5,-0.5\n-5,-5\n"),
            ):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
    told = {
        "clips": [{"name": n, "identity": p} for clips in people.values() for n, p in clips.items()],
        "label_hz": 25,
    }
    if seed is not None:
        told |= {"format": "affectrt-synthetic-corpus/1", "parameters": {"seed": seed}}
    if record:
        (root / "corpus.json").write_text(json.dumps(told))
    return root


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    people = {
        "train": {"a": "anna", "pair_left": "ben", "pair_right": "carl"},
        "validation": {"v": "vera"},
        "test": {"t": "tom"},
    }
    return make_corpus(tmp_path / "corpus", people)


def test_files_of_a_corpus_are_known_however_they_are_named(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(corpus / "raw_videos")
    (corpus / "raw_videos" / "extra.mp4").touch()
    for folder in (corpus / "raw_videos", Path()):
        a, pair, extra = known_media([folder / name for name in ("a.mp4", "pair.mp4", "extra.mp4")])
        assert a.people == ("anna",) and a.truth is not None and a.truth.shape == (2, 2)
        assert pair.people == ("ben", "carl") and pair.truth is not None and pair.truth.shape == (4, 2)
        assert extra.people == () and extra.truth is None


def test_a_recording_from_elsewhere_is_known_by_its_content_alone(tmp_path: Path) -> None:
    (tmp_path / "me.mp4").write_text("me")
    (file,) = known_media([tmp_path / "me.mp4"])
    assert file.people == () and file.truth is None and file.size_bytes == 2


def test_of_a_corpus_the_test_split_judges_and_nothing_of_it_is_calibrated_on(corpus: Path) -> None:
    chosen = evaluation_set([corpus], [])
    judge = chosen.judge_of(tiny_contract(), None)
    assert (judge.kind, judge.videos, judge.corpus) == ("truth", 1, "corpus, test, video+audio")
    assert [(file.path.name, file.people) for file in chosen.files] == [("t.mp4", ("tom",))]
    calibration = known_media(media_from_paths([corpus]))
    assert [file.path.name for file in calibration] == ["a.mp4", "pair.mp4"]  # both people of the pair are trained on
    check_disjoint(calibration, chosen.files)


def test_the_corpus_that_ranges_come_from_judges_where_no_other_is_named(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "more.mp4").touch()
    assert (
        evaluation_set(None, [tmp_path / "more.mp4", corpus])
        .judge_of(tiny_contract(), None)
        .corpus.startswith("corpus, test")
    )


def test_without_test_labels_the_validation_split_judges(tmp_path: Path) -> None:
    released = make_corpus(tmp_path / "real", {"train": {"a": "x"}, "validation": {"v": "y"}}, record=False)
    chosen = evaluation_set([released], [])
    assert chosen.judge_of(tiny_contract(), None).corpus == "real, validation, video+audio"
    assert [file.people for file in chosen.files] == [()]


def test_recordings_without_truth_judge_by_agreement(tmp_path: Path) -> None:
    recordings = [tmp_path / f"{name}.mp4" for name in "ab"]
    for path in recordings:
        path.write_text(path.name)
    chosen = evaluation_set([tmp_path], [])
    judge = chosen.judge_of(tiny_contract(), None)
    assert (judge.kind, judge.videos) == ("agreement", 2)
    assert [file.path for file in chosen.files] == recordings
    with pytest.raises(UsageError, match=r"a\.mp4 is in both"):
        check_disjoint(known_media(recordings[:1]), chosen.files)


def test_a_person_of_both_sets_is_found_across_corpora(corpus: Path, tmp_path: Path) -> None:
    other = make_corpus(tmp_path / "other", {"train": {"x": "tom"}})
    with pytest.raises(UsageError, match=r"x\.mp4 shows tom, as t\.mp4 does"):
        check_disjoint(known_media(media_from_paths([other])), evaluation_set([corpus], []).files)


def test_drawn_people_of_two_seeds_share_names_alone(tmp_path: Path) -> None:
    drawn = {
        name: make_corpus(tmp_path / name, {"train": {"c0": "person-0000"}, "test": {"c1": "person-0001"}}, seed=seed)
        for name, seed in (("one", 1), ("again", 1), ("two", 2))
    }
    judged = {name: evaluation_set([root], []).files for name, root in drawn.items()}
    held_out = known_media([drawn["one"] / "raw_videos" / "c1.mp4"])
    check_disjoint(held_out, judged["two"])
    with pytest.raises(UsageError, match="shows person-0001 of seed 1"):
        check_disjoint(held_out, judged["again"])


def test_nothing_and_too_much_to_judge_on_is_wrong_use(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "me.mp4").touch()
    for paths, media, says in (
        (None, [tmp_path / "me.mp4"], "nothing to judge candidates on"),
        ([corpus, tmp_path / "me.mp4"], [], "to judge on"),
        ([corpus, corpus], [], "to judge on"),
        ([make_corpus(tmp_path / "small", {"train": {"a": "x"}})], [], "training alone"),
        ([tmp_path / "gone"], [], "does not exist"),
    ):
        with pytest.raises(UsageError, match=says):
            evaluation_set(paths, media)
