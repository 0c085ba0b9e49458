"""Phase 2: which windows the fusion is shown, and what of them is scored."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from doubles.clip_contract import clip_contract  # noqa: E402

from affectrt.bundle.contract import Contract  # noqa: E402
from affectrt.models.rcma import Rcma  # noqa: E402
from affectrt.models.sizes import demo_config, text_demo_config  # noqa: E402
from affectrt.training.metrics import ccc  # noqa: E402
from affectrt.training.recipe import FusionRecipe  # noqa: E402
from affectrt.training.train_fusion import Features, FusionStages, FusionTask, streamed_estimates  # noqa: E402

SCHEDULE: Mapping[str, float] = {"epochs": 1, "batches": 1, "batch": 400, "learning_rate": 1e-3}


def test_windows_lose_one_modality_at_most_and_padding_is_not_scored() -> None:
    model = Rcma(demo_config())
    contract = Contract.model_validate(model.contract())
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    class Watching(torch.nn.Module):
        def forward(self, video: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
            seen.append((video, audio))
            return torch.zeros(len(video), 300, 2, requires_grad=True)

    ones = {"video": [np.ones((400, 48), np.float32)], "audio": [np.ones((400, 32), np.float32)]}
    truth = np.random.default_rng(1).uniform(-1, 1, (400, 2)).astype(np.float32)
    fusion = FusionRecipe(epochs=1, batches=1, batch=400, learning_rate=1e-3, drop_modality=0.2, short=0.5)
    FusionTask({"fusion": Watching()}, contract, [Features(ones, truth)], [], fusion).loss(np.random.default_rng(2))
    video, audio = (x[:, :, 0].numpy() for x in seen[0])
    lost_video, lost_audio = ~video.any(axis=1), ~audio.any(axis=1)
    assert not (lost_video & lost_audio).any()
    assert 0.12 < lost_video.mean() < 0.28 and 0.12 < lost_audio.mean() < 0.28
    lengths = np.maximum(video, audio).sum(axis=1)
    assert 0.4 < (lengths < 300).mean() < 0.6 and lengths.min() >= 30
    # zeros only at the end
    assert all((row[: int(n)] == 1).all() for row, n in zip(np.maximum(video, audio), lengths, strict=True))


def test_of_three_modalities_a_window_may_lose_any_but_all() -> None:
    model = Rcma(text_demo_config())
    contract = Contract.model_validate(model.contract())
    seen: list[tuple[torch.Tensor, ...]] = []

    class Watching(torch.nn.Module):
        def forward(self, *windows: torch.Tensor) -> torch.Tensor:
            seen.append(windows)
            return torch.zeros(len(windows[0]), 300, 2, requires_grad=True)

    ones = {name: [np.ones((320, m.feature_dim), np.float32)] for name, m in contract.modalities.items()}
    truth = np.random.default_rng(1).uniform(-1, 1, (320, 2)).astype(np.float32)
    fusion = FusionRecipe(epochs=1, batches=1, batch=500, learning_rate=1e-3, drop_modality=0.3, short=0.0)
    FusionTask({"fusion": Watching()}, contract, [Features(ones, truth)], [], fusion).loss(np.random.default_rng(2))
    lost = np.stack([~x[:, :, 0].numpy().any(axis=1) for x in seen[0]], axis=1)
    shares = {str(row): float((lost == row).all(axis=1).mean()) for row in np.unique(lost, axis=0)}
    assert len(shares) == 7 and not lost.all(axis=1).any(), shares
    assert all(0.2 < share < 0.35 for share in lost.mean(axis=0))


class Means(torch.nn.Module):
    """The mean of each window's rows of one modality, as the estimate; keeps the windows."""

    def __init__(self, modality: int = 0, columns: slice = slice(None)) -> None:
        super().__init__()
        self._modality, self._columns = modality, columns
        self.seen: list[tuple[np.ndarray, ...]] = []

    def forward(self, *windows: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(window.numpy().copy() for window in windows))
        return windows[self._modality].mean(dim=1)[:, self._columns].requires_grad_()


def _recording(steps: int, seed: int = 0) -> Features:
    """Features that say their step in thousandths (video) and its mean annotation over four steps (audio)."""
    truth = np.random.default_rng(seed).uniform(-1, 1, (steps, 2)).astype(np.float32)
    padded = np.concatenate([truth[:1].repeat(3, axis=0), truth])
    means = np.stack([padded[k : k + 4].mean(axis=0) for k in range(steps)])
    said = np.stack([np.arange(1, steps + 1)] * 2, axis=1).astype(np.float32) / 1000
    return Features({"video": [said], "audio": [means]}, truth)


def test_whole_windows_hold_spans_a_stride_apart_and_short_ones_repeat_their_first() -> None:
    fusion = Means()
    recipe = FusionRecipe(**SCHEDULE, drop_modality=0.0, short=0.3)
    FusionTask({"fusion": fusion}, clip_contract(), [_recording(40)], [], recipe).loss(np.random.default_rng(0))
    steps = np.round(fusion.seen[0][0][:, :, 0] * 1000).astype(int) - 1
    apart = np.diff(steps, axis=1)
    assert set(np.unique(apart)) == {0, 4}, "repeated in front, or four steps later"
    assert (np.diff(apart, axis=1) >= 0).all(), "never repeated behind"
    assert steps[:, -1].min() < 4 and steps[:, -1].max() == 39
    cut = (apart[steps[:, -1] >= 8] == 0).any(axis=1).mean()
    assert 0.12 < cut < 0.28  # two thirds of the share: the third may keep all it has


def test_windows_end_on_the_grid_alone() -> None:
    fusion = Means()
    recipe = FusionRecipe(**SCHEDULE, grid_steps=2)
    FusionTask({"fusion": fusion}, clip_contract(), [_recording(40)], [], recipe).loss(np.random.default_rng(0))
    video = fusion.seen[0][0]
    steps = np.round(video[video.any(axis=(1, 2))] * 1000).astype(int) - 1
    assert (steps % 2 == 1).all()


@pytest.mark.parametrize("short", [0.0, 0.6])
def test_a_window_shall_be_read_as_the_mean_over_the_steps_it_is_made_of_and_the_batch_is_scored(short: float) -> None:
    fusion = Means()
    recipe = FusionRecipe(epochs=1, batches=1, batch=16, learning_rate=1e-3, drop_modality=0.0, short=short, mse=0.5)
    task = FusionTask({"fusion": fusion}, clip_contract(), [_recording(60)], [], recipe)
    loss = float(task.loss(np.random.default_rng(3)).detach())
    (video, _), truth = fusion.seen[0], []
    for row in np.round(video[:, :, 0] * 1000).astype(int) - 1:
        last, spans = row[-1], len(set(row))
        truth.append(_recording(60).truth[max(0, last + 1 - 4 * spans) : last + 1].mean(axis=0))
    estimated = video.mean(axis=1)
    each = [ccc(estimated[:, d], np.array(truth)[:, d]) for d in (0, 1)]
    assert loss == pytest.approx(1 - np.mean(each) + 0.5 * np.mean((estimated - truth) ** 2), abs=1e-5)


def test_windows_without_annotation_are_not_drawn() -> None:
    fusion = Means()
    recording = _recording(60)
    recording.truth[:48] = np.nan
    task = FusionTask({"fusion": fusion}, clip_contract(), [recording], [], FusionRecipe(**SCHEDULE, drop_modality=0.0))
    assert torch.isfinite(task.loss(np.random.default_rng(3)))
    assert round(float(fusion.seen[0][0][:, -1].min()) * 1000) - 1 == 48


def test_estimates_of_whole_windows_stream_at_every_hop_from_the_first() -> None:
    fusion = Means()
    steps, estimates = streamed_estimates(fusion, clip_contract(), _recording(18))
    assert steps.tolist() == [3, 7, 11, 15]
    said = np.round(fusion.seen[0][0][:, :, 0] * 1000).astype(int) - 1
    assert said.tolist() == [[3, 3, 3], [3, 3, 7], [3, 7, 11], [7, 11, 15]]
    np.testing.assert_allclose(estimates[:, 0], (said + 1).mean(axis=1) / 1000, rtol=1e-5)
    without = streamed_estimates(fusion, clip_contract(), _recording(18), without=["video"])[1]
    assert not without.any()


def test_two_stages_give_their_outputs_in_the_order_of_the_contract() -> None:
    contract = clip_contract(stages=(("second", ("arousal",)), ("first", ("valence",))))
    stages = {"first": Means(columns=slice(0, 1)), "second": Means(columns=slice(1, 2))}
    windows = torch.rand(5, 3, 2)
    both = FusionStages(stages, contract)(windows, windows)
    torch.testing.assert_close(both, windows.mean(dim=1))
    task = FusionTask(stages, contract, [_recording(40)], [_recording(40, 1)], FusionRecipe(**SCHEDULE))
    assert len(task.score()) == 2
