"""The contract: where spans lie, which tensors stages have, and which contradictions are refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from affectrt.bundle.contract import Contract

RCMA: dict[str, Any] = {
    "system": "rcma",
    "variant": "rjcma_head",
    "step_hz": 25,
    "video": {
        "input": {"name": "frames", "dtype": "uint8", "shape": [40, 40, 3]},
        "feature_dim": 512,
        "resize_px": 48,
        "crop_px": 40,
    },
    "audio": {
        "input": {"name": "waveform", "dtype": "float32", "shape": [15600]},
        "feature_dim": 128,
        "sample_rate_hz": 16000,
        "span_samples": 15600,
        "anchor": "start",
        "grid_samples": 160,
    },
    "text": {"feature_dim": 768},
    "fusion": {
        "stages": [{"stage": "fusion", "outputs": ["valence", "arousal"]}],
        "window_steps": 300,
        "default_hop_steps": 25,
        "output": "per_step",
        "warm_up_steps": 121,
    },
    "outputs": [{"name": "valence"}, {"name": "arousal"}],
}


def changed(path: str, value: Any) -> dict[str, Any]:
    data = copy.deepcopy(RCMA)
    *folders, leaf = path.split(".")
    place = data
    for folder in folders:
        place = place[folder]
    place[leaf] = value
    return data


def test_log_mel_patches_start_where_the_paper_puts_them() -> None:
    """Patch i starts at log-mel frame round(i·100/fps), each frame 160 samples after the last."""
    c = Contract.model_validate(RCMA)
    assert c.audio is not None
    assert [c.audio.span_start(k, 25.0) for k in (0, 1, 2, 25, 299)] == [0, 640, 1280, 16000, 191_360]
    assert [c.audio.span_start(k, 30.0) // 160 for k in (0, 1, 2, 3, 30)] == [0, 3, 7, 10, 100]
    assert c.audio.span_end(0, 25.0) == 95 * 160 + 400


def test_span_that_ends_at_its_step() -> None:
    data = changed("audio.anchor", "end")
    c = Contract.model_validate(data)
    assert c.audio is not None
    assert c.audio.span_end(0, 25.0) == 640 and c.audio.span_start(0, 25.0) == 640 - 15600


def test_stages_and_their_tensors() -> None:
    c = Contract.model_validate(RCMA)
    assert c.stages == ("video", "audio", "fusion")
    assert list(c.modalities) == ["video", "audio", "text"]
    assert [(t.name, t.shape) for t in c.stage_inputs("fusion")] == [
        ("video", (300, 512)),
        ("audio", (300, 128)),
        ("text", (300, 768)),
    ]
    assert c.stage_output("fusion").shape == (300, 2)
    assert c.stage_output("video").shape == (512,)
    assert c.fusion.span_steps == 300


def test_contract_survives_its_own_json() -> None:
    c = Contract.model_validate(RCMA)
    assert Contract.model_validate_json(c.model_dump_json()) == c


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("video.input.shape", [40, 40, 1], "video input must be uint8"),
        ("video.input.dtype", "float32", "video input must be uint8"),
        ("video.resize_px", 32, "larger than resize_px"),
        ("audio.span_samples", 15601, "audio input must be float32"),
        ("step_hz", 0, "greater than 0"),
        ("step_hz", float("inf"), "finite"),
        ("audio.stage", "video", "unique"),
        ("outputs", [{"name": "valence"}], "outputs are declared"),
        ("fusion.window_steps", 10**9, "less than or equal"),
        ("fusion.surprise", 1, "Extra inputs"),
    ],
)
def test_contradictions_are_refused(path: str, value: Any, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Contract.model_validate(changed(path, value))


def test_a_contract_needs_a_modality() -> None:
    data = {k: v for k, v in RCMA.items() if k not in ("video", "audio", "text")}
    with pytest.raises(ValidationError, match="at least one of"):
        Contract.model_validate(data)
