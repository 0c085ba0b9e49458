"""One PyTorch module → one ONNX graph with named tensors, a dynamic batch and nothing of this machine in it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from affectrt.bundle.contract import TensorInfo
from affectrt.bundle.errors import ParityError

from .cleaning import clean_model
from .typed_graph import TOKENS

if TYPE_CHECKING:
    import onnx
    from torch import nn

__all__ = ["OPSET", "graph_from_module"]

OPSET = 20  # the newest that TensorRT 10.0 to 11.4 read, and the first with Gelu as one operator
TRACE_BATCH = 2  # 1 would let the exporter take the batch for a constant
MAX_BATCH = 4096


def graph_from_module(
    module: nn.Module, inputs: Sequence[TensorInfo], output: TensorInfo, lengths: Sequence[int] = ()
) -> onnx.ModelProto:
    """Export `module` in evaluation mode; its forward takes `inputs` in order and returns `output`.

    The batch is dynamic, and with `lengths` (the contract's for the stage) so is the axis after it, called `tokens`.
    The result is checked and deterministic: the same weights give the same bytes. Raises ParityError when the
    module's output does not have the shape that the contract gives.
    """
    import torch

    examples = tuple(_example(info) for info in inputs)
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            found = tuple(module(*examples).shape)
        if found != (TRACE_BATCH, *output.shape):
            raise ParityError(
                f"the module gives {output.name!r} of shape {found[1:]}",
                expected=f"{output.shape}, as the contract says",
                fix="make the model's contract() and its modules agree",
            )
        axes = {0: torch.export.Dim("batch", min=1, max=MAX_BATCH)}
        if lengths:
            axes[1] = torch.export.Dim(TOKENS, min=2, max=lengths[-1])
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module,
                examples,
                dynamo=True,
                opset_version=OPSET,
                external_data=False,
                input_names=[info.name for info in inputs],
                output_names=[output.name],
                dynamic_shapes=tuple(axes for _ in inputs),
                verbose=False,
            )
    finally:
        module.train(training)
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    return clean_model(program.model_proto)


def _example(info: TensorInfo) -> Any:
    """Any values do: the graph must not depend on them. Random, so that nothing is traced as the constant 0."""
    import torch

    shape = (TRACE_BATCH, *info.shape)
    generator = torch.Generator().manual_seed(0)
    dtype = {"uint8": torch.uint8, "int64": torch.int64, "float16": torch.float16, "float32": torch.float32}
    if info.dtype in ("uint8", "int64"):
        most = 256 if info.dtype == "uint8" else 2  # pieces, masks and places in a sentence: all know 0 and 1
        return torch.randint(0, most, shape, generator=generator, dtype=dtype[info.dtype])
    return torch.rand(shape, generator=generator).to(dtype[info.dtype])


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's remarks about packages that are not installed and about its own code."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
