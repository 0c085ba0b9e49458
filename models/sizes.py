"""Named configurations: the published networks, and a narrow one of the same classes that trains on two CPU cores."""

from __future__ import annotations

import dataclasses
import string
from typing import Literal

from .cav_config import CavConfig
from .rcma_config import RcmaConfig

__all__ = [
    "LETTER_PIECES",
    "PaperVariant",
    "cav_demo_config",
    "cav_paper_config",
    "demo_config",
    "paper_config",
    "text_demo_config",
]

PaperVariant = Literal["rcma-v1", "rjcma-head", "rjcma-paper"]

# Pieces that spell every word of English letters and figures; padding is BERT's piece 0.
LETTER_PIECES: tuple[str, ...] = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]"),
    *".,!?'-",
    *(begin + sign for begin in ("", "##") for sign in string.ascii_lowercase + string.digits),
)


def paper_config(
    variant: PaperVariant = "rcma-v1",
    *,
    modalities: tuple[str, ...] = ("video", "audio", "text"),
    outputs: tuple[str, ...] = ("valence",),
) -> RcmaConfig:
    """The network as published.

    `rcma-v1` is the first version's code. `rjcma-head` is the later code; of its temporal networks only the last
    widths are known (256, 128, 128), so all their blocks have those. `rjcma-paper` is the paper's fourth version:
    K × K maps, three layers, an MLP head; the paper gives no widths, so they are those of `rjcma-head`.
    """
    v1 = RcmaConfig(modalities=modalities, outputs=outputs)
    if variant == "rcma-v1":
        return v1
    head = dataclasses.replace(
        v1, video_tcn=(256,) * 4, audio_tcn=(128,) * 4, text_tcn=(128,) * 4, attention="all-raw", head="mlp"
    )
    if variant == "rjcma-head":
        return head
    if variant == "rjcma-paper":
        return dataclasses.replace(head, attention="time-map")
    raise ValueError(f"no published variant {variant!r}; there are rcma-v1, rjcma-head, rjcma-paper")


def demo_config() -> RcmaConfig:
    """Audio and video, both dimensions, the paper's clock and receptive field, narrow everywhere else."""
    return RcmaConfig(
        modalities=("video", "audio"),
        outputs=("valence", "arousal"),
        default_hop_steps=10,
        ir_units=(1, 1, 2, 1),
        ir_widths=(8, 16, 32, 48),
        video_dim=48,
        vggish_channels=(8, 16, 24, 24, 32, 32),
        vggish_hidden=64,
        audio_dim=32,
        video_tcn=(32,) * 4,
        audio_tcn=(32,) * 4,
        attention="all-raw",
        head="mlp",
        head_hidden=32,
    )


def text_demo_config(vocabulary: tuple[str, ...] = LETTER_PIECES) -> RcmaConfig:
    """`demo_config` and text: four narrow layers of BERT on a small vocabulary (`affectrt.training.vocabulary`).

    One layer of attention: a second one, with three modalities, would take a megabyte of weights and was not better
    where it was compared (`docs/fusion-table.md`).
    """
    return dataclasses.replace(
        demo_config(),
        modalities=("video", "audio", "text"),
        text_dim=64,
        text_layers=4,
        text_heads=4,
        text_intermediate=128,
        text_positions=64,
        text_vocabulary=vocabulary,
        text_lengths=(16, 32, 64),
        text_tcn=(32,) * 4,
        attention_layers=1,
    )


def cav_paper_config(
    *, modalities: tuple[str, ...] = ("video", "audio"), outputs: tuple[str, ...] = ("valence",)
) -> CavConfig:
    """CAV as published; of one modality alone its features and the head, since attention needs two."""
    if len(modalities) == 1:
        return CavConfig(modalities=modalities, outputs=outputs, fusion="concatenation")
    return CavConfig(modalities=modalities, outputs=outputs)


def cav_demo_config() -> CavConfig:
    """CAV with both dimensions, the paper's window, clips and spectrogram, smaller pictures, narrow everywhere else.

    A clip takes 0.4 billion products, of which the first convolution, 7 × 7 × 7, has most. Smaller pictures than 88
    pixels were tried: after its first two strides nothing is left of a drawn mouth or brow.
    """
    return CavConfig(
        outputs=("valence", "arousal"),
        resize_px=96,
        crop_px=88,
        i3d_stem=(16, 16, 32),
        i3d_mixed=(
            (16, 16, 32, 8, 16, 16),
            (24, 24, 48, 12, 24, 24),
            (32, 24, 48, 12, 24, 24),
            (32, 24, 48, 12, 24, 24),
            (32, 24, 48, 12, 24, 24),
            (32, 24, 48, 12, 24, 24),
            (32, 32, 64, 16, 32, 32),
            (32, 32, 64, 16, 32, 32),
            (32, 32, 48, 16, 24, 24),
        ),
        audio_channels=(16, 24, 32, 48, 128),
        head_hidden=(32, 16),
    )
