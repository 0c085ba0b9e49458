"""RCMA's three-stage release: which parts of the backbones learn when (C2 base/parameter_control.py:53-98)."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from affectrt.models.network import Network
from affectrt.models.rcma import Rcma

__all__ = ["STAGES", "released_modules", "set_stage", "stages_of", "trained"]

STAGES = 3
UNITS_PER_STAGE = 3


def stages_of(network: Network) -> tuple[tuple[str, ...], ...]:
    """Paths of the modules that each stage adds, video before audio, as the authors' tensor numbers name them.

    | stage | video (of 24 units)            | audio                       |
    |-------|--------------------------------|-----------------------------|
    | 1     | output, 6 556 160              | embeddings.4, 524 416       |
    | 2     | body.21 … body.23, 13 115 392  | embeddings.2, 16 781 312    |
    | 3     | body.18 … body.20, 3 542 784   | embeddings.0, 50 335 744    |

    A body of fewer units gives its last three, then the three before, as far as there are any. CAV has no stages.
    """
    if not isinstance(network, Rcma):
        return ()
    paths: list[list[str]] = [[], [], []]
    if "video" in network.encoders:
        video = "encoders.video.backbone"
        units = sum(network.config.ir_units)
        paths[0].append(f"{video}.output")
        for stage in (1, 2):
            low, high = units - stage * UNITS_PER_STAGE, units - (stage - 1) * UNITS_PER_STAGE
            paths[stage] += [f"{video}.body.{unit}" for unit in range(max(low, 0), max(high, 0))]
    if "audio" in network.encoders:
        for stage, layer in enumerate((4, 2, 0)):
            paths[stage].append(f"encoders.audio.backbone.embeddings.{layer}")
    return tuple(tuple(stage) for stage in paths)


def released_modules(network: Network, stage: int) -> Iterator[nn.Module]:
    """The modules of the encoders that learn in `stage`: those of this stage and the ones before; none in stage 0."""
    for paths in stages_of(network)[:stage]:
        for path in paths:
            yield network.get_submodule(path)


def set_stage(network: Network, stage: int) -> None:
    """Let the fusion and the released modules have gradients, and nothing else."""
    network.requires_grad_(False)
    for fusion in network.fusion_modules().values():
        fusion.requires_grad_(True)
    for module in released_modules(network, stage):
        module.requires_grad_(True)


def trained(network: Network) -> list[nn.Parameter]:
    """Every parameter with a gradient, in the network's order."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]
