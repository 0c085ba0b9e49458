"""CAV whole: stages and contract, every fusion and subset of modalities, checkpoints, refused configurations."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from affectrt.bundle import Contract
from affectrt.models import (
    Cav,
    CavConfig,
    ConfigError,
    cav_demo_config,
    cav_paper_config,
    load_checkpoint,
    save_checkpoint,
)

BOTH = ("valence", "arousal")
# Name → what differs from the demo.
VARIANTS: dict[str, dict[str, object]] = {
    "attention": {},
    "attention side by side": {"combine": "concatenation"},
    "early": {"fusion": "concatenation"},
    "late": {"fusion": "scores"},
    "a fusion for each output": {"fusion_networks": "per_output"},
    "video": {"modalities": ("video",), "fusion": "concatenation"},
    "audio": {"modalities": ("audio",), "fusion": "scores"},
}


def small(**changes: object) -> CavConfig:
    """The demo with fewer clips, narrower networks and smaller pictures."""
    base = replace(
        cav_demo_config(),
        clips=3,
        resize_px=20,
        crop_px=16,
        i3d_stem=(3, 3, 4),
        i3d_mixed=((2, 2, 3, 2, 2, 2),) * 9,
        audio_channels=(2, 3, 4, 5, 9),
        head_hidden=(6,),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def windows(config: CavConfig, batch: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    crops = (config.clip_frames, config.crop_px, config.crop_px, 3)
    spans = {
        "video": torch.randint(0, 256, (batch, config.clips, *crops), dtype=torch.uint8, generator=generator),
        "audio": torch.randn(batch, config.clips, config.span_samples, generator=generator) * 0.1,
    }
    return {name: spans[name] for name in config.modalities}


def whole(model: Cav, spans: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.inference_mode():
        estimates: torch.Tensor = model(spans.get("video"), spans.get("audio"))
    return estimates


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_clip_by_clip_and_whole_windows_agree(variant: str) -> None:
    torch.manual_seed(0)
    config = small(**VARIANTS[variant])
    model = Cav(config).eval()
    contract = Contract.model_validate(model.contract())
    stages = model.stage_modules()
    assert tuple(stages) == contract.stages
    spans = windows(config)
    with torch.inference_mode():
        features = []
        for name, given in spans.items():
            assert given.shape[2:] == contract.stage_inputs(name)[0].shape
            clips = [stages[name](given[:, k]) for k in range(config.clips)]
            assert clips[0].shape == (2, *contract.stage_output(name).shape)
            features.append(torch.stack(clips, dim=1))
        answers = []
        for stage in contract.fusion.stages:
            answer = stages[stage.stage](*features)
            assert answer.shape == (2, *contract.stage_output(stage.stage).shape) == (2, len(stage.outputs))
            answers.append(answer)
    estimates = whole(model, spans)
    assert estimates.shape == (2, 2)
    assert bool(estimates.abs().le(1).all())
    assert torch.allclose(estimates, torch.cat(answers, dim=1), atol=1e-5)


def test_two_fusions_share_encoders_but_no_fusion_weights() -> None:
    model = Cav(small(fusion_networks="per_output"))
    names = [stage["stage"] for stage in model.contract()["fusion"]["stages"]]  # type: ignore[index]
    assert names == list(model.fusion_modules()) == ["fusion_valence", "fusion_arousal"]
    weights = [{id(p) for p in module.parameters()} for module in model.fusion_modules().values()]
    assert weights[0] and not weights[0] & weights[1]


def test_a_forgotten_modality_is_named() -> None:
    with pytest.raises(ValueError, match="takes video, audio, not audio"):
        Cav(small())(waveforms=torch.zeros(1, 3, 10_240))
    with pytest.raises(ValueError, match="takes audio, not nothing"):
        Cav(small(**VARIANTS["audio"]))()


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_every_weight_gets_a_gradient(variant: str) -> None:
    torch.manual_seed(1)
    config = small(head_dropout=0.0, **VARIANTS[variant])
    model = Cav(config).train()
    spans = windows(config)
    model(spans.get("video"), spans.get("audio")).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("config", [cav_demo_config(), cav_paper_config(), cav_paper_config(outputs=BOTH)])
def test_contract_is_plain_data_that_the_bundle_accepts(config: CavConfig) -> None:
    with torch.device("meta"):
        plain = Cav(config).contract()
    contract = Contract.model_validate(json.loads(json.dumps(plain)))
    assert (contract.system, contract.variant, contract.step_hz) == ("cav", "cross-attention", 25)
    assert contract.video is not None and contract.audio is not None
    assert contract.video.span_frames == 16
    assert contract.video.input.shape == (16, config.crop_px, config.crop_px, 3)
    audio = contract.audio
    assert (audio.sample_rate_hz, audio.span_samples, audio.anchor, audio.grid_samples) == (16_000, 10_240, "end", 1)
    fusion = contract.fusion
    assert (fusion.window_steps, fusion.stride_steps, fusion.default_hop_steps) == (8, 16, 16)
    assert (fusion.output, fusion.describes, fusion.short_window) == ("per_window", "window_mean", "repeat_first")
    assert fusion.warm_up_steps == 127
    assert contract.described_steps == 128
    assert [output.name for output in contract.outputs] == list(config.outputs)


def test_audio_of_a_clip_covers_its_sixteen_frames() -> None:
    contract = Contract.model_validate(Cav(small()).contract())
    assert contract.audio is not None
    assert contract.audio.span_start(15, contract.step_hz) == 0
    assert contract.audio.span_end(15, contract.step_hz) == 16 * 640


@pytest.mark.parametrize(("variant", "told"), [("early", "concatenation"), ("late", "scores"), ("video", "video-only")])
def test_contract_names_the_baseline(variant: str, told: str) -> None:
    with torch.device("meta"):
        assert Cav(small(**VARIANTS[variant])).contract()["variant"] == told


def test_sizes() -> None:
    assert cav_paper_config() == CavConfig()
    assert cav_paper_config(modalities=("audio",)).feature_dims == {"audio": 1024}
    demo = cav_demo_config()
    assert (demo.resize_px, demo.crop_px, demo.outputs) == (96, 88, BOTH)
    assert demo.feature_dims == {"video": 128, "audio": 128}
    assert (demo.window_frames, demo.span_samples) == (128, 10_240)
    with torch.device("meta"):
        state = Cav(demo).state_dict()
    assert sum(tensor.numel() * tensor.element_size() for tensor in state.values()) < 6_000_000


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_a_checkpoint_gives_back_what_was_saved(variant: str, tmp_path: Path) -> None:
    torch.manual_seed(2)
    config = small(**VARIANTS[variant])
    model = Cav(config).train()
    spans = windows(config)
    model(spans.get("video"), spans.get("audio"))  # norms with a history, so that buffers count too
    path = tmp_path / "cav.safetensors"
    save_checkpoint(model, path, {"recipe": "a test"})
    loaded = load_checkpoint(path)
    assert isinstance(loaded.model, Cav)
    assert loaded.model.config == config
    assert loaded.provenance == {"recipe": "a test"}
    assert torch.equal(whole(loaded.model, spans), whole(model.eval(), spans))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modalities": ("text",)}, "modalities must be one or more of video, audio"),
        ({"modalities": ("video",)}, "cross-attention needs video and audio, not 'video' alone"),
        ({"audio_channels": (2, 3, 4, 5, 8)}, "combine 'sum' adds features of one width"),
        ({"clip_frames": 1}, r"clip_frames must be an integer in \[2, 1024\]"),
        ({"clip_frames": 25}, "16000 samples of audio; the spectrogram network takes 9920 to 12479"),
        ({"step_hz": 10.0}, "25600 samples of audio"),
        ({"crop_px": 24}, "crop_px 24 is larger than resize_px 20"),
        ({"i3d_stem": (8, 8)}, "i3d_stem must be a tuple of 3 integers"),
        ({"i3d_mixed": ((2, 2, 3, 2, 2, 2),) * 8}, "i3d_mixed must be a tuple of 9 units"),
        ({"i3d_mixed": ((2, 2, 3, 2, 2),) * 9}, r"i3d_mixed\[0\] must be a tuple of 6 integers"),
        ({"audio_channels": (8,)}, "audio_channels must be a tuple of 5 integers"),
        ({"fusion": "hope"}, "fusion must be one of"),
        ({"softmax_axis": 1}, "softmax_axis must be one of"),
        ({"combine": "product"}, "combine must be one of"),
        ({"residual_tanh": 1}, "residual_tanh must be true or false"),
        ({"temperature": 0.0}, "temperature must be a number in"),
        ({"head_hidden": ()}, "head_hidden must be a tuple of 1 to 16 integers"),
        ({"head_dropout": 1.0}, "head_dropout must be a number in"),
        ({"fusion_networks": "two"}, "fusion_networks must be one of"),
    ],
)
def test_a_bad_configuration_is_refused_with_its_reason(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small(**changes)


def test_configurations_survive_json() -> None:
    for config in (cav_demo_config(), cav_paper_config(), small(fusion="scores", modalities=("audio",))):
        assert CavConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
