"""The whole network: every subset of modalities, its contract, and configurations that are refused."""

from __future__ import annotations

import itertools
import json
from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from affectrt.bundle.contract import Contract
from affectrt.models import ConfigError, Rcma, RcmaConfig, demo_config, paper_config
from affectrt.models.attention import FORMS, AttentionForm
from affectrt.models.heads import HEADS, HeadForm

ALL = ("video", "audio", "text")
SUBSETS = [names for n in (1, 2, 3) for names in itertools.combinations(ALL, n)]


def small(**changes: object) -> RcmaConfig:
    """The demo with shorter windows, narrower text and a smaller crop."""
    base = replace(
        demo_config(),
        modalities=ALL,
        window_steps=4,
        default_hop_steps=2,
        text_dim=9,
        text_tcn=(8, 8),
        resize_px=20,
        crop_px=16,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("names", SUBSETS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("head", HEADS)
def test_every_subset_runs_stage_by_stage_and_whole(
    names: tuple[str, ...], form: AttentionForm, head: HeadForm
) -> None:
    if form == "others-projected" and len(names) == 1:
        return
    torch.manual_seed(0)
    model = Rcma(small(modalities=names, attention=form, head=head)).eval()
    contract = Contract.model_validate(model.contract())
    stages = model.stage_modules()
    assert tuple(stages) == contract.stages
    inputs = {
        "video": torch.randint(0, 256, (2, 4, 16, 16, 3), dtype=torch.uint8),
        "audio": torch.randn(2, 4, 15_600),
        "text": torch.randn(2, 4, 9),
    }
    with torch.inference_mode():
        features = []
        for name in names:
            spans = inputs[name]
            if name in stages:
                steps = [stages[name](spans[:, k]) for k in range(4)]
                assert steps[0].shape == (2, *contract.stage_output(name).shape)
                spans = torch.stack(steps, dim=1)
            features.append(spans)
        estimates = stages["fusion"](*features)
        given = {"video": None, "audio": None, "text": None} | {name: inputs[name] for name in names}
        whole = model(given["video"], given["audio"], given["text"])
    assert estimates.shape == (2, *contract.stage_output("fusion").shape) == (2, 4, 2)
    assert bool(estimates.abs().le(1).all())
    assert torch.allclose(whole, estimates, atol=1e-5)


def test_a_forgotten_modality_is_named() -> None:
    with pytest.raises(ValueError, match="takes video, audio, text, not text"):
        Rcma(small())(text=torch.zeros(1, 4, 9))


def test_every_weight_gets_a_gradient() -> None:
    torch.manual_seed(1)
    model = Rcma(small(ir_dropout=0.0, tcn_dropout=0.0, attention_dropout=0.0)).train()
    frames = torch.randint(0, 256, (2, 4, 16, 16, 3), dtype=torch.uint8)
    model(frames, torch.randn(2, 4, 15_600) * 0.1, torch.randn(2, 4, 9)).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("config", [demo_config(), paper_config(), paper_config("rjcma-paper", outputs=("arousal",))])
def test_contract_is_plain_data_that_the_bundle_accepts(config: RcmaConfig) -> None:
    with torch.device("meta"):
        plain = Rcma(config).contract()
    contract = Contract.model_validate(json.loads(json.dumps(plain)))
    assert tuple(contract.modalities) == config.modalities
    assert contract.fusion.window_steps == 300
    assert contract.fusion.warm_up_steps == 121
    assert contract.step_hz == 25
    assert contract.audio is not None
    assert (contract.audio.sample_rate_hz, contract.audio.grid_samples, contract.audio.anchor) == (16_000, 160, "start")
    assert contract.audio.span_samples == 15_600
    assert contract.video is not None
    assert (contract.video.resize_px, contract.video.crop_px) == (48, 40)
    assert [output.name for output in contract.outputs] == list(config.outputs)


def test_paper_defaults() -> None:
    config = RcmaConfig()
    assert config == paper_config("rcma-v1")
    assert config.default_hop_steps == 25
    assert demo_config().default_hop_steps == 10
    assert (config.ir_dropout, config.tcn_dropout, config.attention_dropout) == (0.4, 0.1, 0.6)
    assert (config.layers, replace(config, attention="time-map").layers) == (2, 3)
    assert replace(config, attention_layers=4).layers == 4


def test_an_unknown_variant_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="rcma-v1, rjcma-head, rjcma-paper"):
        paper_config("rcma-v2")  # type: ignore[arg-type]


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        demo_config().window_steps = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modalities": ()}, "modalities must be one or more of video, audio, text"),
        ({"modalities": ("audio", "video")}, "in this order"),
        ({"modalities": ("video", "video")}, "modalities must be"),
        ({"modalities": ("smell",)}, "modalities must be"),
        ({"modalities": 3}, "modalities must be"),
        ({"outputs": ("dominance",)}, "outputs must be one or more of valence, arousal"),
        ({"modalities": ("video",), "attention": "others-projected"}, "needs another modality than 'video'"),
        ({"attention": "softmax"}, "attention must be one of"),
        ({"head": None}, "head must be one of"),
        ({"window_steps": 0}, "window_steps must be an integer in"),
        ({"window_steps": True}, "window_steps must be an integer"),
        ({"window_steps": 4.0}, "window_steps must be an integer"),
        ({"default_hop_steps": 5}, "default_hop_steps 5 skips steps"),
        ({"step_hz": float("nan")}, "step_hz must be a number"),
        ({"crop_px": 24}, "crop_px 24 is larger than resize_px 20"),
        ({"ir_units": (1, 1)}, "ir_units has 2 stages, ir_widths has 4"),
        ({"ir_widths": [8, 16, 32, 48]}, "ir_widths must be a tuple"),
        ({"ir_units": (1, 10**9, 1, 1)}, r"ir_units\[1\] must be an integer in \[1, 128\]"),
        ({"vggish_channels": (8, 8)}, "vggish_channels must be a tuple of 6 integers"),
        ({"video_tcn": ()}, "video_tcn must be a tuple of 1 to 12 integers"),
        ({"audio_dim": 10**12}, "audio_dim must be an integer"),
        ({"attention_dropout": 1.0}, "attention_dropout must be a number in"),
        ({"attention_layers": 5}, r"attention_layers must be an integer in \[0, 4\]"),
        ({"tcn_kernel": 0}, "tcn_kernel must be"),
    ],
)
def test_a_bad_configuration_is_refused_with_its_reason(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small(**changes)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        RcmaConfig(window_steps=-1, head="deep", audio_dim=0)  # type: ignore[arg-type]
    text = str(caught.value)
    assert "3 mistake(s)" in text
    assert all(name in text for name in ("window_steps", "head", "audio_dim", "expected:", "fix:"))


def test_configurations_survive_json() -> None:
    for config in (demo_config(), paper_config(), small(attention_layers=1)):
        assert RcmaConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_unknown_and_missing_fields_are_named() -> None:
    data = demo_config().to_dict()
    del data["crop_px"]
    data["cropp_px"] = 40
    with pytest.raises(ConfigError, match="unknown 'cropp_px', missing 'crop_px'"):
        RcmaConfig.from_dict(data)
