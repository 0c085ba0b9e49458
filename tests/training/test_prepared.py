"""The format of a prepared corpus: what it gives to training, and what it refuses."""

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from doubles.media import write_media
from doubles.tiny_bundle import tiny_contract

from affectrt.bundle.errors import UsageError
from affectrt.training.prepare import Options, prepare
from affectrt.training.prepare.affwild2 import raw_videos
from affectrt.training.prepared import PreparedCorpus, crops_of_step

FPS, SECONDS = 25, 2


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("raw")
    rng = np.random.default_rng(5)
    (root / "raw_videos").mkdir()
    labels = root / "6th_ABAW_Annotations/VA/train"
    labels.mkdir(parents=True)
    frames = rng.integers(0, 255, (FPS * SECONDS, 32, 32, 3), np.uint8)
    samples = rng.uniform(-0.5, 0.5, 48_000 * SECONDS).astype(np.float32)
    write_media(root / "raw_videos/one.mp4", frames=frames, samples=samples, fps=FPS)
    rows = "\n".join("-5,0.1" if i == 7 else f"{i / 100:.2f},0.5" for i in range(FPS * SECONDS))
    (labels / "one.txt").write_text(f"valence,arousal\n{rows}\n")
    out = tmp_path_factory.mktemp("prepared") / "corpus"
    prepare(raw_videos(root), out, Options(tiny_contract(), faces="whole"))
    return out


@pytest.fixture
def corpus(made: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(made, tmp_path / "copy"))


def rehashed(root: Path, name: str, /, **changes: object) -> None:
    """The record as a liar would write it: bytes and SHA-256 of the file as it is now."""
    record = json.loads((root / "corpus.json").read_text())
    content = (root / "videos/one" / name).read_bytes()
    record["videos"][0]["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    record["videos"][0].update(changes)
    (root / "corpus.json").write_text(json.dumps(record))


def test_a_row_with_one_minus_five_is_not_annotated_and_moves_no_other(corpus: Path) -> None:
    video = PreparedCorpus.open(corpus, thorough=True).videos("train")[0]
    truth = video.truth()
    assert np.isnan(truth[7]).all()
    assert truth[6, 0] == np.float32(0.06) and truth[8, 0] == np.float32(0.08)
    assert video.record.dropped == {"rows that are not annotated": 1}


def test_arrays_are_memory_maps(corpus: Path) -> None:
    spans = PreparedCorpus.open(corpus).videos("train")[0].spans()
    assert isinstance(spans.crops, np.memmap) and isinstance(spans.waveform, np.memmap)


def test_a_span_repeats_its_first_crop_and_never_looks_back_over_a_restart() -> None:
    spans = crops_of_step(np.array([-1, 0, 1, -1, 1, 2, -1, -1, 3, 4]), 3, (8,))
    assert spans.tolist() == [
        [-1, -1, -1],
        [0, 0, 0],
        [0, 0, 1],
        [-1, -1, -1],
        [0, 1, 1],
        [1, 1, 2],
        [-1, -1, -1],
        [-1, -1, -1],
        [3, 3, 3],
        [3, 3, 4],
    ]


def pickled(root: Path) -> None:
    array = np.array([{"a": 1}] * 50, object)
    np.save(root / "videos/one/times.npy", array, allow_pickle=True)
    rehashed(root, "times.npy")


def bare_pickle(root: Path) -> None:
    (root / "videos/one/labels.npy").write_bytes(pickle.dumps([1, 2, 3]))
    rehashed(root, "labels.npy")


def other_shape(root: Path) -> None:
    np.save(root / "videos/one/labels.npy", np.zeros((49, 2), np.float32))
    rehashed(root, "labels.npy")


def longer_than_its_header(root: Path) -> None:
    with (root / "videos/one/crops.npy").open("ab") as file:
        file.write(b"more")
    rehashed(root, "crops.npy")


def linked(root: Path) -> None:
    path = root / "videos/one/waveform.npy"
    path.rename(root / "elsewhere.npy")
    path.symlink_to(root / "elsewhere.npy")


def linked_folder(root: Path) -> None:
    (root / "videos/one").rename(root / "elsewhere")
    (root / "videos/one").symlink_to(root / "elsewhere")


def changed(root: Path) -> None:
    path = root / "videos/one/labels.npy"
    labels = np.load(path)
    labels[3] = 0.9
    np.save(path, labels)


def one_less(root: Path) -> None:
    path = root / "videos/one/labels.npy"
    labels = np.load(path)
    labels[3] = np.nan
    np.save(path, labels)
    rehashed(root, "labels.npy")


def out_of_range(root: Path) -> None:
    path = root / "videos/one/labels.npy"
    labels = np.load(path)
    labels[3] = -5
    np.save(path, labels)
    rehashed(root, "labels.npy")


def beyond_the_crops(root: Path) -> None:
    path = root / "videos/one/crop_of_step.npy"
    rows = np.load(path)
    rows[3] = 10_000
    np.save(path, rows)
    rehashed(root, "crop_of_step.npy")


def beyond_the_sound(root: Path) -> None:
    path = root / "videos/one/start_of_step.npy"
    starts = np.load(path)
    starts[-1] = 10**9
    np.save(path, starts)
    rehashed(root, "start_of_step.npy")


def missing(root: Path) -> None:
    (root / "videos/one/crops.npy").unlink()


def backwards(root: Path) -> None:
    path = root / "videos/one/times.npy"
    np.save(path, np.load(path)[::-1].copy())
    rehashed(root, "times.npy")


def climbing(root: Path) -> None:
    rehashed(root, "times.npy", name="../one")


def gaps_out_of_order(root: Path) -> None:
    record = json.loads((root / "corpus.json").read_text())
    record["videos"][0]["gaps"] = [[30, 40], [10, 20]]
    (root / "corpus.json").write_text(json.dumps(record))


def fifo(root: Path) -> None:
    import os

    (root / "videos/one/times.npy").unlink()
    os.mkfifo(root / "videos/one/times.npy")


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (pickled, "pickle"),
        (bare_pickle, "is no .npy file"),
        (other_shape, "(50, 2) is expected"),
        (longer_than_its_header, "longer or shorter"),
        (linked, "symbolic link"),
        (linked_folder, "not a plain folder"),
        (changed, "SHA-256"),
        (one_less, "annotated steps are"),
        (out_of_range, "neither in [-1, 1] nor NaN"),
        (beyond_the_crops, "crop_of_step.npy names rows"),
        (beyond_the_sound, "spans beyond the waveform"),
        (missing, "crops.npy is missing"),
        (backwards, "does not increase"),
        (climbing, "name"),
        (gaps_out_of_order, "gaps that are out of order"),
        (fifo, "not a plain file"),
    ],
)
def test_what_cannot_be_trusted_is_refused(corpus: Path, harm: Callable[[Path], None], told: str) -> None:
    harm(corpus)
    with pytest.raises(UsageError) as caught:
        PreparedCorpus.open(corpus)
    assert told in str(caught.value)
    assert "affectrt prepare" in str(caught.value)


def test_sound_that_is_no_number_is_found_by_a_thorough_look(corpus: Path) -> None:
    path = corpus / "videos/one/waveform.npy"
    samples = np.load(path)
    samples[100] = np.nan
    np.save(path, samples)
    rehashed(corpus, "waveform.npy")
    PreparedCorpus.open(corpus)
    with pytest.raises(UsageError, match="samples that are not numbers"):
        PreparedCorpus.open(corpus, thorough=True)


def test_all_problems_are_told_at_once(corpus: Path) -> None:
    missing(corpus)
    changed(corpus)
    linked(corpus)
    with pytest.raises(UsageError) as caught:
        PreparedCorpus.open(corpus)
    assert all(name in str(caught.value) for name in ("crops.npy", "labels.npy", "waveform.npy"))


def test_a_network_of_another_clock_is_told_each_difference(corpus: Path) -> None:
    with pytest.raises(UsageError) as caught:
        PreparedCorpus.open(corpus).check_fits(tiny_contract(step_hz=30.0, span_samples=800))
    assert "step_hz is 25.0" in str(caught.value) and "audio.span_samples is 1600" in str(caught.value)
    PreparedCorpus.open(corpus).check_fits(tiny_contract())
