"""Every hyper-parameter of RCMA, checked whole before the first tensor is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from .attention import FORMS, AttentionForm
from .errors import ConfigError
from .heads import HEADS, HeadForm
from .tcn import receptive_field
from .vggish import POOL_AFTER

__all__ = ["MODALITIES", "OUTPUTS", "RcmaConfig"]

MODALITIES = ("video", "audio", "text")
OUTPUTS = ("valence", "arousal")

# Far above any sensible network, far below what exhausts a machine before the weights are read.
MAX_WIDTH = 16_384
MAX_UNITS = 128
MAX_STEPS = 4096
MAX_PX = 1024
MAX_TCN_BLOCKS = 12
MAX_LAYERS = 4


@dataclass(frozen=True, kw_only=True)
class RcmaConfig:
    """Defaults: the first version's code of arXiv 2403.13659, the one whose every width is documented.

    The paper trains one network per dimension, hence one output. Fields of modalities that are not in `modalities`
    have no effect. `attention_layers` None means what the form was published with: 2 in code, 3 for `time-map`.
    """

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

    # text: word vectors from outside
    text_dim: int = 768

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

    def __post_init__(self) -> None:
        problems = self._problems()
        if problems:
            raise ConfigError(
                f"{len(problems)} mistake(s) in the configuration:\n    " + "\n    ".join(problems),
                expected="the fields of affectrt.models.RcmaConfig",
                fix="start from paper_config() or demo_config() of affectrt.models.sizes",
            )

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

    def to_dict(self) -> dict[str, object]:
        """Plain data, tuples as lists."""
        fields = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> RcmaConfig:
        """The configuration that `to_dict` wrote. ConfigError names every field that is missing or unknown."""
        names = {field.name for field in dataclasses.fields(cls)}
        unknown, missing = sorted(set(data) - names), sorted(names - set(data))
        if unknown or missing:
            found = [f"unknown {name!r}" for name in unknown] + [f"missing {name!r}" for name in missing]
            raise ConfigError(
                f"fields of the configuration: {', '.join(found)}",
                expected=f"exactly {', '.join(sorted(names))}",
                fix="write the file with the version of affectrt that reads it",
            )
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
        return cls(**values)  # type: ignore[arg-type]  # __post_init__ checks the type of every field

    def _problems(self) -> list[str]:
        """Every rule that is broken, in the order of the fields."""
        modalities = _names("modalities", self.modalities, MODALITIES)
        found = modalities + _names("outputs", self.outputs, OUTPUTS)
        found += _number("step_hz", self.step_hz, 1e-3, 1000.0)
        steps = _integer("window_steps", self.window_steps, MAX_STEPS)
        steps += _integer("default_hop_steps", self.default_hop_steps, MAX_STEPS)
        if not steps and self.default_hop_steps > self.window_steps:
            steps = [f"default_hop_steps {self.default_hop_steps} skips steps: a window has {self.window_steps}"]
        found += steps
        sides = _integer("resize_px", self.resize_px, MAX_PX, low=8) + _integer("crop_px", self.crop_px, MAX_PX, low=8)
        if not sides and self.crop_px > self.resize_px:
            sides = [f"crop_px {self.crop_px} is larger than resize_px {self.resize_px}, from which it is cut"]
        found += sides
        units = _integers("ir_units", self.ir_units, MAX_UNITS)
        units += _integers("ir_widths", self.ir_widths, MAX_WIDTH)
        if not units and len(self.ir_units) != len(self.ir_widths):
            units = [f"ir_units has {len(self.ir_units)} stages, ir_widths has {len(self.ir_widths)}"]
        found += units
        found += _integers("vggish_channels", self.vggish_channels, MAX_WIDTH, count=POOL_AFTER[-1] + 1)
        for name in ("video_dim", "vggish_hidden", "audio_dim", "text_dim", "head_hidden"):
            found += _integer(name, getattr(self, name), MAX_WIDTH)
        for name in ("video_tcn", "audio_tcn", "text_tcn"):
            found += _integers(name, getattr(self, name), MAX_WIDTH, most=MAX_TCN_BLOCKS)
        found += _integer("tcn_kernel", self.tcn_kernel, 99)
        for name in ("ir_dropout", "tcn_dropout", "attention_dropout"):
            found += _number(name, getattr(self, name), 0.0, 0.95)
        found += _choice("attention", self.attention, FORMS) + _choice("head", self.head, HEADS)
        if not modalities and self.attention == "others-projected" and len(self.modalities) == 1:
            found.append(
                f"attention 'others-projected' needs another modality than {self.modalities[0]!r} to attend to; "
                "take 'all-raw' or name two modalities"
            )
        if self.attention_layers is not None:
            found += _integer("attention_layers", self.attention_layers, MAX_LAYERS)
        return found


def _names(field: str, value: object, known: tuple[str, ...]) -> list[str]:
    if isinstance(value, tuple) and value and value == tuple(name for name in known if name in value):
        return []
    return [f"{field} must be one or more of {', '.join(known)}, as a tuple in this order, not {value!r}"]


def _choice(field: str, value: object, known: tuple[str, ...]) -> list[str]:
    return [] if isinstance(value, str) and value in known else [f"{field} must be one of {known}, not {value!r}"]


def _number(field: str, value: object, low: float, high: float) -> list[str]:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high:
        return []
    return [f"{field} must be a number in [{low:g}, {high:g}], not {value!r}"]


def _integer(field: str, value: object, high: int, *, low: int = 1) -> list[str]:
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return []
    return [f"{field} must be an integer in [{low}, {high}], not {value!r}"]


def _integers(field: str, value: object, high: int, *, count: int | None = None, most: int = 16) -> list[str]:
    lengths = f"{count}" if count is not None else f"1 to {most}"
    if not isinstance(value, tuple) or not (len(value) == count if count is not None else 1 <= len(value) <= most):
        return [f"{field} must be a tuple of {lengths} integers, not {value!r}"]
    return [problem for index, item in enumerate(value) for problem in _integer(f"{field}[{index}]", item, high)]
