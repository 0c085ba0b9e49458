"""Every hyper-parameter of RCMA, checked whole before the first tensor is made."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from .attention import FORMS, AttentionForm
from .configuration import (
    MAX_PX,
    MAX_STEPS,
    MAX_WIDTH,
    OUTPUTS,
    Config,
    choice,
    integer,
    integers,
    names,
    number,
)
from .heads import HEADS, HeadForm
from .tcn import receptive_field
from .vggish import POOL_AFTER

__all__ = ["LAYERS_SUMMED", "MODALITIES", "SPECIAL_PIECES", "RcmaConfig"]

MODALITIES = ("video", "audio", "text")

# Far above any sensible network, far below what exhausts a machine before the weights are read.
MAX_UNITS = 128
MAX_TCN_BLOCKS = 12
MAX_LAYERS = 4
MAX_TEXT_LAYERS = 48
MAX_TEXT_POSITIONS = 4096
MAX_TEXT_LENGTH = 512
MIN_TEXT_LENGTH = 4  # [CLS], one word of two pieces, [SEP]
MAX_PIECES = 250_000
MAX_PIECE_CHARACTERS = 100
LAYERS_SUMMED = 4  # of the text encoder, for a word's vector
SPECIAL_PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


@dataclass(frozen=True, kw_only=True)
class RcmaConfig(Config):
    """Defaults: the first version's code of arXiv 2403.13659, the one whose every width is documented.

    The paper trains one network per dimension, hence one output. Fields of modalities that are not in `modalities`
    have no effect. `attention_layers` None means what the form was published with: 2 in code, 3 for `time-map`; 0 is
    the baseline without attention, features side by side.
    """

    later: ClassVar[frozenset[str]] = frozenset(
        f"text_{name}"
        for name in (
            "layers",
            "heads",
            "intermediate",
            "positions",
            "dropout",
            "vocabulary",
            "lower_case",
            "lengths",
            "mean",
            "std",
        )
    )

    modalities: tuple[str, ...] = MODALITIES
    outputs: tuple[str, ...] = ("valence",)

    # clock
    step_hz: float = 25.0
    window_steps: int = 300
    default_hop_steps: int = 25

    # video encoder: IR-50
    resize_px: int = 48
    crop_px: int = 40
    ir_units: tuple[int, ...] = (3, 4, 14, 3)
    ir_widths: tuple[int, ...] = (64, 128, 256, 512)
    ir_dropout: float = 0.4
    video_dim: int = 512

    # audio encoder: VGGish on log-mel patches
    vggish_channels: tuple[int, ...] = (64, 128, 256, 256, 512, 512)
    vggish_hidden: int = 4096
    audio_dim: int = 128

    # text encoder: BERT on word pieces; 0 layers: the words' vectors come from outside
    text_dim: int = 768
    text_layers: int = 0
    text_heads: int = 12
    text_intermediate: int = 3072
    text_positions: int = 512
    text_dropout: float = 0.1
    text_vocabulary: tuple[str, ...] = ()
    text_lower_case: bool = True
    text_lengths: tuple[int, ...] = (16, 32, 64, 128, 256)
    text_mean: float = 0.0  # of the words' vectors that the fusion was trained on
    text_std: float = 1.0

    # fusion: one temporal convolutional network per modality, one block per width
    video_tcn: tuple[int, ...] = (512, 512, 512, 512)
    audio_tcn: tuple[int, ...] = (128, 128, 128, 128)
    text_tcn: tuple[int, ...] = (512, 512, 512, 512)
    tcn_kernel: int = 5
    tcn_dropout: float = 0.1

    # fusion: attention and head
    attention: AttentionForm = "others-projected"
    attention_layers: int | None = None
    attention_dropout: float = 0.6
    head: HeadForm = "linear"
    head_hidden: int = 256

    @property
    def layers(self) -> int:
        """Attention layers that are built."""
        if self.attention_layers is not None:
            return self.attention_layers
        return 3 if self.attention == "time-map" else 2

    @property
    def feature_dims(self) -> dict[str, int]:
        """Modality → width of one feature, in the order video, audio, text."""
        dims = {"video": self.video_dim, "audio": self.audio_dim, "text": self.text_dim}
        return {name: dims[name] for name in self.modalities}

    @property
    def tcn_widths(self) -> dict[str, tuple[int, ...]]:
        """Modality → width of each block of its temporal network."""
        widths = {"video": self.video_tcn, "audio": self.audio_tcn, "text": self.text_tcn}
        return {name: widths[name] for name in self.modalities}

    @property
    def receptive_steps(self) -> int:
        """Steps of the past, the present one included, that some temporal network sees: 121 in the paper."""
        return max(receptive_field(len(widths), self.tcn_kernel) for widths in self.tcn_widths.values())

    def problems(self) -> list[str]:
        modalities = names("modalities", self.modalities, MODALITIES)
        found = modalities + names("outputs", self.outputs, OUTPUTS)
        found += number("step_hz", self.step_hz, 1e-3, 1000.0)
        steps = integer("window_steps", self.window_steps, MAX_STEPS)
        steps += integer("default_hop_steps", self.default_hop_steps, MAX_STEPS)
        if not steps and self.default_hop_steps > self.window_steps:
            steps = [f"default_hop_steps {self.default_hop_steps} skips steps: a window has {self.window_steps}"]
        found += steps
        sides = integer("resize_px", self.resize_px, MAX_PX, low=8) + integer("crop_px", self.crop_px, MAX_PX, low=8)
        if not sides and self.crop_px > self.resize_px:
            sides = [f"crop_px {self.crop_px} is larger than resize_px {self.resize_px}, from which it is cut"]
        found += sides
        units = integers("ir_units", self.ir_units, MAX_UNITS)
        units += integers("ir_widths", self.ir_widths, MAX_WIDTH)
        if not units and len(self.ir_units) != len(self.ir_widths):
            units = [f"ir_units has {len(self.ir_units)} stages, ir_widths has {len(self.ir_widths)}"]
        found += units
        found += integers("vggish_channels", self.vggish_channels, MAX_WIDTH, count=POOL_AFTER[-1] + 1)
        for name in ("video_dim", "vggish_hidden", "audio_dim", "text_dim", "head_hidden"):
            found += integer(name, getattr(self, name), MAX_WIDTH)
        found += self._text_problems()
        for name in ("video_tcn", "audio_tcn", "text_tcn"):
            found += integers(name, getattr(self, name), MAX_WIDTH, most=MAX_TCN_BLOCKS)
        found += integer("tcn_kernel", self.tcn_kernel, 99)
        for name in ("ir_dropout", "tcn_dropout", "attention_dropout"):
            found += number(name, getattr(self, name), 0.0, 0.95)
        found += choice("attention", self.attention, FORMS) + choice("head", self.head, HEADS)
        if not modalities and self.attention == "others-projected" and len(self.modalities) == 1:
            found.append(
                f"attention 'others-projected' needs another modality than {self.modalities[0]!r} to attend to; "
                "take 'all-raw' or name two modalities"
            )
        if self.attention_layers is not None:
            found += integer("attention_layers", self.attention_layers, MAX_LAYERS, low=0)
        return found

    def _text_problems(self) -> list[str]:
        found = number("text_dropout", self.text_dropout, 0.0, 0.95)
        found += [] if isinstance(self.text_lower_case, bool) else ["text_lower_case must be true or false"]
        found += number("text_mean", self.text_mean, -1e6, 1e6) + number("text_std", self.text_std, 1e-6, 1e6)
        layers = integer("text_layers", self.text_layers, MAX_TEXT_LAYERS, low=0)
        sizes = integer("text_heads", self.text_heads, MAX_WIDTH)
        sizes += integer("text_intermediate", self.text_intermediate, MAX_WIDTH)
        sizes += integer("text_positions", self.text_positions, MAX_TEXT_POSITIONS, low=MIN_TEXT_LENGTH)
        sizes += integers("text_lengths", self.text_lengths, MAX_TEXT_LENGTH)
        found += layers + sizes
        if not sizes:
            lengths = self.text_lengths
            if list(lengths) != sorted(set(lengths)) or lengths[0] < MIN_TEXT_LENGTH:
                found.append(f"text_lengths must increase from {MIN_TEXT_LENGTH} or more, not {lengths}")
        if layers or sizes or not self.text_layers:
            if not layers and self.text_vocabulary != ():
                found.append("a text_vocabulary is for a text encoder: text_layers is 0")
            return found
        if self.text_layers < LAYERS_SUMMED:
            found.append(
                f"text_layers {self.text_layers}: a word's vector is a sum over the last {LAYERS_SUMMED} layers"
            )
        if isinstance(self.text_dim, int) and self.text_dim % self.text_heads:
            found.append(f"text_dim {self.text_dim} cannot be divided among {self.text_heads} text_heads")
        if self.text_lengths[-1] > self.text_positions:
            found.append(f"text_lengths up to {self.text_lengths[-1]}, but only {self.text_positions} text_positions")
        return found + _vocabulary_problems(self.text_vocabulary)


def _vocabulary_problems(pieces: object) -> list[str]:
    if not isinstance(pieces, tuple) or not len(pieces) <= MAX_PIECES:
        return [f"text_vocabulary must be a tuple of at most {MAX_PIECES} pieces"]
    # One piece a line, so none may hold what breaks a line anywhere.
    odd = [at for at, piece in enumerate(pieces) if not _is_piece(piece)]
    if odd:
        return [f"text_vocabulary[{odd[0]}] is no piece: 1 to {MAX_PIECE_CHARACTERS} characters, no white space"]
    if missing := [piece for piece in SPECIAL_PIECES if piece not in pieces]:
        return [f"text_vocabulary lacks {', '.join(missing)}"]
    piece, times = Counter(pieces).most_common(1)[0]
    return [] if times == 1 else [f"text_vocabulary has {piece!a} {times} times"]


def _is_piece(piece: object) -> bool:
    if not isinstance(piece, str) or len(piece) > MAX_PIECE_CHARACTERS or piece.split() != [piece]:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in piece)
