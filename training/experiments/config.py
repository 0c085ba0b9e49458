"""One experiment: everything that decides what the weights become, checked whole before the first byte moves."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from affectrt.bundle.errors import UsageError, listed
from affectrt.bundle.modalities import Record

from .rules import RULES, Protocol, Rules, System

if TYPE_CHECKING:
    from affectrt.models.network import Network

__all__ = [
    "CosineSchedule",
    "ExperimentConfig",
    "Init",
    "NetworkChoice",
    "Optimiser",
    "PlateauSchedule",
    "Published",
    "PublishedFigure",
    "Release",
    "StepSchedule",
    "is_experiment",
    "network_of",
    "read_config",
]

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Rate = Annotated[float, Field(gt=0, le=1)]
Precision = Literal["32-true", "16-mixed", "bf16-mixed"]
Output = Literal["valence", "arousal", "both"]
WarmUp = Literal["none", "linear", "published"]
NAMES: Mapping[Output, tuple[str, ...]] = {
    "valence": ("valence",),
    "arousal": ("arousal",),
    "both": ("valence", "arousal"),
}


class NetworkChoice(Record):
    """A configuration of `affectrt.models.sizes`; `fields` replaces any field of it."""

    variant: Literal["rcma-v1", "rjcma-head", "rjcma-paper", "demo", "cav", "cav-demo"]
    modalities: tuple[Literal["video", "audio", "text"], ...] | None = None
    attention_layers: Annotated[int, Field(ge=0, le=4)] | None = None
    fields: dict[str, Any] = Field(default_factory=dict)


class Optimiser(Record):
    """Adam, as in both papers; decay is added to the gradient (not AdamW's)."""

    learning_rate: Rate
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    epsilon: Annotated[float, Field(gt=0, le=1)] = 1e-8  # torch's own; the papers name none


class PlateauSchedule(Record):
    """RCMA: rate · `factor` once the score was not the best for more than `patience` epochs after the warm-up."""

    kind: Literal["plateau"] = "plateau"
    warm_up: WarmUp = "linear"
    warm_up_epochs: Annotated[int, Field(ge=0, le=1000)] = 5
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: Annotated[int, Field(ge=0, le=1000)] = 5


class StepSchedule(Record):
    """CAV: rate · factor^⌊(epoch − from_epoch) / every⌋ in epochs after `from_epoch`, counted from 0."""

    kind: Literal["steps"] = "steps"
    from_epoch: Annotated[int, Field(ge=0, le=100_000)] = 15
    every: Count = 2
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.8


class CosineSchedule(Record):
    """Neither paper's: a linear warm-up, then half a cosine to 0 at the last epoch, batch by batch."""

    kind: Literal["cosine"] = "cosine"
    warm_up_epochs: Annotated[int, Field(ge=0, le=1000)] = 1


Schedule = Annotated[PlateauSchedule | StepSchedule | CosineSchedule, Field(discriminator="kind")]


class Release(Record):
    """RCMA: parts of the backbones that learn in stages; the next one when the rate is below `below` and at least
    `min_epochs` epochs are done. 0 stages leave the backbones as they are."""

    stages: Annotated[int, Field(ge=0, le=3)] = 3
    below: Rate = 1e-8
    min_epochs: Annotated[int, Field(ge=0, le=1000)] = 5


class Init(Record):
    """Weights to begin with: files of parts or of a whole checkpoint, from the folder where the command runs.

    `needs` names the parts without which the published experiment makes no sense.
    """

    needs: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


class PublishedFigure(Record):
    """A CCC that the authors publish. None that was not found in it or in notes on it."""

    split: Literal["validation", "test"]
    valence: float | None = None
    arousal: float | None = None
    mean: float | None = None
    source: str


class Published(Record):
    """Which table of which paper this is, its figures, and what of it could not be found."""

    paper: str
    table: str
    figures: tuple[PublishedFigure, ...] = ()
    not_found: str = ""


class ExperimentConfig(Record):
    """Epochs, batch and rates have the published values where the file names none."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}$")]
    system: System
    protocol: Protocol = "repaired"
    network: NetworkChoice
    output: Output = "valence"
    corpus: Path | None = None
    fold: Annotated[int, Field(ge=0, le=5)] = 0
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 3407
    epochs: Count
    batch: Count
    hop: Count  # between the beginnings of windows: 200 steps, or 1 frame
    optimiser: Optimiser
    schedule: Schedule
    release: Release = Release(stages=0)
    early_stop: Count | None = None  # epochs without a better score
    precision: Precision = "32-true"
    devices: Count = 1
    nodes: Count = 1
    workers: Annotated[int, Field(ge=0, le=256)] = 0
    drop_modality: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    init: Init = Init()
    licence: Annotated[str, Field(min_length=1)]
    intended_use: Annotated[str, Field(min_length=1)]
    limits: str = ""
    published: Published | None = None

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        filled = {**_DEFAULTS.get(data.get("system"), {}), **data}  # type: ignore[call-overload]
        if data.get("system") == "rcma":
            schedule = dict(filled["schedule"]) if isinstance(filled["schedule"], dict) else filled["schedule"]
            if isinstance(schedule, dict) and schedule.get("kind") == "plateau":
                published = data.get("protocol", "repaired") == "published"
                schedule.setdefault("warm_up", "published" if published else "linear")
            filled["schedule"] = schedule
        return filled

    @model_validator(mode="after")
    def _check(self) -> ExperimentConfig:
        cav = self.network.variant in {"cav", "cav-demo"}
        if cav != (self.system == "cav"):
            raise ValueError(f"network {self.network.variant} is not one of the system {self.system}")
        if cav and self.release.stages:
            raise ValueError("cav's encoders are never released: release.stages must be 0")
        if self.protocol == "published" and self.drop_modality:
            raise ValueError("drop_modality is not in the papers: take protocol repaired")
        if self.release.stages and self.schedule.kind != "plateau":
            raise ValueError("stages are released when a plateau has lowered the rate: schedule.kind must be plateau")
        return self

    @property
    def rules(self) -> Rules:
        return RULES[self.system, self.protocol]

    @property
    def outputs(self) -> tuple[str, ...]:
        return NAMES[self.output]


_DEFAULTS: Mapping[Any, Mapping[str, Any]] = {
    # arXiv 2403.13659; C2 main.py, base/trainer.py
    "rcma": {
        "epochs": 100,
        "batch": 12,
        "hop": 200,
        "optimiser": {"learning_rate": 1e-5, "weight_decay": 1e-3},
        "schedule": {"kind": "plateau"},
        "release": {"stages": 3},
        "early_stop": 50,
    },
    # C1 main.py, train.py
    "cav": {
        "epochs": 60,
        "batch": 16,
        "hop": 1,
        "optimiser": {"learning_rate": 1e-4},
        "schedule": {"kind": "steps"},
    },
}


def network_of(config: ExperimentConfig) -> Network:
    """The network with new weights; on the meta device where that is the default. Raises ConfigError."""
    import dataclasses

    from affectrt.models import sizes
    from affectrt.models.errors import ConfigError
    from affectrt.models.systems import SYSTEMS

    choice = config.network
    if choice.variant == "demo":
        chosen: Any = sizes.demo_config()
    elif choice.variant == "cav-demo":
        chosen = sizes.cav_demo_config()
    elif choice.variant == "cav":
        chosen = sizes.cav_paper_config()
    else:
        chosen = sizes.paper_config(choice.variant)
    changed: dict[str, Any] = {"outputs": config.outputs}
    if choice.modalities is not None:
        changed["modalities"] = choice.modalities
    if choice.attention_layers is not None:
        changed["attention_layers"] = choice.attention_layers
    changed |= {name: _tuples(value) for name, value in choice.fields.items()}
    unknown = sorted(set(changed) - {field.name for field in dataclasses.fields(chosen)})
    if unknown:
        raise ConfigError(f"network.fields names {', '.join(unknown)}", expected=f"fields of {type(chosen).__name__}")
    config_type, network = SYSTEMS[config.system]
    return network(config_type.from_dict(dataclasses.replace(chosen, **changed).to_dict()))


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def is_experiment(path: Path) -> bool:
    """Whether a TOML file describes an experiment and not a recipe; False for a file that cannot be read."""
    try:
        return "system" in _toml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def read_config(path: Path, changes: Mapping[str, Any] | None = None) -> tuple[ExperimentConfig, str]:
    """The experiment of a TOML file, with `changes` from the command line, and the file's text.

    UsageError lists every mistake in it at once.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return ExperimentConfig.model_validate({**_toml(text), **(changes or {})}), text
    except FileNotFoundError:
        raise UsageError(
            f"no experiment at {path}", expected="a TOML file", fix="affectrt train training/configs/rjcma-fold1.toml"
        ) from None
    except ValidationError as error:
        wrong = [f"{'.'.join(str(at) for at in e['loc']) or 'whole'}: {e['msg']}" for e in error.errors()]
        raise UsageError(
            listed(f"{path} has {len(wrong)} mistake(s)", wrong),
            expected="the fields of affectrt.training.experiments.ExperimentConfig",
        ) from error
    except ValueError as error:  # TOML's own errors and those of UTF-8
        raise UsageError(f"{path} is not TOML: {error}", expected="a TOML file in UTF-8") from error


def _toml(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(text)
