"""A checkpoint becomes a bundle: one graph per stage, each proved equal to PyTorch before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from affectrt.bundle.contract import Contract, TextModality
from affectrt.bundle.errors import BundleError, ParityError
from affectrt.bundle.manifest import Accuracy, Provenance
from affectrt.bundle.scopes import FRONT_END
from affectrt.bundle.store import Bundle
from affectrt.bundle.strict_json import problems_from_validation
from affectrt.bundle.writer import BundleDraft, FileDraft, GraphDraft, check_place, write_bundle

from .cleaning import scope_of
from .graphs import OPSET, graph_from_module
from .operator_lint import check_operators
from .parity import Parity, check_parity, measure_parity
from .sentences import random_sentences

if TYPE_CHECKING:
    from torch import nn

    from affectrt.models.checkpoint import LoadedCheckpoint

__all__ = ["Recordings", "StageExport", "export_bundle", "export_stage"]

# Stage → input name → spans, shape (rows, *shape of the input).
Recordings = Mapping[str, Mapping[str, npt.NDArray[np.generic]]]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class StageExport:
    """A stage's graph and how far it is from PyTorch."""

    draft: GraphDraft
    parity: Parity


def export_bundle(
    checkpoint: LoadedCheckpoint,
    out: Path,
    *,
    recordings: Recordings,
    name: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Bundle:
    """Write the bundle of `checkpoint` to `out`; `recordings` must cover every stage but an encoder of text, which is
    compared on random sentences of every length besides.

    Raises ParityError when a graph does not compute what its module computes or TensorRT would refuse it, BundleError
    when the contract or provenance is incomplete or `out` cannot be written. Then nothing has been written.
    """
    tell = progress or (lambda _: None)
    check_place(Path(out), overwrite=overwrite)
    model = checkpoint.model
    contract = _contract_from_model(model)
    provenance = _provenance(checkpoint)
    modules = model.stage_modules()
    if set(modules) != set(contract.stages):
        raise ParityError(
            f"the model has modules for {sorted(modules)}", expected=f"one for each of {sorted(contract.stages)}"
        )
    graphs = []
    for stage in contract.stages:
        tell(f"exporting {stage}")
        inputs = recordings.get(stage, {})
        encoder = contract.encoder_stages.get(stage)
        if isinstance(encoder, TextModality):
            inputs = _with_sentences(inputs, encoder, model)
        result = export_stage(stage, modules[stage], contract, inputs)
        tell(f"{stage} equals PyTorch within {result.parity.relative:.1e} on {result.parity.rows} recorded inputs")
        graphs.append(result.draft)
    title = name or f"{contract.system}-{contract.variant}"
    files = {key: FileDraft(f"text/{key}.txt", content) for key, content in model.attachments().items()}
    draft = BundleDraft(title, contract, provenance, graphs, files, accuracy=_accuracy(checkpoint))
    return write_bundle(out, draft, overwrite=overwrite)


def export_stage(
    stage: str, module: nn.Module, contract: Contract, recordings: Mapping[str, npt.NDArray[np.generic]]
) -> StageExport:
    """Export one stage, lint it, and compare it with PyTorch. Raises ParityError."""
    inputs, output = contract.stage_inputs(stage), contract.stage_output(stage)
    lengths = contract.lengths(stage)
    graph = graph_from_module(module, inputs, output, lengths)
    check_operators(stage, graph)
    # Pictures and sound are normalised in the graph; word pieces are numbers in a list, with nothing to normalise.
    raw = stage in contract.encoder_stages and not isinstance(contract.encoder_stages[stage], TextModality)
    if raw and not any(scope_of(node) == FRONT_END for node in graph.graph.node):
        raise ParityError(
            f"no part of the graph of stage {stage!r} is marked as its front end",
            expected="a module whose class is named …FrontEnd, so that calibration leaves it in float32",
        )
    content = graph.SerializeToString(deterministic=True)
    parity = measure_parity(stage, module, content, inputs, output, recordings, lengths)
    check_parity(parity)
    return StageExport(GraphDraft(stage, "fp32", content, OPSET, parity_max_abs=parity.max_abs), parity)


def _with_sentences(
    recorded: Mapping[str, npt.NDArray[np.generic]], text: TextModality, model: Any
) -> Mapping[str, npt.NDArray[np.generic]]:
    drawn = random_sentences(text, model.attachments()["vocabulary"].count(b"\n"))
    return {name: np.concatenate([recorded[name], rows]) if recorded else rows for name, rows in drawn.items()}


def _contract_from_model(model: Any) -> Contract:
    try:
        return Contract.model_validate(model.contract())
    except ValidationError as error:
        raise _listed("the model's contract is not valid", error) from None


def _provenance(checkpoint: LoadedCheckpoint) -> Provenance:
    known = {key: value for key, value in checkpoint.provenance.items() if key in Provenance.model_fields}
    versions = {**known.pop("versions", {}), **{name: version(name) for name in ("affectrt", "torch", "onnx")}}
    try:
        return Provenance.model_validate({**known, "checkpoint_sha256": checkpoint.sha256, "versions": versions})
    except ValidationError as error:
        raise _listed("the checkpoint does not say where it comes from", error) from None


def _accuracy(checkpoint: LoadedCheckpoint) -> tuple[Accuracy, ...]:
    """What was measured on the checkpoint itself, each entry naming the backend that it was measured with."""
    try:
        return TypeAdapter(tuple[Accuracy, ...]).validate_python(checkpoint.provenance.get("accuracy", ()))
    except ValidationError as error:
        raise _listed("the checkpoint's accuracy cannot be read", error) from None


def _listed(title: str, error: ValidationError) -> BundleError:
    lines = "\n".join(f"  - {problem}" for problem in problems_from_validation(error))
    return BundleError(f"{title}:\n{lines}")
