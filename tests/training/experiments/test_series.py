"""What a window shows, sounds like and should be read as."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from doubles.tiny_experiments import tiny, toy

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from affectrt.bundle.contract import Contract  # noqa: E402
from affectrt.training.experiments.config import network_of  # noqa: E402
from affectrt.training.experiments.data import Batches, collated  # noqa: E402
from affectrt.training.experiments.series import WindowSet, compact  # noqa: E402
from affectrt.training.prepared import PreparedCorpus  # noqa: E402


def windows_of(config, root: Path, split: str = "train") -> tuple[WindowSet, list]:
    contract = Contract.model_validate(network_of(config).contract())
    videos = PreparedCorpus.open(root).videos(split)
    return WindowSet(videos, contract, config.rules, hop=config.hop, scored=False), videos


@pytest.mark.parametrize("protocol", ["published", "repaired"])
def test_every_step_of_a_window_has_the_crop_the_sound_and_the_label_of_its_step(tmp_path: Path, protocol: str) -> None:
    config = tiny(protocol=protocol)
    root = toy(tmp_path / "toy", config, unannotated=(30, 31, 32), unseen=(12, 40))
    windows, videos = windows_of(config, root)
    for index, window in enumerate(windows.windows):
        item, video = windows.item(index), videos[window.video]
        spans, truth = video.spans(), video.truth()
        rows = np.arange(video.steps)
        if protocol == "published":
            rows = np.flatnonzero(~np.isnan(truth).any(axis=1))
        steps = rows[window.start : window.start + window.rows]
        for at, step in enumerate(steps):
            assert item["seen"][at] == (step not in (12, 40))
            expected = spans.video_span(step)[1:17, 1:17] if item["seen"][at] else 0
            assert np.array_equal(item["frames"][at], np.broadcast_to(expected, (16, 16, 3)))
            heard = item["waveform"][item["starts"][at] :][: spans.span_samples]
            assert np.array_equal(heard, spans.audio_span(step))
            assert item["mask"][at] == (step not in (30, 31, 32))
            if item["mask"][at]:
                assert np.array_equal(item["truth"][at], truth[step])
        assert item["filled"].sum() == len(steps)


def test_published_windows_close_over_rows_without_annotation_and_repaired_ones_mask_them(tmp_path: Path) -> None:
    root = toy(tmp_path / "toy", tiny(), train=(50, 60), unannotated=tuple(range(30, 45)))
    published, _ = windows_of(tiny(protocol="published"), root)
    repaired, _ = windows_of(tiny(), root)
    assert all(published.item(i)["mask"].all() for i in range(len(published)))
    assert not all(repaired.item(i)["mask"].all() for i in range(len(repaired)))
    assert published.scored_rows == repaired.scored_rows - 2 * 15


def test_a_short_video_is_one_window_padded_at_its_end(tmp_path: Path) -> None:
    root = toy(tmp_path / "toy", tiny(), train=(13,))
    windows, _ = windows_of(tiny(protocol="published"), root)
    item = windows.item(0)
    assert len(windows) == 1
    assert item["filled"].tolist() == [True] * 13 + [False] * 7
    assert not item["frames"][13:].any() and not item["truth"][13:].any()
    assert list(windows.places(0)) == list(range(13))


def test_a_window_is_cut_and_mirrored_as_a_whole_and_the_same_wherever_it_is_made(tmp_path: Path) -> None:
    root = toy(tmp_path / "toy", tiny())
    windows, videos = windows_of(tiny(), root)
    spans = videos[0].spans()
    seen = set()
    for number in range(40):
        item = windows.item(0, np.random.default_rng(number))
        again = windows.item(0, np.random.default_rng(number))
        assert np.array_equal(item["frames"], again["frames"])
        cuts = [
            {
                (top, left, flip)
                for top in range(3)
                for left in range(3)
                for flip in (False, True)
                if np.array_equal(
                    frame, spans.video_span(step)[top : top + 16, left : left + 16][:, :: -1 if flip else 1]
                )
            }
            for step, frame in enumerate(item["frames"])
        ]
        whole = set.intersection(*cuts)
        assert len(whole) == 1
        seen |= whole
    assert len(seen) > 10


@pytest.mark.parametrize("protocol", ["published", "repaired"])
def test_a_cav_window_has_eight_clips_and_the_mean_label_of_its_128_frames(tmp_path: Path, protocol: str) -> None:
    config = tiny("cav", protocol=protocol, hop=1)
    root = toy(tmp_path / "toy", config, train=(140, 145), validation=(140,), unannotated=tuple(range(135, 140)))
    windows, videos = windows_of(config, root)
    first_video = [window for window in windows.windows if window.video == 0]
    assert len(first_video) == (7 if protocol == "published" else 8)
    read = [windows.item(index)["truth"][0] for index in range(len(windows))]
    np.testing.assert_allclose(windows.truth_rows(), read, rtol=1e-6)
    spans, truth = videos[0].spans(), videos[0].truth()
    lag = protocol == "published"
    for index, window in enumerate(first_video):
        item = windows.item(index)
        first = index + lag
        np.testing.assert_allclose(item["truth"][0], truth[first : first + 128].mean(axis=0), rtol=1e-5)
        assert window.start == first
        for clip in range(8):
            step = first + 16 * clip + 15
            assert np.array_equal(item["frames"][clip], spans.video_span(step - lag)[:, 1:33, 1:33])
            heard = item["waveform"][item["starts"][clip] :][: spans.span_samples]
            assert np.array_equal(heard, spans.audio_span(step))


def test_cav_mirrors_clips_one_by_one_as_published_and_windows_as_a_whole_when_repaired(tmp_path: Path) -> None:
    root = toy(tmp_path / "toy", tiny("cav"), train=(130,))
    mixed = {}
    for protocol in ("published", "repaired"):
        windows, videos = windows_of(tiny("cav", protocol=protocol, fields={"resize_px": 34, "crop_px": 34}), root)
        spans = videos[0].spans()
        mixed[protocol] = False
        for number in range(10):
            window = windows.windows[0]
            frames = windows.item(0, np.random.default_rng(number))["frames"]
            steps = [window.video_start + 16 * clip + 15 for clip in range(8)]
            flips = [not np.array_equal(f, spans.video_span(s)) for f, s in zip(frames, steps, strict=True)]
            mixed[protocol] |= 0 < sum(flips) < 8
    assert mixed == {"published": True, "repaired": False}


def test_published_cav_drops_windows_with_a_missing_face_and_repaired_cav_keeps_them(tmp_path: Path) -> None:
    root = toy(tmp_path / "toy", tiny("cav"), train=(200,), unseen=(40,))
    assert len(windows_of(tiny("cav", hop=1), root)[0]) == 73
    published, _ = windows_of(tiny("cav", hop=1, protocol="published"), root)
    assert [window.video_start for window in published.windows] == list(range(41, 72))


def test_one_modality_is_lost_now_and_then_and_never_both(tmp_path: Path) -> None:
    root = toy(tmp_path / "toy", tiny())
    windows, _ = windows_of(tiny(), root)
    found = []
    for number in range(300):
        item = windows.item(0, np.random.default_rng(number), drop=0.25)
        found.append((bool(item["seen"].any()), bool(item["heard"].any())))
    assert (False, False) not in found
    assert 0.17 < found.count((False, True)) / 300 < 0.33
    assert 0.17 < found.count((True, False)) / 300 < 0.33


def test_sound_far_apart_is_put_side_by_side_without_what_lies_between() -> None:
    waveform = np.arange(10_000, dtype=np.float32)
    starts = np.array([0, 50, 100, 5000, 5010, 9000])
    piece, moved = compact(waveform, starts, 200)
    assert len(piece) == 300 + 210 + 200
    for start, place in zip(starts, moved, strict=True):
        assert np.array_equal(piece[place : place + 200], waveform[start : start + 200])


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("count", [24, 25, 26, 35])
def test_processes_share_the_same_global_batches(world: int, count: int) -> None:
    def drawn(world: int, epoch: int) -> list[list[int]]:
        shares = []
        for rank in range(world):
            batches = Batches(count, 12, seed=1, shuffled="every_epoch", rank=rank, world=world)
            batches.sampler.set_epoch(epoch)
            shares.append([[index for _, index in share] for share in batches])
            assert len(shares[-1]) == len(batches)
        assert len({len(share) for share in shares}) == 1
        return [sorted(index for share in shares for index in share[b]) for b in range(len(shares[0]))]

    alone, together = drawn(1, 4), drawn(world, 4)
    # a last batch with fewer rows than processes is left out
    assert together == alone[: len(together)]
    assert len(alone) - len(together) == int(0 < count % 12 < world)
    assert drawn(world, 5) != together


def test_published_order_is_drawn_once() -> None:
    batches = Batches(30, 12, seed=1, shuffled="once")
    orders = []
    for epoch in (0, 1):
        batches.sampler.set_epoch(epoch)
        orders.append([index for share in batches for _, index in share])
    assert orders[0] == orders[1] != sorted(orders[0])
    assert sorted(orders[0]) == list(range(30))


def test_validation_scores_every_window_once_over_all_processes() -> None:
    for world in (1, 2, 3):
        shares = [list(Batches(13, 4, rank=rank, world=world)) for rank in range(world)]
        assert [len(share) for share in shares] == [len(Batches(13, 4, rank=r, world=world)) for r in range(world)]
        assert sorted(index for share in shares for batch in share for _, index in batch) == list(range(13))


def test_waveforms_of_a_batch_are_filled_up_to_the_longest() -> None:
    items = [{"waveform": np.ones(length, np.float32), "starts": np.zeros(2, np.int64)} for length in (3, 5)]
    batch = collated(items)
    assert batch["waveform"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
