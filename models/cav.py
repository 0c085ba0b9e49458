"""CAV: cross-attentional fusion of video clips and pieces of audio (arXiv 2111.05222), whole."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .cav_config import SAMPLE_RATE_HZ, CavConfig
from .cav_fusion import CavFusion
from .frontends import ClipFrontEnd
from .i3d import I3d
from .network import Encoder, Network
from .spectrogram import Log2MelFrontEnd
from .spectrogram_cnn import SpectrogramCnn

__all__ = ["Cav", "CavConfig"]


class Cav(Network):
    """I3D, the spectrogram network, cross-correlation attention or a baseline of it, and a head.

    One fusion gives all outputs, or each output has one of its own: the paper trains a network for each.
    """

    system = "cav"
    config: CavConfig

    def __init__(self, config: CavConfig) -> None:
        super().__init__(config)
        if "video" in config.modalities:
            i3d = I3d(stem=config.i3d_stem, mixed=config.i3d_mixed)
            self.encoders["video"] = Encoder(ClipFrontEnd(), i3d)
        if "audio" in config.modalities:
            self.encoders["audio"] = Encoder(Log2MelFrontEnd(), SpectrogramCnn(config.audio_channels))
        self.fusions = nn.ModuleDict(
            {stage: CavFusion(config, len(outputs)) for stage, outputs in config.fusion_stages.items()}
        )

    def forward(self, frames: Tensor | None = None, waveforms: Tensor | None = None) -> Tensor:
        """Whole windows end to end → estimates (B, outputs) in [−1, 1], in the order of the configuration.

        frames (B, clips, clip_frames, crop, crop, 3) uint8; waveforms (B, clips, span_samples) float32, the audio of
        the same times. Exactly the modalities of the configuration must be given.
        """
        given = {"video": frames, "audio": waveforms}
        found = tuple(name for name, tensor in given.items() if tensor is not None)
        if found != self.config.modalities:
            raise ValueError(
                f"this model takes {', '.join(self.config.modalities)}, not {', '.join(found) or 'nothing'}"
            )
        features = []
        for name in found:
            spans = given[name]
            assert spans is not None
            features.append(self.encoders[name](spans.flatten(0, 1)).unflatten(0, spans.shape[:2]))
        return torch.cat([fusion(*features) for fusion in self.fusions.values()], dim=1)

    def fusion_modules(self) -> dict[str, nn.Module]:
        return dict(self.fusions.items())

    def contract(self) -> dict[str, object]:
        config = self.config
        dims = config.feature_dims
        video = {
            "stage": "video",
            "input": {
                "name": "frames",
                "dtype": "uint8",
                "shape": [config.clip_frames, config.crop_px, config.crop_px, 3],
            },
            "feature_dim": dims.get("video"),
            "span_frames": config.clip_frames,
            "resize_px": config.resize_px,
            "crop_px": config.crop_px,
        }
        audio = {
            "stage": "audio",
            "input": {"name": "waveform", "dtype": "float32", "shape": [config.span_samples]},
            "feature_dim": dims.get("audio"),
            "sample_rate_hz": SAMPLE_RATE_HZ,
            "span_samples": config.span_samples,
            "anchor": "end",  # a piece of audio covers the frames of its clip
            "grid_samples": 1,
        }
        modalities = {"video": video, "audio": audio}
        return {
            "system": self.system,
            "variant": config.fusion if len(config.modalities) > 1 else f"{config.modalities[0]}-only",
            "step_hz": config.step_hz,
            **{name: modalities[name] for name in config.modalities},
            "fusion": {
                "stages": [
                    {"stage": stage, "outputs": list(outputs)} for stage, outputs in config.fusion_stages.items()
                ],
                "window_steps": config.clips,
                "stride_steps": config.clip_frames,
                "default_hop_steps": config.default_hop_steps,
                "output": "per_window",
                "describes": "window_mean",
                "short_window": "repeat_first",
                "warm_up_steps": config.window_frames - 1,
            },
            "outputs": [{"name": name} for name in config.outputs],
        }
