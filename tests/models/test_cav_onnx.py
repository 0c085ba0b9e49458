"""CAV's stages as the exporter writes them: equal to torch at every batch size, in operators that TensorRT takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from affectrt.bundle import Contract
from affectrt.models import Cav, CavConfig, cav_demo_config, cav_paper_config

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from affectrt.export import operator_problems  # noqa: E402
from affectrt.export.cleaning import FRONT_END, scope_of  # noqa: E402
from affectrt.export.graphs import graph_from_module  # noqa: E402

BATCHES = (1, 2, 5)


def settled(config: CavConfig) -> Cav:
    """The network with batch norms that are not the identity."""
    torch.manual_seed(0)
    model = Cav(config).eval()
    for part in model.modules():
        if isinstance(part, (nn.BatchNorm2d, nn.BatchNorm3d)):
            part.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return model


def inputs(contract: Contract, stage: str, batch: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(batch)
    made = {}
    for info in contract.stage_inputs(stage):
        shape = (batch, *info.shape)
        if info.dtype == "uint8":
            made[info.name] = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        else:
            made[info.name] = torch.randn(shape, generator=generator) * 0.1
    return made


def export(model: Cav, stage: str, batches: tuple[int, ...]) -> onnx.ModelProto:
    """The stage's graph, after it was found equal to torch."""
    contract = Contract.model_validate(model.contract())
    module = model.stage_modules()[stage]
    graph = graph_from_module(module, contract.stage_inputs(stage), contract.stage_output(stage))
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch in batches:
        feeds = inputs(contract, stage, batch)
        found = session.run(None, {name: tensor.numpy() for name, tensor in feeds.items()})[0]
        with torch.inference_mode():
            wanted = module(*feeds.values()).numpy()
        scale = np.abs(wanted).max()
        assert scale > 1e-2, "a network that answers 0 proves nothing"
        assert np.abs(found - wanted).max() <= 1e-4 * min(scale, 1.0)
    assert operator_problems(graph) == []
    return graph


def operators(graph: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in graph.graph.node]


def test_clips_are_padded_inside_convolutions_and_pools() -> None:
    graph = export(settled(cav_demo_config()), "video", BATCHES)
    found = operators(graph)
    assert (found.count("Conv"), found.count("MaxPool"), found.count("Pad")) == (57, 13, 0)
    assert "BatchNormalization" not in found
    pads = {
        node.name: list(attribute.ints)
        for node in graph.graph.node
        if node.op_type == "Conv"
        for attribute in node.attribute
        if attribute.name == "pads"
    }
    assert [entry for entry in pads.values() if entry[:3] != entry[3:]] == [[2, 2, 2, 3, 3, 3]]
    front_end = [node.op_type for node in graph.graph.node if scope_of(node) == FRONT_END]
    assert front_end[0] == "Cast"
    assert set(front_end) == {"Cast", "Transpose", "Div", "Sub"}


@pytest.mark.slow
def test_odd_pictures_are_padded_inside_too() -> None:
    config = replace(cav_demo_config(), resize_px=47, crop_px=45, modalities=("video",), fusion="concatenation")
    assert "Pad" not in operators(export(settled(config), "video", (1, 3)))


def test_spectrogram_needs_no_fourier_transform() -> None:
    model = settled(cav_demo_config())
    graph = export(model, "audio", BATCHES)
    found = operators(graph)
    assert not {"STFT", "DFT", "If", "Loop"} & set(found)
    front_end = [node for node in graph.graph.node if scope_of(node) == FRONT_END]
    (pad,) = (node for node in graph.graph.node if node.op_type == "Pad")
    assert pad in front_end
    assert [(attribute.name, attribute.s) for attribute in pad.attribute] == [("mode", b"reflect")]
    assert [node.op_type for node in front_end].count("Conv") == 1
    assert found.count("Conv") == 6


def test_silence_is_minus_one_in_the_graph_too() -> None:
    model = settled(cav_demo_config())
    front_end = model.encoders["audio"].front_end
    contract = Contract.model_validate(model.contract())
    output = contract.stage_output("audio").model_copy(update={"shape": (128, 65)})
    graph = graph_from_module(front_end, contract.stage_inputs("audio"), output)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.all(session.run(None, {"waveform": np.zeros((3, 10_240), np.float32)})[0] == -1)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"softmax_axis": "row", "residual_tanh": True, "combine": "concatenation", "temperature": 0.1},
        {"fusion": "concatenation"},
        {"fusion": "scores"},
        {"fusion": "scores", "modalities": ("audio",)},
        {"fusion_networks": "per_output"},
    ],
    ids=lambda changes: ", ".join(map(str, changes.values())) or "released",
)
def test_every_fusion_exports(changes: dict[str, object]) -> None:
    model = settled(replace(cav_demo_config(), **changes))  # type: ignore[arg-type]
    for stage in model.fusion_modules():
        assert not {"Shape", "Expand", "If", "Loop"} & set(operators(export(model, stage, BATCHES)))


@pytest.mark.slow
def test_paper_size_exports() -> None:
    """1.4 GB of memory and a minute or two."""
    model = settled(cav_paper_config())
    for stage in ("video", "audio", "fusion"):
        export(model, stage, (1,) if stage == "video" else BATCHES)
