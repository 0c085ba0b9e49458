"""Lightning's state on disk, written where it is wanted."""

from __future__ import annotations

from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

__all__ = ["StateFile"]


class StateFile(TorchCheckpointIO):
    """Writes straight to the path.

    Lightning's own makes a copy in memory first and writes that to the system's temporary folder, where a training
    that is killed leaves it; what its way protects, whoever renames the file afterwards protects as well.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        torch.save(checkpoint, path)
