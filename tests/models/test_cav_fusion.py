"""CAV's fusion and its baselines against NumPy in float64."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from affectrt.models import CavConfig, CavFusion, cav_demo_config
from affectrt.models.cav_config import COMBINATIONS, FUSIONS, SOFTMAX_AXES, Combination, FusionForm, SoftmaxAxis
from affectrt.models.cav_fusion import tanh_head

Array = npt.NDArray[np.float64]
DIM, CLIPS = 12, 8
ATTENTIONS = list(itertools.product(SOFTMAX_AXES, (False, True), COMBINATIONS, (1.0, 0.1)))


def config(**changes: object) -> CavConfig:
    """Features of 12 numbers from both encoders."""
    mixed = ((2, 2, 2, 2, 2, 2),) * 8 + ((2, 2, 4, 2, 3, 3),)
    base = replace(
        cav_demo_config(), i3d_mixed=mixed, audio_channels=(2, 2, 2, 2, DIM), head_hidden=(7, 5), outputs=("valence",)
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def fusion(settings: CavConfig, outputs: int = 1) -> CavFusion:
    torch.manual_seed(0)
    module = CavFusion(settings, outputs).eval()
    for part in module.modules():
        if isinstance(part, nn.Linear):  # the default hides differences behind answers near the bias
            nn.init.normal_(part.weight, std=1.5 / part.in_features**0.5)
    return module


def windows(count: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    scales = torch.rand(3, CLIPS, 1, generator=generator) * 10
    return [torch.randn(3, CLIPS, DIM, generator=generator) * scales for _ in range(count)]


def unit(x: Array) -> Array:
    return np.asarray(x / np.sqrt((x**2).sum(axis=1, keepdims=True)))


def softmax(scores: Array, axis: int) -> Array:
    powers = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


def head(module: CavFusion, name: str, x: Array) -> Array:
    weights = {key: tensor.double().numpy() for key, tensor in module.heads[name].state_dict().items()}
    for layer in (1, 3, 5):
        x = np.tanh(weights[f"{layer}.weight"] @ x + weights[f"{layer}.bias"])
    return x


def estimates(module: CavFusion, features: list[Tensor]) -> Array:
    with torch.no_grad():
        return module(*features).double().numpy()


@pytest.mark.parametrize(("axis", "residual", "combine", "temperature"), ATTENTIONS)
def test_attention_fusion_is_its_definition(
    axis: SoftmaxAxis, residual: bool, combine: Combination, temperature: float
) -> None:
    settings = config(softmax_axis=axis, residual_tanh=residual, combine=combine, temperature=temperature)
    module = fusion(settings)
    features = windows()
    found = estimates(module, features)
    w = module.attention.correlation.detach().double().numpy()  # type: ignore[union-attr]
    index = 0 if axis == "column" else 1
    for row in range(3):
        video, audio = (unit(x[row].double().numpy()) for x in features)
        z = audio @ w @ video.T / temperature
        attended_audio, attended_video = softmax(z, index).T @ audio, softmax(z.T, index).T @ video
        if residual:
            attended_audio, attended_video = np.tanh(audio + attended_audio), np.tanh(video + attended_video)
        if combine == "sum":
            joint = (attended_audio + attended_video).max(axis=0)
        else:
            joint = np.concatenate([attended_video, attended_audio], axis=1).max(axis=0)
        assert np.abs(found[row] - head(module, "joint", joint)).max() <= 1e-5
    assert np.ptp(found) > 1e-2, "a fusion that ignores its input proves nothing"


@pytest.mark.parametrize(("axis", "residual", "combine", "temperature"), ATTENTIONS)
def test_gradients_reach_the_correlation(
    axis: SoftmaxAxis, residual: bool, combine: Combination, temperature: float
) -> None:
    settings = config(softmax_axis=axis, residual_tanh=residual, combine=combine, temperature=temperature)
    module = fusion(settings)
    module(*windows()).sum().backward()
    assert [name for name, p in module.named_parameters() if p.grad is None or not bool(p.grad.ne(0).any())] == []
    assert module.attention is not None
    assert module.attention.correlation.grad is not None
    assert module.attention.correlation.grad.abs().max() > 1e-5


def test_early_fusion_is_features_side_by_side() -> None:
    module = fusion(config(fusion="concatenation"))
    features = windows()
    found = estimates(module, features)
    for row in range(3):
        video, audio = (unit(x[row].double().numpy()) for x in features)
        joint = np.concatenate([video, audio], axis=1).max(axis=0)
        assert np.abs(found[row] - head(module, "joint", joint)).max() <= 1e-5


def test_late_fusion_is_the_mean_of_two_heads() -> None:
    module = fusion(config(fusion="scores"))
    features = windows()
    found = estimates(module, features)
    for row in range(3):
        video, audio = (unit(x[row].double().numpy()).max(axis=0) for x in features)
        wanted = (head(module, "video", video) + head(module, "audio", audio)) / 2
        assert np.abs(found[row] - wanted).max() <= 1e-5


@pytest.mark.parametrize("modality", ["video", "audio"])
@pytest.mark.parametrize("form", ["concatenation", "scores"])
def test_one_modality_alone_is_its_maximum_and_a_head(modality: str, form: FusionForm) -> None:
    module = fusion(config(modalities=(modality,), fusion=form))
    (features,) = windows(1)
    found = estimates(module, [features])
    (name,) = module.heads
    for row in range(3):
        wanted = head(module, name, unit(features[row].double().numpy()).max(axis=0))
        assert np.abs(found[row] - wanted).max() <= 1e-5


@pytest.mark.parametrize("form", FUSIONS)
def test_length_of_features_does_not_matter_and_zeros_stay_zeros(form: FusionForm) -> None:
    module = fusion(config(fusion=form))
    video, audio = windows()
    assert torch.allclose(module(video * 100, audio / 100), module(video, audio), atol=1e-5)
    missing = estimates(module, [video, torch.zeros_like(audio)])
    assert np.isfinite(missing).all()
    assert np.abs(missing - estimates(module, [video, audio])).max() > 1e-3


@pytest.mark.parametrize("form", FUSIONS)
def test_order_of_clips_does_not_matter(form: FusionForm) -> None:
    module = fusion(config(fusion=form))
    video, audio = windows()
    assert torch.allclose(module(video.flip(1), audio.flip(1)), module(video, audio), atol=1e-6)


@pytest.mark.parametrize("form", FUSIONS)
def test_dropout_acts_in_training_alone(form: FusionForm) -> None:
    module = fusion(config(fusion=form))
    features = windows()
    assert torch.equal(module(*features), module(*features))
    module.train()
    assert not torch.equal(module(*features), module(*features))


def test_published_fusion_has_the_published_sizes() -> None:
    with torch.device("meta"):
        module = CavFusion(CavConfig(), 1)
    assert sum(parameter.numel() for parameter in module.heads.parameters()) == 656_385
    assert sum(parameter.numel() for parameter in module.parameters()) == 656_385 + 1_048_576


def test_head_is_dropout_then_linear_and_tanh_three_times() -> None:
    kinds = [type(layer) for layer in tanh_head(8, (4, 2), 1, dropout=0.5)]
    assert kinds == [nn.Dropout, nn.Linear, nn.Tanh, nn.Linear, nn.Tanh, nn.Linear, nn.Tanh]


def test_forms_have_the_heads_that_they_need() -> None:
    inputs = {
        form: {name: layers[1].in_features for name, layers in fusion(settings).heads.items()}
        for form, settings in {
            "sum": config(),
            "side by side": config(combine="concatenation"),
            "early": config(fusion="concatenation"),
            "late": config(fusion="scores"),
        }.items()
    }
    assert inputs == {
        "sum": {"joint": DIM},
        "side by side": {"joint": 2 * DIM},
        "early": {"joint": 2 * DIM},
        "late": {"video": DIM, "audio": DIM},
    }
