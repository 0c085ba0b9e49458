"""RCMA: recursive cross-modal attention over video, audio and text (arXiv 2403.13659), whole."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .attention import RecursiveAttention
from .frontends import GRID_SAMPLES, SAMPLE_RATE_HZ, SPAN_SAMPLES, ImageFrontEnd, LogMelFrontEnd
from .heads import LinearHead, MlpHead
from .ir50 import Ir50
from .network import Encoder, Network
from .rcma_config import RcmaConfig
from .tcn import Tcn
from .text_encoder import TextEncoder
from .vggish import Vggish

__all__ = ["Rcma", "RcmaConfig", "RcmaFusion"]


class RcmaFusion(nn.Module):
    """Windows of features, one (B, K, feature_dim) per modality → estimates (B, K, outputs) in [−1, 1].

    A window shorter than K is zero-padded at its end by the caller, a missing modality is all zeros.
    """

    def __init__(self, config: RcmaConfig) -> None:
        super().__init__()
        widths = {name: blocks[-1] for name, blocks in config.tcn_widths.items()}
        self.temporal = nn.ModuleDict(
            {
                name: Tcn(
                    config.feature_dims[name],
                    config.tcn_widths[name],
                    kernel=config.tcn_kernel,
                    dropout=config.tcn_dropout,
                )
                for name in config.modalities
            }
        )
        self.attention = RecursiveAttention(
            widths,
            config.window_steps,
            form=config.attention,
            layers=config.layers,
            dropout=config.attention_dropout,
        )
        total, outputs = sum(widths.values()), len(config.outputs)
        self.head: nn.Module = (
            LinearHead(total, outputs)
            if config.head == "linear"
            else MlpHead(total, outputs, hidden=config.head_hidden)
        )

    def forward(self, first: Tensor, second: Tensor | None = None, third: Tensor | None = None) -> Tensor:
        """Features in the order video, audio, text, without those that the model does not use.

        Three named arguments and not `*features`: torch.export does not match a flat list of dynamic shapes with those.
        """
        features = [x for x in (first, second, third) if x is not None]
        temporal = [network(x) for network, x in zip(self.temporal.values(), features, strict=True)]
        estimates: Tensor = self.head(torch.cat(self.attention(temporal), dim=2))
        return estimates


class Rcma(Network):
    """IR-50, VGGish, BERT, causal temporal networks, recursive attention and a head."""

    system = "rcma"
    config: RcmaConfig

    def __init__(self, config: RcmaConfig) -> None:
        super().__init__(config)
        if "video" in config.modalities:
            backbone = Ir50(
                crop_px=config.crop_px,
                units=config.ir_units,
                widths=config.ir_widths,
                feature_dim=config.video_dim,
                dropout=config.ir_dropout,
            )
            self.encoders["video"] = Encoder(ImageFrontEnd(), backbone)
        if "audio" in config.modalities:
            vggish = Vggish(channels=config.vggish_channels, hidden=config.vggish_hidden, feature_dim=config.audio_dim)
            self.encoders["audio"] = Encoder(LogMelFrontEnd(), vggish)
        if "text" in config.modalities and config.text_layers:
            self.encoders["text"] = TextEncoder(config)
        self.fusion = RcmaFusion(config)

    def forward(
        self, frames: Tensor | None = None, waveforms: Tensor | None = None, text: Tensor | None = None
    ) -> Tensor:
        """Whole windows end to end → estimates (B, K, outputs).

        frames (B, K, crop, crop, 3) uint8; waveforms (B, K, 15 600) float32, one span per step; text (B, K, text_dim),
        the vectors of the words at the steps, (vector − text_mean) / text_std, zeros where there is none: words come
        from whole sentences, not from steps, so the text encoder is no part of this. Exactly the modalities of the
        configuration must be given.
        """
        given = {"video": frames, "audio": waveforms, "text": text}
        found = tuple(name for name, tensor in given.items() if tensor is not None)
        if found != self.config.modalities:
            raise ValueError(
                f"this model takes {', '.join(self.config.modalities)}, not {', '.join(found) or 'nothing'}"
            )
        features = []
        for name in found:
            spans = given[name]
            assert spans is not None
            if name in self.encoders and name != "text":
                encoded = self.encoders[name](spans.flatten(0, 1))
                features.append(encoded.unflatten(0, spans.shape[:2]))
            else:
                features.append(spans)
        estimates: Tensor = self.fusion(*features)
        return estimates

    def fusion_modules(self) -> dict[str, nn.Module]:
        return {"fusion": self.fusion}

    def attachments(self) -> dict[str, bytes]:
        if "text" not in self.encoders:
            return {}
        return {"vocabulary": "".join(f"{piece}\n" for piece in self.config.text_vocabulary).encode()}

    def contract(self) -> dict[str, object]:
        config = self.config
        video = {
            "stage": "video",
            "input": {"name": "frames", "dtype": "uint8", "shape": [config.crop_px, config.crop_px, 3]},
            "feature_dim": config.video_dim,
            "resize_px": config.resize_px,
            "crop_px": config.crop_px,
        }
        audio = {
            "stage": "audio",
            "input": {"name": "waveform", "dtype": "float32", "shape": [SPAN_SAMPLES]},
            "feature_dim": config.audio_dim,
            "sample_rate_hz": SAMPLE_RATE_HZ,
            "span_samples": SPAN_SAMPLES,
            "anchor": "start",  # the patch of a step looks 0.975 s ahead, as the papers' does
            "grid_samples": GRID_SAMPLES,
        }
        text = {
            "stage": "text" if config.text_layers else None,
            "feature_dim": config.text_dim,
            "lower_case": config.text_lower_case,
            "token_lengths": list(config.text_lengths),
            "mean": config.text_mean,
            "std": config.text_std,
        }
        modalities = {"video": video, "audio": audio, "text": text}
        return {
            "system": self.system,
            "variant": config.attention,
            "step_hz": config.step_hz,
            **{name: modalities[name] for name in config.modalities},
            "fusion": {
                "stages": [{"stage": "fusion", "outputs": list(config.outputs)}],
                "window_steps": config.window_steps,
                "default_hop_steps": config.default_hop_steps,
                "output": "per_step",
                "warm_up_steps": config.receptive_steps,
            },
            "outputs": [{"name": name} for name in config.outputs],
        }
