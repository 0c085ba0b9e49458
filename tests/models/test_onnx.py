"""Every stage becomes an ONNX graph that agrees with torch at other batch sizes than the traced one."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from affectrt.models import Rcma, RcmaFusion, demo_config
from affectrt.models.attention import FORMS, AttentionForm

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def agree(module: nn.Module, names: list[str], batches: list[tuple[Tensor, ...]], tolerance: float) -> set[str]:
    """Export with the first batch, compare on all; the operators of the graph."""
    module.eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            batches[0],
            dynamo=True,
            opset_version=20,
            input_names=names,
            output_names=["out"],
            dynamic_shapes=tuple({0: batch} for _ in names),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    assert {(o.domain, o.version) for o in model.opset_import} == {("", 20)}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for inputs in batches:
        found = session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})[0]
        with torch.no_grad():
            wanted = module(*inputs).numpy()
        assert np.abs(wanted).max() > 1e-2, "a network that answers 0 proves nothing"
        assert np.abs(found - wanted).max() <= tolerance
    return {node.op_type for node in model.graph.node}


def settled(config_seed: int = 0) -> Rcma:
    """The demo network with batch norms that are not the identity."""
    torch.manual_seed(config_seed)
    model = Rcma(demo_config())
    for part in model.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            part.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return model


def test_video_encoder() -> None:
    crops = [(torch.randint(0, 256, (n, 40, 40, 3), dtype=torch.uint8),) for n in (2, 1, 5)]
    operators = agree(settled().stage_modules()["video"], ["frames"], crops, 1e-5)
    assert "PRelu" in operators


def test_audio_encoder() -> None:
    random = torch.Generator().manual_seed(1)
    spans = [(torch.randn(n, 15_600, generator=random) * 0.1,) for n in (2, 1, 5)]
    spans.append((torch.zeros(1, 15_600),))
    operators = agree(settled().stage_modules()["audio"], ["waveform"], spans, 1e-5)
    assert not operators & {"STFT", "DFT", "Loop", "If"}


def test_fusion() -> None:
    random = torch.Generator().manual_seed(2)
    windows = [
        (torch.randn(n, 300, 48, generator=random), torch.randn(n, 300, 32, generator=random)) for n in (2, 1, 3)
    ]
    windows.append((torch.zeros(1, 300, 48), windows[1][1]))
    operators = agree(settled().fusion, ["video", "audio"], windows, 1e-5)
    assert not operators & {"ReduceL2", "Sqrt", "Div"}, "weight norms are constants and fold away"


@pytest.mark.parametrize("form", [form for form in FORMS if form != demo_config().attention])
def test_fusion_of_three_modalities_in_the_other_forms(form: AttentionForm) -> None:
    torch.manual_seed(3)
    config = replace(
        demo_config(),
        modalities=("video", "audio", "text"),
        window_steps=20,
        video_dim=6,
        audio_dim=5,
        text_dim=7,
        video_tcn=(8,),
        audio_tcn=(6,),
        text_tcn=(4,),
        attention=form,
        head="linear",
        attention_layers=1,
    )
    windows = [tuple(torch.randn(n, 20, dim) for dim in (6, 5, 7)) for n in (2, 1, 4)]
    agree(RcmaFusion(config), ["video", "audio", "text"], windows, 1e-5)
