"""Cross-correlation attention against its definition in float64, option by option."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
import torch

from affectrt.models import CrossAttention
from affectrt.models.cav_config import SOFTMAX_AXES, SoftmaxAxis

Array = npt.NDArray[np.float64]
BATCH, CLIPS, VIDEO, AUDIO = 3, 8, 6, 5
OPTIONS = list(itertools.product(SOFTMAX_AXES, (False, True), (1.0, 0.05)))


def attention(**options: object) -> CrossAttention:
    torch.manual_seed(0)
    return CrossAttention(VIDEO, AUDIO, **options)  # type: ignore[arg-type]


def windows() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(BATCH, CLIPS, VIDEO, generator=generator), torch.randn(BATCH, CLIPS, AUDIO, generator=generator)


def softmax(scores: Array, axis: int) -> Array:
    powers = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


def reference(
    w: Array, video: Array, audio: Array, axis: SoftmaxAxis, residual: bool, temperature: float
) -> tuple[Array, Array]:
    """One example; in the paper's layout, features as columns: X̂ = X A."""
    columns_v, columns_a = video.T, audio.T
    z = columns_a.T @ w @ columns_v / temperature  # audio × video
    index = 0 if axis == "column" else 1
    attended_a = columns_a @ softmax(z, index)
    attended_v = columns_v @ softmax(z.T, index)
    if residual:
        attended_a, attended_v = np.tanh(columns_a + attended_a), np.tanh(columns_v + attended_v)
    return attended_v.T, attended_a.T


@pytest.mark.parametrize(("axis", "residual", "temperature"), OPTIONS)
def test_attention_is_its_definition(axis: SoftmaxAxis, residual: bool, temperature: float) -> None:
    module = attention(softmax_axis=axis, residual_tanh=residual, temperature=temperature)
    video, audio = windows()
    with torch.no_grad():
        found = [x.numpy() for x in module(video, audio)]
    w = module.correlation.detach().double().numpy()
    for row in range(BATCH):
        example = (video[row].double().numpy(), audio[row].double().numpy())
        for part, wanted in zip(found, reference(w, *example, axis, residual, temperature), strict=True):
            assert part[row].shape == wanted.shape
            assert np.abs(part[row] - wanted).max() <= 1e-5


def test_options_differ() -> None:
    results = [
        attention(softmax_axis=axis, residual_tanh=residual, temperature=temperature)(*windows())
        for axis, residual, temperature in OPTIONS
    ]
    for one, other in itertools.combinations(results, 2):
        assert not torch.allclose(one[0], other[0], atol=1e-3)
        assert not torch.allclose(one[1], other[1], atol=1e-3)


def test_columns_of_both_maps_sum_to_one_by_default() -> None:
    audio_map, video_map = attention(temperature=0.1).maps(*windows())
    for found in (audio_map, video_map):
        assert torch.allclose(found.sum(dim=1), torch.ones(BATCH, CLIPS))
        assert not torch.allclose(found.sum(dim=2), torch.ones(BATCH, CLIPS), atol=1e-2)


def test_rows_of_both_maps_sum_to_one_on_the_other_axis() -> None:
    audio_map, video_map = attention(softmax_axis="row", temperature=0.1).maps(*windows())
    for found in (audio_map, video_map):
        assert torch.allclose(found.sum(dim=2), torch.ones(BATCH, CLIPS))
        assert not torch.allclose(found.sum(dim=1), torch.ones(BATCH, CLIPS), atol=1e-2)


@pytest.mark.parametrize(("axis", "residual", "temperature"), OPTIONS)
def test_gradients_reach_the_correlation(axis: SoftmaxAxis, residual: bool, temperature: float) -> None:
    module = attention(softmax_axis=axis, residual_tanh=residual, temperature=temperature)
    video, audio = module(*windows())
    (video[..., 0].square().sum() + audio[..., 1].square().sum()).backward()
    assert module.correlation.grad is not None
    assert bool(module.correlation.grad.ne(0).all())
    assert module.correlation.grad.abs().max() > 1e-3


def test_identical_clips_attend_to_themselves() -> None:
    video, audio = (x[:, :1].expand(-1, CLIPS, -1) for x in windows())
    found = attention()(video, audio)
    assert torch.allclose(found[0], video, atol=1e-6)
    assert torch.allclose(found[1], audio, atol=1e-6)


def test_published_correlation_begins_xavier_normal_and_maps_almost_uniform() -> None:
    torch.manual_seed(2)
    module = CrossAttention(1024, 1024)
    assert module.correlation.shape == (1024, 1024)
    assert sum(parameter.numel() for parameter in module.parameters()) == 1_048_576
    assert float(module.correlation.detach().std()) == pytest.approx(0.03125, rel=0.01)
    features = [torch.nn.functional.normalize(torch.randn(4, CLIPS, 1024), dim=2) for _ in range(2)]
    for found in module.maps(*features):
        assert torch.allclose(found, torch.full_like(found, 1 / CLIPS), atol=0.03)
