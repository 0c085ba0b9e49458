"""A corpus and networks so small that a whole training takes a second."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

__all__ = ["NO_DROPOUT", "as_toml", "tiny", "tiny_opened", "toy", "trained_by"]

TINY = {
    "window_steps": 20,
    "default_hop_steps": 10,
    "resize_px": 18,
    "crop_px": 16,
    "ir_units": [1, 1],
    "ir_widths": [4, 8],
    "video_dim": 8,
    "vggish_channels": [2, 2, 4, 4, 4, 4],
    "vggish_hidden": 8,
    "audio_dim": 8,
    "video_tcn": [8],
    "audio_tcn": [8],
    "head_hidden": 8,
}
TINY_CAV = {
    "resize_px": 34,
    "crop_px": 32,
    "i3d_stem": [2, 2, 4],
    "i3d_mixed": [[2, 2, 2, 2, 2, 2]] * 9,
    "audio_channels": [2, 2, 4, 4, 8],
    "head_hidden": [4],
}

NO_DROPOUT = {
    "rcma": {"ir_dropout": 0.0, "tcn_dropout": 0.0, "attention_dropout": 0.0},
    "cav": {"head_dropout": 0.0},
}


def tiny(system: str = "rcma", **changes: Any) -> Any:
    """A configuration of a tiny network; `fields` are merged into the network's."""
    from affectrt.training.experiments.config import ExperimentConfig

    variant, fields = ("demo", TINY) if system == "rcma" else ("cav-demo", TINY_CAV)
    told = {
        "name": "toy",
        "system": system,
        "network": {"variant": variant, "fields": {**fields, **changes.pop("fields", {})}},
        "output": "both",
        "epochs": 4,
        "batch": 4,
        "hop": 10 if system == "rcma" else 8,
        "seed": 3,
        "optimiser": {"learning_rate": 5e-3},
        "licence": "CC0-1.0",
        "intended_use": "tests",
    }
    if system == "rcma":
        told["schedule"] = {"kind": "plateau", "warm_up_epochs": 1}
    return ExperimentConfig.model_validate({**told, **changes})


def toy(root: Path, config: Any, **changes: Any) -> Path:
    """The toy corpus for a configuration's network."""
    from doubles.toy_prepared import make_toy_corpus

    from affectrt.bundle.contract import Contract
    from affectrt.training.experiments.config import network_of

    return make_toy_corpus(root, Contract.model_validate(network_of(config).contract()), **changes)


def tiny_opened(system: str) -> Any:
    """A tiny network as it is evaluated, with weights and moments such that its estimates change."""
    torch = pytest.importorskip("torch")

    from affectrt.bundle.contract import Contract
    from affectrt.training.evaluate import Opened
    from affectrt.training.experiments.config import network_of
    from affectrt.training.torch_engine import torch_engines

    torch.manual_seed(4)
    model = network_of(tiny(system))
    for module in model.modules():
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return Opened(Contract.model_validate(model.contract()), torch_engines(model), "fp32")


def as_toml(config: Any) -> str:
    """The file of a configuration."""

    def table(data: dict[str, Any], path: str) -> str:
        own = [f"{key} = {json.dumps(v)}\n" for key, v in data.items() if v is not None and not isinstance(v, dict)]
        below = [f"\n[{path}{key}]\n{table(v, f'{path}{key}.')}" for key, v in data.items() if isinstance(v, dict)]
        return "".join([*own, *below])

    return table(config.model_dump(mode="json"), "")


def trained_by(processes: int, config: Any, corpus: Path, folder: Path, *options: str) -> Any:
    """The checkpoint that `affectrt train` makes of an experiment in so many processes of a thread each."""
    from affectrt.models.checkpoint import load_checkpoint

    folder.mkdir()
    (folder / "toy.toml").write_text(as_toml(config), encoding="utf-8")
    out, work = folder / "x.safetensors", folder / "work"
    told = [str(folder / "toy.toml"), "--corpus", str(corpus), "--out", str(out), "--work", str(work)]
    told += ["--devices", str(processes), "--accelerator", "cpu", *options]
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "affectrt.cli.main",
            "train",
            *told,
            "--devices",
            str(processes),
            "--accelerator",
            "cpu",
        ],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=600,
    )
    assert ran.returncode == 0, ran.stderr
    return load_checkpoint(out)
