"""From raw videos to a prepared corpus: it holds what a run would compute, at whatever point it was stopped."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from doubles.media import rotate_mp4, write_media
from doubles.tiny_bundle import tiny_contract

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import AffectError, MissingDependency, UsageError
from affectrt.training.media import picture_times
from affectrt.training.prepare import GivenCrops, Options, RawVideo, prepare
from affectrt.training.prepare.affwild2 import raw_videos
from affectrt.training.prepare.one_video import labels_at
from affectrt.training.prepared import PreparedCorpus
from affectrt.training.recordings import record_video

FPS = 25


def clip_contract(frames: int = 4) -> Contract:
    """The tiny contract with spans of several frames and sound that ends at the step, as CAV's does."""
    told = tiny_contract().model_dump()
    told["video"] |= {"span_frames": frames}
    told["video"]["input"]["shape"] = (frames, *told["video"]["input"]["shape"])
    told["audio"] |= {"anchor": "end"}
    return Contract.model_validate(told)


def pictures(count: int, size: tuple[int, int] = (32, 48), seed: int = 1) -> np.ndarray:
    """Smooth pictures that all differ."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (count, 4, 4, 3), np.uint8)
    return np.stack([cv2.resize(one, size[::-1], interpolation=cv2.INTER_LINEAR) for one in coarse])


def sound(seconds: float, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, round(48_000 * seconds)).astype(np.float32)


def annotate(root: Path, name: str, rows: int | Sequence[str], split: str = "train") -> None:
    folder = root / "6th_ABAW_Annotations/VA" / split
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{i % 1000 / 1000:.3f},{-(i % 1000) / 1000:.3f}" for i in range(rows)] if isinstance(rows, int) else rows
    (folder / f"{name}.txt").write_text("\n".join(["valence,arousal", *lines]) + "\n")


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The defects that real files have, one a video."""
    root = tmp_path_factory.mktemp("raw")
    media = root / "raw_videos"
    media.mkdir()
    write_media(media / "usual.mp4", frames=pictures(50), samples=sound(2.0))
    write_media(media / "silent.mp4", frames=pictures(30, seed=3))
    write_media(media / "loud-longer.mkv", frames=pictures(20, seed=4), samples=sound(1.6))
    write_media(media / "short.mp4", frames=pictures(3, seed=5), samples=sound(0.12))
    write_media(media / "thirty.mp4", frames=pictures(45, seed=6), fps=30, samples=sound(1.5))
    at = np.cumsum(np.tile([0.04, 0.02, 0.1, 0.04, 0.3], 8)) - 0.04
    write_media(media / "uneven.mkv", frames=pictures(40, seed=7), pts_s=at, samples=sound(float(at[-1])))
    upright = write_media(root / "upright.mp4", frames=pictures(25, seed=8), samples=sound(1.0))
    rotate_mp4(upright, media / "turned.mp4")
    for name, rows in (("usual", 50), ("silent", 30), ("loud-longer", 20), ("short", 3), ("thirty", 45)):
        annotate(root, name, rows)
    annotate(root, "uneven", 40, "validate")
    annotate(root, "turned", 25, "validate")
    return root


def test_crops_and_sound_are_what_a_run_computes(raw: Path, tmp_path: Path) -> None:
    contract = clip_contract()
    corpus = raw_videos(raw)
    made = prepare(corpus, tmp_path / "out", Options(contract, faces="whole")).corpus
    assert [video.name for video in made.all_videos] == [video.name for video in corpus.videos]
    for video, source in zip(made.all_videos, corpus.videos, strict=True):
        ours, run = video.spans(), record_video(contract, source.media, margin=True)
        for what in ("crops", "crops_of_step", "waveform", "start_of_step"):
            here, there = getattr(ours, what), getattr(run, what)
            assert here.dtype == there.dtype
            np.testing.assert_array_equal(here, there, err_msg=f"{video.name} {what}")
        assert ours.span_samples == run.span_samples
    turned = next(video for video in made.all_videos if video.name == "turned")
    assert turned.record.seen == 25


def test_labels_belong_to_the_picture_nearest_in_time(raw: Path, tmp_path: Path) -> None:
    corpus = raw_videos(raw)
    made = prepare(corpus, tmp_path / "out", Options(tiny_contract(), faces="whole")).corpus
    for video, source in zip(made.all_videos, corpus.videos, strict=True):
        times, truth = picture_times(source.media), video.truth()
        for step, at in enumerate(video.times_s()):
            nearest = int(np.argmin(np.abs(times - at)))
            if abs(times[nearest] - at) < 0.099:
                assert truth[step, 0] == pytest.approx(nearest / 1000, abs=0.0011), (video.name, step)
            elif abs(times[nearest] - at) > 0.101:
                assert np.isnan(truth[step]).all()


def test_on_the_clock_of_pictures_a_step_is_a_picture(raw: Path, tmp_path: Path) -> None:
    corpus = raw_videos(raw)
    made = prepare(corpus, tmp_path / "out", Options(tiny_contract(), faces="whole", clock="pictures")).corpus
    for video in made.all_videos:
        assert video.steps == video.record.pictures == video.record.crops
        spans = video.spans()
        assert spans.crops_of_step[:, 0].tolist() == list(range(video.steps))
        np.testing.assert_array_equal(video.truth()[:, 0], np.float32(np.arange(video.steps) / 1000))
    thirty = next(video for video in made.all_videos if video.name == "thirty")
    assert thirty.step_hz == 30.0 and thirty.times_s()[15] == 0.5
    assert thirty.spans().start_of_step[15] == 8000


def test_given_crops_meet_the_picture_of_their_number(raw: Path, tmp_path: Path) -> None:
    folder = tmp_path / "crops"
    folder.mkdir()
    for number in (1, 2, 3, 6, 7):  # of picture 4 and 5 there is none, nor of any after 7
        cv2.imwrite(str(folder / f"{number:05d}.png"), np.full((112, 112, 3), 10 * number, np.uint8))
    corpus = raw_videos(raw)
    usual = next(video for video in corpus.videos if video.name == "usual")
    given = RawVideo("usual", "train", usual.media, usual.labels, crops=GivenCrops(folder, "{:05d}.png"))
    one = type(corpus)(raw, "affwild2", "", (given,))
    video = prepare(one, tmp_path / "out", Options(tiny_contract())).corpus.all_videos[0]
    spans = video.spans()
    shown = [int(spans.crops[row, 0, 0, 0]) if row >= 0 else None for row in spans.crops_of_step[:9, 0]]
    assert shown == [10, 20, 30, None, None, 60, 70, None, None]
    assert video.truth()[5, 0] == np.float32(0.005)
    assert video.record.seen == 5 and video.record.dropped["pictures without the face"] == 45
    assert video.record.heard == 50  # the sound goes on


def test_a_video_that_cannot_be_read_fails_the_command_and_leaves_the_others(raw: Path, tmp_path: Path) -> None:
    root = tmp_path / "raw"
    (root / "raw_videos").mkdir(parents=True)
    (root / "raw_videos/good.mp4").write_bytes((raw / "raw_videos/short.mp4").read_bytes())
    (root / "raw_videos/bad.mp4").write_bytes(b"no video at all" * 100)
    (root / "raw_videos/nobody.mp4").write_bytes((raw / "raw_videos/short.mp4").read_bytes())
    for name in ("good", "bad", "gone"):
        annotate(root, name, 3)
    annotate(root, "nobody", ["-5,-5"] * 3)
    options = Options(tiny_contract(), faces="whole")
    with pytest.raises(AffectError) as caught:
        prepare(raw_videos(root), tmp_path / "out", options)
    assert "bad: " in str(caught.value) and "gone: " in str(caught.value) and "--allow-failures" in str(caught.value)
    assert not (tmp_path / "out/corpus.json").exists()
    assert (tmp_path / "out/videos/good/crops.npy").exists()
    made = prepare(raw_videos(root), tmp_path / "out", Options(tiny_contract(), faces="whole", allow_failures=True))
    assert [video.name for video in made.corpus.all_videos] == ["good"]
    assert {(one.name, one.failed) for one in made.corpus.record.left_out} == {
        ("bad", True),
        ("gone", True),
        ("nobody", False),
    }
    assert str(tmp_path) not in (tmp_path / "out/corpus.json").read_text()


def test_a_corpus_begun_otherwise_is_not_gone_on_with(raw: Path, tmp_path: Path) -> None:
    root = tmp_path / "raw"
    (root / "raw_videos").mkdir(parents=True)
    (root / "raw_videos/good.mp4").write_bytes((raw / "raw_videos/short.mp4").read_bytes())
    annotate(root, "good", 3)
    prepare(raw_videos(root), tmp_path / "out", Options(tiny_contract(), faces="whole"))
    with pytest.raises(UsageError, match=r"step_hz: 25\.0 there, 30\.0 now"):
        prepare(raw_videos(root), tmp_path / "out", Options(tiny_contract(step_hz=30.0), faces="whole"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="not a prepared corpus"):
        prepare(raw_videos(root), tmp_path / "mine", Options(tiny_contract(), faces="whole"))


def test_without_crops_and_detector_the_command_that_brings_one_is_named(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFFECTRT_CACHE_DIR", str(tmp_path / "empty"))
    with pytest.raises(MissingDependency) as caught:
        prepare(raw_videos(raw), tmp_path / "out", Options(tiny_contract()))
    assert caught.value.fix == "affectrt assets pull yunet"


def test_the_clip_before_a_side_has_the_sound_of_the_base_video(raw: Path, tmp_path: Path) -> None:
    root = tmp_path / "raw"
    (root / "raw_videos").mkdir(parents=True)
    for name in ("two", "three"):
        (root / f"raw_videos/{name}.mp4").write_bytes((raw / "raw_videos/usual.mp4").read_bytes())
    for name in ("two_left", "two_right", "three", "three_right"):
        annotate(root, name, 50)
    told = {video.name: (video.media.name, video.side) for video in raw_videos(root).videos}
    assert told == {
        "three": ("three.mp4", "left"),
        "three_right": ("three.mp4", "right"),
        "two_left": ("two.mp4", "left"),
        "two_right": ("two.mp4", "right"),
    }


def test_annotation_with_times_of_its_own_is_joined_by_lines_over_a_second_at_most() -> None:
    rows = np.array([[0, 0], [1, -1], [np.nan, np.nan], [0.5, 0.5], [0, 0]], np.float32)
    times = np.array([0.0, 0.5, 1.0, 1.5, 3.0])
    at = np.array([0.0, 0.25, 0.5, 0.6, 1.0, 1.5, 2.0, 3.05, 3.2])
    labels = labels_at(rows, times, at)
    expected = [0, 0.5, 1, np.nan, np.nan, 0.5, np.nan, 0, np.nan]
    np.testing.assert_allclose(labels[:, 0], np.float32(expected))


CHILD = """
import os, random, signal, sys
from pathlib import Path
root, out, bundle, left, workers = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
from affectrt.bundle.contract import Contract
from affectrt.training.prepare import Options, prepare
from affectrt.training.prepare.affwild2 import raw_videos
from affectrt.training.prepare.writer import GrowingArray
contract = Contract.model_validate_json(Path(bundle).read_text())
def step():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
def heard(event, arguments):
    if event in {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"}:
        if any(str(out) in str(argument) for argument in arguments):
            step()
sys.addaudithook(heard)
append = GrowingArray.append
def counted(self, rows):
    step()
    append(self, rows)
    self._file.flush()
GrowingArray.append = counted
corpus = raw_videos(root)
prepare(corpus, out, Options(contract, faces="whole", workers=workers))
print(1000000 - left)
"""


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def run_child(raw: Path, out: Path, contract: Path, left: int, workers: int = 1) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", CHILD, raw, out, contract, left, workers]
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=300, check=False)


def killed_and_gone_on(raw: Path, tmp_path: Path, seeds: Sequence[int]) -> None:
    root = tmp_path / "raw"
    (root / "raw_videos").mkdir(parents=True)
    for name, of in (("a", "short"), ("b", "loud-longer"), ("c", "short")):
        source = next((raw / "raw_videos").glob(f"{of}.*"))
        (root / "raw_videos" / f"{name}{source.suffix}").write_bytes(source.read_bytes())
        annotate(root, name, 3)
    contract = tmp_path / "contract.json"
    contract.write_text(tiny_contract().model_dump_json())
    whole = run_child(root, tmp_path / "whole", contract, 1_000_000)
    assert whole.returncode == 0, whole.stderr
    points = int(whole.stdout)
    assert points > 100
    for seed in seeds:
        rng, out = np.random.default_rng(seed), tmp_path / f"killed-{seed}"
        kills = 0
        for left in rng.integers(1, points, 2).tolist():
            ended = run_child(root, out, contract, left)
            assert ended.returncode in {0, -9}, ended.stderr
            kills += ended.returncode == -9
        assert kills
        last = run_child(root, out, contract, 1_000_000)
        assert last.returncode == 0, last.stderr
        assert tree(out) == tree(tmp_path / "whole"), seed


def test_killed_anywhere_and_gone_on_equals_undisturbed(raw: Path, tmp_path: Path) -> None:
    killed_and_gone_on(raw, tmp_path, [0])


@pytest.mark.slow
def test_killed_anywhere_many_times_and_gone_on_equals_undisturbed(raw: Path, tmp_path: Path) -> None:
    killed_and_gone_on(raw, tmp_path, range(1, 16))


@pytest.mark.slow
def test_several_processes_make_the_bytes_of_one_and_end_with_their_parent(raw: Path, tmp_path: Path) -> None:
    import signal
    import time

    contract = tiny_contract()
    one = prepare(raw_videos(raw), tmp_path / "one", Options(contract, faces="whole"))
    prepare(raw_videos(raw), tmp_path / "two", Options(contract, faces="whole", workers=2))
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    told = tmp_path / "contract.json"
    told.write_text(contract.model_dump_json())
    words = [sys.executable, "-c", CHILD, raw, tmp_path / "three", told, 1_000_000, 2]
    parent = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "three").glob("videos/.*.part")) and parent.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while any(Path(f"/proc/{child}/cmdline").exists() and alive(child) for child in children):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.05)
    prepare(raw_videos(raw), tmp_path / "three", Options(contract, faces="whole"))
    assert tree(tmp_path / "three") == tree(tmp_path / "one")
    assert one.made_now == 7


def alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


MEASURED = """
import sys
from pathlib import Path
from affectrt.bundle.contract import Contract
from affectrt.training.prepare import Options, prepare
from affectrt.training.prepare.affwild2 import raw_videos
contract = Contract.model_validate_json(Path(sys.argv[3]).read_text())
prepare(raw_videos(Path(sys.argv[1])), Path(sys.argv[2]), Options(contract, faces="whole"))
# Not getrusage: its peak is that of the process that forked, too.
print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_a_video(tmp_path: Path) -> None:
    """150 528 bytes a crop: the longer video's 3000 crops take 452 MB on disk."""
    told = tmp_path / "contract.json"
    told.write_text(tiny_contract(crop_px=220).model_dump_json())  # resize_px 224
    peaks = []
    for seconds in (10, 120):
        root = tmp_path / f"raw-{seconds}"
        (root / "raw_videos").mkdir(parents=True)
        frames = np.tile(pictures(25), (seconds, 1, 1, 1))
        write_media(root / "raw_videos/long.mp4", frames=frames, samples=sound(seconds))
        annotate(root, "long", len(frames))
        words = [sys.executable, "-c", MEASURED, root, tmp_path / f"out-{seconds}", told]
        ended = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        peaks.append(int(ended.stdout) / 1024)
        assert PreparedCorpus.open(tmp_path / f"out-{seconds}").all_videos[0].record.crops == 25 * seconds
    print(f"peak memory, MiB: {peaks}")
    assert peaks[1] - peaks[0] < 40, json.dumps(peaks)
