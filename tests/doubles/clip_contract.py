"""A contract whose spans are clips of several frames and whose estimates are means over a window, small."""

from __future__ import annotations

from affectrt.bundle.contract import Contract

__all__ = ["clip_contract"]

RATE_HZ = 16_000


def clip_contract(
    *,
    span_frames: int = 4,
    window_steps: int = 3,
    stride_steps: int = 4,
    hop_steps: int = 4,
    video_dim: int = 2,
    audio_dim: int = 2,
    resize_px: int = 12,
    crop_px: int = 8,
    stages: tuple[tuple[str, tuple[str, ...]], ...] = (("fusion", ("valence", "arousal")),),
) -> Contract:
    """Spans of `span_frames` steps that end at their own step; by default an estimate describes 12 steps at 25 Hz."""
    samples = span_frames * RATE_HZ // 25
    return Contract.model_validate(
        {
            "system": "double",
            "variant": "clips",
            "step_hz": 25.0,
            "video": {
                "input": {"name": "frames", "dtype": "uint8", "shape": [span_frames, crop_px, crop_px, 3]},
                "feature_dim": video_dim,
                "span_frames": span_frames,
                "resize_px": resize_px,
                "crop_px": crop_px,
            },
            "audio": {
                "input": {"name": "waveform", "dtype": "float32", "shape": [samples]},
                "feature_dim": audio_dim,
                "sample_rate_hz": RATE_HZ,
                "span_samples": samples,
                "anchor": "end",
            },
            "fusion": {
                "stages": [{"stage": name, "outputs": list(outputs)} for name, outputs in stages],
                "window_steps": window_steps,
                "stride_steps": stride_steps,
                "default_hop_steps": hop_steps,
                "output": "per_window",
                "describes": "window_mean",
                "short_window": "repeat_first",
                "warm_up_steps": 0,
            },
            "outputs": [{"name": "valence"}, {"name": "arousal"}],
        }
    )
