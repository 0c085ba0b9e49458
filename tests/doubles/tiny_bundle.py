"""A valid bundle of three graphs of a few operators each, made without torch.

Video features are the mean colour of the crop in [0, 1], audio features the loudness (root mean square) and the mean
of the span, and the fusion is tanh of a linear map of both: bright frames raise valence, loud sound raises arousal,
and no step sees another.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from affectrt.bundle.contract import Contract
from affectrt.bundle.manifest import Provenance
from affectrt.bundle.store import Bundle
from affectrt.bundle.writer import BundleDraft, GraphDraft, write_bundle

__all__ = ["make_tiny_bundle", "tiny_contract"]

OPSET = 18
VIDEO_DIM, AUDIO_DIM = 3, 2


def tiny_contract(
    *,
    video: bool = True,
    audio: bool = True,
    step_hz: float = 25.0,
    window_steps: int = 10,
    hop_steps: int = 5,
    crop_px: int = 16,
    span_samples: int = 1600,
    sample_rate_hz: int = 16_000,
) -> Contract:
    """The contract of the tiny bundle; its audio span starts at the step, as RCMA's does."""
    modalities: dict[str, object] = {}
    if video:
        modalities["video"] = {
            "input": {"name": "frames", "dtype": "uint8", "shape": (crop_px, crop_px, 3)},
            "feature_dim": VIDEO_DIM,
            "resize_px": crop_px + 4,
            "crop_px": crop_px,
        }
    if audio:
        modalities["audio"] = {
            "input": {"name": "waveform", "dtype": "float32", "shape": (span_samples,)},
            "feature_dim": AUDIO_DIM,
            "sample_rate_hz": sample_rate_hz,
            "span_samples": span_samples,
            "anchor": "start",
        }
    return Contract.model_validate(
        {
            "system": "tiny",
            "variant": "+".join(modalities),
            "step_hz": step_hz,
            **modalities,
            "fusion": {
                "stages": ({"outputs": ("valence", "arousal")},),
                "window_steps": window_steps,
                "default_hop_steps": hop_steps,
                "output": "per_step",
                "warm_up_steps": 0,
            },
            "outputs": ({"name": "valence"}, {"name": "arousal"}),
        }
    )


def make_tiny_bundle(
    path: str | Path,
    *,
    video: bool = True,
    audio: bool = True,
    step_hz: float = 25.0,
    window_steps: int = 10,
    hop_steps: int = 5,
    contract: Contract | None = None,
    overwrite: bool = False,
) -> Bundle:
    """Write the bundle to `path` (NAME.affect) and open it; of any `contract` with 3 video and 2 audio features."""
    contract = contract or tiny_contract(
        video=video, audio=audio, step_hz=step_hz, window_steps=window_steps, hop_steps=hop_steps
    )
    graphs = {"fusion": _fusion_graph(contract)}
    if contract.video is not None:
        graphs["video"] = _video_graph(contract)
    if contract.audio is not None:
        graphs["audio"] = _audio_graph(contract)
    draft = BundleDraft(
        name="tiny",
        contract=contract,
        provenance=Provenance(
            checkpoint_sha256="0" * 64,
            recipe="none",
            training_corpus="none",
            licence="Apache-2.0",
            intended_use="tests of the runtime",
        ),
        graphs=[
            GraphDraft(stage=stage, precision="fp32", content=graph.SerializeToString(), opset=OPSET)
            for stage, graph in graphs.items()
        ],
    )
    return write_bundle(path, draft, overwrite=overwrite)


def _video_graph(contract: Contract) -> onnx.ModelProto:
    video = contract.video
    assert video is not None
    nodes = [
        helper.make_node("Cast", ["frames"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "plane"], ["colour"], keepdims=0),
        helper.make_node("Mul", ["colour", "scale"], ["features"]),
    ]
    constants = {
        "plane": np.arange(1, len(video.input.shape), dtype=np.int64),
        "scale": np.array(1 / 255, np.float32),
    }
    return _model("video", nodes, constants, {"frames": (TensorProto.UINT8, video.input.shape)}, "features", (3,))


def _audio_graph(contract: Contract) -> onnx.ModelProto:
    audio = contract.audio
    assert audio is not None
    nodes = [
        helper.make_node("Mul", ["waveform", "waveform"], ["power"]),
        helper.make_node("ReduceMean", ["power", "time"], ["mean_power"], keepdims=1),
        helper.make_node("Sqrt", ["mean_power"], ["loudness"]),
        helper.make_node("ReduceMean", ["waveform", "time"], ["mean"], keepdims=1),
        helper.make_node("Concat", ["loudness", "mean"], ["features"], axis=1),
    ]
    constants = {"time": np.array([1], np.int64)}
    inputs = {"waveform": (TensorProto.FLOAT, audio.input.shape)}
    return _model("audio", nodes, constants, inputs, "features", (AUDIO_DIM,))


def _fusion_graph(contract: Contract) -> onnx.ModelProto:
    """tanh(Σ features · weights + bias), step by step, or of their mean over the window."""
    weights = {
        "video": np.array([[1.0, 0.0], [0.5, 0.0], [0.25, 0.1]], np.float32),
        "audio": np.array([[0.0, 2.0], [0.0, 0.5]], np.float32),
    }
    nodes, constants, inputs, total = [], {"bias": np.array([-0.5, -0.25], np.float32)}, {}, "bias"
    steps = contract.fusion.window_steps
    for name, modality in contract.modalities.items():
        constants[f"{name}_weights"] = weights[name]
        inputs[name] = (TensorProto.FLOAT, (steps, modality.feature_dim))
        nodes.append(helper.make_node("MatMul", [name, f"{name}_weights"], [f"{name}_part"]))
        nodes.append(helper.make_node("Add", [f"{name}_part", total], [f"{name}_total"]))
        total = f"{name}_total"
    if contract.fusion.output == "per_window":
        constants["time"] = np.array([1], np.int64)
        nodes.append(helper.make_node("ReduceMean", [total, "time"], ["mean"], keepdims=0))
        total = "mean"
    nodes.append(helper.make_node("Tanh", [total], ["estimates"]))
    return _model("fusion", nodes, constants, inputs, "estimates", contract.stage_output("fusion").shape)


def _model(
    name: str,
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    inputs: dict[str, tuple[int, tuple[int, ...]]],
    output: str,
    output_shape: tuple[int, ...],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(n, kind, ["batch", *shape]) for n, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", *output_shape])],
        [numpy_helper.from_array(value, n) for n, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(model)
    return model
