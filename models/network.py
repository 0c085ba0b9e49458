"""What every system is to the rest of the house: encoders, fusion stages, and the contract that feeds them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from .configuration import Config

__all__ = ["Encoder", "Network"]


class Encoder(nn.Module):
    """Raw spans (B, …) → features (B, feature_dim): a front end without weights, then a backbone."""

    def __init__(self, front_end: nn.Module, backbone: nn.Module) -> None:
        super().__init__()
        self.front_end = front_end
        self.backbone = backbone

    def forward(self, spans: Tensor) -> Tensor:
        features: Tensor = self.backbone(self.front_end(spans))
        return features


class Network(nn.Module, ABC):
    """One network for training, stages for everything else: `encoders` by modality, then one or more fusions.

    A fusion takes windows of features, one (B, window_steps, feature_dim) per modality in the order video, audio, text.
    """

    system: ClassVar[str]

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoders = nn.ModuleDict()

    def stage_modules(self) -> dict[str, nn.Module]:
        """Stage → the module that computes it, taking the stage's inputs in the contract's order."""
        return {**dict(self.encoders.items()), **self.fusion_modules()}

    @abstractmethod
    def fusion_modules(self) -> dict[str, nn.Module]:
        """The fusion stages, in the order of the contract."""

    def attachments(self) -> dict[str, bytes]:
        """Files that a bundle of this network carries besides its graphs, by name: `vocabulary`, if it reads words."""
        return {}

    @abstractmethod
    def contract(self) -> dict[str, object]:
        """What the runtime must know to feed this model, as plain data for `affectrt.bundle.Contract`."""
