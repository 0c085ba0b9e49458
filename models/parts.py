"""Parts of a network that are published alone, such as a pre-trained backbone, and where in the network they belong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from .configuration import Config
from .errors import ConfigError
from .systems import SYSTEMS

__all__ = ["PARTS", "Part"]


@dataclass(frozen=True)
class Part:
    """`fields` are those of the system's configuration that fix the part's shapes and what it is fed with.

    `alone` makes a configuration that is valid whatever these are: of an encoder, one that has no other.
    """

    name: str
    system: str
    path: str  # of its module in the system's network
    fields: tuple[str, ...]
    holds: str
    needs: str  # what a whole network has besides
    alone: Mapping[str, object] = field(default_factory=dict)

    def config(self, fields: Mapping[str, object]) -> Config:
        """The whole network's configuration; what the part does not fix has its default. Raises ConfigError."""
        if set(fields) != set(self.fields):
            raise ConfigError(
                f"fields {', '.join(sorted(fields)) or 'none'} for the part {self.name}",
                expected=f"exactly {', '.join(sorted(self.fields))}",
            )
        config_type, _ = SYSTEMS[self.system]
        return config_type.from_dict({**config_type().to_dict(), **self.alone, **fields})

    def chosen(self, config: Config) -> dict[str, object]:
        """The fields of a whole configuration that `config()` takes, as plain data."""
        data = config.to_dict()
        return {name: data[name] for name in self.fields}

    def module(self, config: Config) -> nn.Module:
        """The part's module on the meta device: names and shapes without memory."""
        with torch.device("meta"):
            return SYSTEMS[self.system][1](config).get_submodule(self.path)


PARTS: dict[str, Part] = {
    part.name: part
    for part in (
        Part(
            "ir50",
            "rcma",
            "encoders.video.backbone",
            ("resize_px", "crop_px", "ir_units", "ir_widths", "video_dim"),
            "IR-50, the encoder of faces",
            "an encoder of audio and a fusion that was trained on both",
        ),
        Part(
            "vggish",
            "rcma",
            "encoders.audio.backbone",
            ("vggish_channels", "vggish_hidden", "audio_dim"),
            "VGGish, the encoder of audio",
            "an encoder of faces and a fusion that was trained on both",
        ),
        Part(
            "i3d",
            "cav",
            "encoders.video.backbone",
            ("resize_px", "crop_px", "clip_frames", "i3d_stem", "i3d_mixed"),
            "I3D, the encoder of clips",
            "an encoder of audio and a fusion that was trained on both",
            {"modalities": ["video"], "fusion": "concatenation"},
        ),
        Part(
            "spectrogram-cnn",
            "cav",
            "encoders.audio.backbone",
            ("audio_channels",),
            "the encoder of log-mel spectrograms",
            "an encoder of clips and a fusion that was trained on both",
            {"modalities": ["audio"], "fusion": "concatenation"},
        ),
        Part(
            "cross-attention",
            "cav",
            "fusions.fusion.attention",
            ("i3d_mixed", "audio_channels", "softmax_axis", "residual_tanh", "temperature", "combine"),
            "the attention between video and audio",
            "both encoders and the head behind the attention",
        ),
        Part(
            "tanh-head",
            "cav",
            "fusions.fusion.heads.joint",
            ("i3d_mixed", "audio_channels", "combine", "head_hidden"),
            "the head behind the attention",
            "both encoders and the attention",
        ),
    )
}
