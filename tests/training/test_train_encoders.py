"""Phase 1: what an encoder is shown, what it is asked, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from doubles.clip_contract import clip_contract  # noqa: E402

from affectrt.bundle.contract import Contract  # noqa: E402
from affectrt.models.cav import Cav  # noqa: E402
from affectrt.models.rcma import Rcma  # noqa: E402
from affectrt.models.sizes import cav_demo_config, demo_config  # noqa: E402
from affectrt.training.recipe import AudioRecipe, VideoRecipe  # noqa: E402
from affectrt.training.recordings import Spans  # noqa: E402
from affectrt.training.train_encoders import (  # noqa: E402
    EncoderTask,
    Example,
    described_by_span,
    encode,
    set_norm_momentum,
    start_from_pictures,
)


def test_an_encoder_learns_what_its_pictures_show() -> None:
    """Brightness says valence, redness says arousal: a few batches must be enough to see it."""
    rng = np.random.default_rng(0)

    def example() -> Example:
        truth = rng.uniform(-1, 1, (60, 2)).astype(np.float32)
        crops = np.full((60, 48, 48, 3), 128.0)
        crops += 80 * truth[:, :1, None, None]
        crops[..., 0] += 40 * truth[:, 1:, None]
        spans = _spans(np.clip(crops, 0, 255).astype(np.uint8))
        return Example(spans, truth)

    torch.manual_seed(0)
    recipe = VideoRecipe(epochs=1, batches=40, batch=32, learning_rate=3e-3, turn_deg=5, zoom=0.1)
    encoder = Rcma(demo_config()).encoders["video"]
    task = EncoderTask(encoder, 48, [example(), example()], [example()], recipe, 40)
    optimiser = torch.optim.Adam(task.module.parameters(), lr=3e-3)
    for _ in range(40):
        optimiser.zero_grad()
        task.loss(rng).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert min(task.score()) > 0.6


class Watching(torch.nn.Module):
    """Keeps what it is shown; its features are the mean of it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[np.ndarray] = []

    def forward(self, spans: torch.Tensor) -> torch.Tensor:
        self.seen.append(spans.numpy().copy())
        return spans.flatten(1).float().mean(dim=1, keepdim=True)


def test_all_frames_of_a_clip_are_changed_alike_and_each_clip_otherwise() -> None:
    recipe = VideoRecipe(epochs=1, batches=1, batch=12, learning_rate=1e-3, turn_deg=8, zoom=0.1, light=0.1)
    picture = np.random.default_rng(0).integers(0, 255, (1, 12, 12, 3), np.uint8)
    truth = np.random.default_rng(1).uniform(-1, 1, (30, 2)).astype(np.float32)
    encoder = Watching()
    EncoderTask(encoder, 1, [Example(_spans(picture.repeat(30, 0), 4), truth)], [], recipe, 8).loss(
        np.random.default_rng(2)
    )
    (seen,) = encoder.seen
    assert seen.shape == (12, 4, 8, 8, 3)
    # every frame shows the same picture: if one were turned by itself it would differ
    assert (seen == seen[:, :1]).all()
    assert len({clip.tobytes() for clip in seen}) == 12


@pytest.mark.parametrize("mirror", [0.0, 0.5, 1.0])
def test_clips_are_mirrored_whole_and_as_often_as_the_recipe_says(mirror: float) -> None:
    recipe = VideoRecipe(epochs=1, batches=1, batch=40, learning_rate=1e-3, mirror=mirror)
    ramp = np.broadcast_to(np.arange(0, 240, 30, dtype=np.uint8)[:, None], (30, 8, 8, 3))
    truth = np.random.default_rng(1).uniform(-1, 1, (30, 2)).astype(np.float32)
    encoder = Watching()
    EncoderTask(encoder, 1, [Example(_spans(ramp, 4), truth)], [], recipe, 8).loss(np.random.default_rng(2))
    falling = encoder.seen[0][..., 0, 0] > encoder.seen[0][..., -1, 0]
    assert (falling.all(axis=(1, 2)) | ~falling.any(axis=(1, 2))).all()
    assert abs(falling.mean() - mirror) < 0.2


def test_a_clip_of_one_frame_is_changed_as_a_single_picture_is() -> None:
    recipe = VideoRecipe(epochs=1, batches=1, batch=8, learning_rate=1e-3, turn_deg=8, zoom=0.1, light=0.1)
    pictures = np.random.default_rng(0).integers(0, 255, (30, 12, 12, 3), np.uint8)
    truth = np.random.default_rng(1).uniform(-1, 1, (30, 2)).astype(np.float32)
    shown = []
    for frames in (1, 3):
        encoder = Watching()
        task = EncoderTask(encoder, 1, [Example(_spans(pictures, frames), truth)], [], recipe, 8)
        task.loss(np.random.default_rng(2))
        shown.append(encoder.seen[0])
    np.testing.assert_array_equal(shown[1][:, -1], shown[0])


def test_what_a_span_shall_be_read_as_follows_from_the_contract() -> None:
    clips = clip_contract(span_frames=4)
    assert (described_by_span(clips, "video"), described_by_span(clips, "audio")) == (4, 4)
    steps = Contract.model_validate(Rcma(demo_config()).contract())
    assert (described_by_span(steps, "video"), described_by_span(steps, "audio")) == (1, 1)


@pytest.mark.parametrize("modality", ["video", "audio"])
def test_a_span_is_read_as_the_mean_annotation_of_its_steps(modality: str) -> None:
    """Pictures and sounds say the annotation of their step: a head that reads their mean makes no error."""
    truth = np.random.default_rng(1).uniform(0.1, 0.9, (64, 1)).astype(np.float32)
    truth[:4] = truth[0]  # the first clips repeat the first picture, the first sounds are missing
    pictures = np.tile(np.round(truth * 255).astype(np.uint8)[..., None, None], (1, 8, 8, 3))
    starts = np.arange(64) * 10 - 30
    spans = Spans(pictures, _clips(64, 4), np.repeat(truth[:, 0], 10), np.where(starts < 0, -1, starts), 40)
    schedule = {"epochs": 1, "batches": 1, "batch": 16, "learning_rate": 1e-3}
    video = modality == "video"
    recipe = VideoRecipe(**schedule) if video else AudioRecipe(**schedule, noise_below_db=120)

    def loss(described_steps: int) -> float:
        task = EncoderTask(Watching(), 1, [Example(spans, truth)], [], recipe, 8, described_steps=described_steps)
        head = task.module["head"]  # type: ignore[index]
        with torch.no_grad():
            head.weight.fill_(1 / 255 if video else 1.0)  # type: ignore[union-attr, operator]
            head.bias.zero_()  # type: ignore[union-attr, operator]
        return float(task.loss(np.random.default_rng(0)).detach())

    assert loss(4) < 0.01
    assert loss(1) > 0.1


def test_the_middle_of_the_margin_is_encoded_and_clips_mirror_from_side_to_side() -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (9, 12, 12, 3), np.uint8)
    encoder = Watching()
    features, known = encode("video", encoder, _spans(pictures, 4), 8, steps=np.array([3, 8]))
    encode("video", encoder, _spans(pictures, 4), 8, steps=np.array([3, 8]), mirrored=True)
    plain, mirrored = encoder.seen
    assert features.shape == (2, 1) and known.all()
    np.testing.assert_array_equal(plain[1], pictures[5:9, 2:10, 2:10])
    np.testing.assert_array_equal(mirrored, plain[:, :, :, ::-1])


def _clips(count: int, frames: int) -> np.ndarray:
    return np.maximum(np.arange(count)[:, None] - np.arange(frames - 1, -1, -1), 0).astype(np.int32)


def _spans(crops: np.ndarray, frames: int = 1) -> Spans:
    count = len(crops)
    return Spans(crops, _clips(count, frames), np.zeros(0, np.float32), np.full(count, -1, np.int64), 15_600)


def test_after_a_start_from_pictures_a_clip_that_stands_still_has_the_features_of_its_picture() -> None:
    torch.manual_seed(4)
    encoder = Cav(cav_demo_config()).encoders["video"]
    set_norm_momentum(encoder, 0.25)
    start_from_pictures(encoder)
    encoder.train()(torch.randint(0, 256, (4, 1, 88, 88, 3), dtype=torch.uint8))
    norms = [module for module in encoder.modules() if isinstance(module, torch.nn.BatchNorm3d)]
    assert len(norms) == 57 and {norm.momentum for norm in norms} == {0.25}
    encoder.eval()
    still = torch.randint(0, 256, (2, 1, 88, 88, 3), dtype=torch.uint8)
    clip = still.expand(2, 16, 88, 88, 3)
    with torch.inference_mode():
        features = encoder(still)
        torch.testing.assert_close(encoder(clip), features, rtol=1e-4, atol=1e-5)
        assert float(features.std(dim=0).max()) > 1e-3


def test_stills_show_the_newest_picture_of_each_clip_alone() -> None:
    recipe = VideoRecipe(epochs=1, batches=1, batch=8, learning_rate=1e-3, mirror=0)
    pictures = np.repeat(np.arange(30, dtype=np.uint8)[:, None, None, None] * 8, 12, 1).repeat(12, 2).repeat(3, 3)
    rows = np.stack([np.maximum(np.arange(k - 3, k + 1), 0) for k in range(30)]).astype(np.int32)
    spans = Spans(pictures, rows, np.zeros(0, np.float32), np.full(30, -1, np.int64), 0)
    truth = np.random.default_rng(1).uniform(-1, 1, (30, 2)).astype(np.float32)
    encoder = Watching()
    task = EncoderTask(encoder, 1, [Example(spans, truth)], [Example(spans, truth)], recipe, 8, stills=True)
    task.loss(np.random.default_rng(2))
    assert encoder.seen[0].shape == (8, 1, 8, 8, 3)
    task.score()
    shown = encoder.seen[1][:, 0, 0, 0, 0]
    assert shown.tolist() == [8 * k for k in range(0, 30, 5)]
