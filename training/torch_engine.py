"""A checkpoint's stages as engines, so that the runtime's own session and scheduler evaluate it."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from affectrt.bundle.contract import Contract, TensorInfo
from affectrt.runtime.engines.base import Array, Engine, TensorSpec

if TYPE_CHECKING:
    from torch import nn

    from affectrt.models.network import Network

__all__ = ["TorchEngine", "torch_engines"]


def torch_engines(model: Network, *, provenance: Mapping[str, str] | None = None) -> dict[str, Engine]:
    """Stage → engine for every stage of the model's contract. The model is put into evaluation mode."""
    contract = Contract.model_validate(model.contract())
    modules = model.stage_modules()
    return {
        stage: TorchEngine(
            modules[stage],
            contract.stage_inputs(stage),
            contract.stage_output(stage),
            {"stage": stage, **(provenance or {})},
        )
        for stage in contract.stages
    }


class TorchEngine:
    """One stage in torch, FP32 on the CPU, without gradients."""

    def __init__(
        self,
        module: nn.Module,
        inputs: tuple[TensorInfo, ...],
        output: TensorInfo,
        provenance: Mapping[str, str],
    ) -> None:
        import torch

        self._module = module.eval()
        self._inputs = {t.name: TensorSpec(t.dtype, t.shape) for t in inputs}
        self._output = output
        self._provenance = {
            "backend": "torch",
            "backend_version": str(torch.__version__),
            "device": "cpu",
            "precision": "fp32",
            **provenance,
        }

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        return {self._output.name: TensorSpec(self._output.dtype, self._output.shape)}

    @property
    def provenance(self) -> Mapping[str, str]:
        return self._provenance

    def infer(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        import torch

        with torch.inference_mode():
            values = [torch.from_numpy(np.require(feeds[name], requirements=["C", "W"])) for name in self._inputs]
            return {self._output.name: self._module(*values).numpy()}

    def close(self) -> None:
        """Nothing to give back: the module belongs to the model."""

    def __enter__(self) -> TorchEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
