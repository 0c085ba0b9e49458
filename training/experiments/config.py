"""One experiment: everything that decides what the weights become, checked whole before the first byte moves."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from affectrt.bundle.errors import UsageError, listed
from affectrt.bundle.modalities import Record

from .config_parts import (
    CosineSchedule,
    Count,
    EncoderBundle,
    Init,
    NetworkChoice,
    Optimiser,
    PlateauSchedule,
    Published,
    PublishedFigure,
    Release,
    Schedule,
    StepSchedule,
    WarmUp,
)
from .rules import RULES, Protocol, Rules, System

if TYPE_CHECKING:
    from affectrt.models.network import Network

__all__ = [
    "CosineSchedule",
    "EncoderBundle",
    "ExperimentConfig",
    "Init",
    "NetworkChoice",
    "Optimiser",
    "PlateauSchedule",
    "Published",
    "PublishedFigure",
    "Release",
    "StepSchedule",
    "WarmUp",
    "is_experiment",
    "network_of",
    "read_config",
]

Precision = Literal["32-true", "16-mixed", "bf16-mixed"]
Output = Literal["valence", "arousal", "both"]
NAMES: Mapping[Output, tuple[str, ...]] = {
    "valence": ("valence",),
    "arousal": ("arousal",),
    "both": ("valence", "arousal"),
}


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
    features: Literal["computed", "cached"] = "computed"  # cached: encoders that never learn run once, not every epoch
    mirrored: bool = False  # cached: every other window, by chance, shows the mirrored face, for twice the encoding
    cache: Path | None = None  # cached: the folder, shared by experiments; without one it lies in --work
    encoders: EncoderBundle | None = None
    text: Path | None = None  # the folder of the BERT that makes vectors of words, for a network that has none itself
    licence: Annotated[str, Field(min_length=1)]
    intended_use: Annotated[str, Field(min_length=1)]
    limits: str = ""
    published: Published | None = None

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        filled = {**_DEFAULTS.get(data.get("system"), {}), **data}
        if data.get("system") == "rcma":
            schedule = dict(filled["schedule"]) if isinstance(filled["schedule"], dict) else filled["schedule"]
            if isinstance(schedule, dict) and schedule.get("kind") == "plateau":
                published = data.get("protocol", "repaired") == "published"
                schedule.setdefault("warm_up", "published" if published else "linear")
            filled["schedule"] = schedule
            if data.get("features") == "cached" and "release" not in data:
                filled["release"] = {"stages": 0}
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
        if self.features == "cached":
            if self.protocol == "published":
                raise ValueError("features of the published protocol are not the same in every epoch: take repaired")
            if self.release.stages:
                raise ValueError("cached features are of encoders that never learn: release.stages must be 0")
        elif self.encoders is not None or self.mirrored:
            raise ValueError('encoders and mirrored say how features are cached: features must be "cached"')
        if self.release.stages and self.schedule.kind != "plateau":
            raise ValueError(
                f"{self.release.stages} stages are released when a plateau has lowered the rate: schedule.kind must be "
                "plateau, or [release] stages 0 (computed features of rcma have 3 where the file does not say)"
            )
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
    elif choice.variant == "text-demo":
        from affectrt.training.vocabulary import demo_vocabulary

        chosen = sizes.text_demo_config(demo_vocabulary())
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
        wrong = [": ".join([*filter(None, [".".join(map(str, e["loc"]))]), _said(e)]) for e in error.errors()]
        given = f" with {', '.join(f'--{name}' for name in changes)}" if changes else ""
        raise UsageError(
            listed(f"{path}{given} has {len(wrong)} mistake{'s' * (len(wrong) > 1)}", wrong),
            expected="the fields that docs/training.md lists (affectrt.training.experiments.ExperimentConfig)",
        ) from error
    except ValueError as error:  # TOML's own errors and those of UTF-8
        raise UsageError(f"{path} is not TOML: {error}", expected="a TOML file in UTF-8") from error


def _said(error: Any) -> str:
    """One of pydantic's errors, without the name of its class before what our own checks say."""
    return str(error["msg"]).removeprefix("Value error, ")


def _toml(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    told: dict[str, Any] = tomllib.loads(text)
    return told
