"""A valid bundle of three or four graphs of a few operators each, made without torch.

Video features are the mean colour of the crop in [0, 1], audio features the loudness (root mean square) and the mean
of the span, and the fusion is tanh of a linear map of both: bright frames raise valence, loud sound raises arousal,
and no step sees another. Text, where it is asked for, takes sentences of several lengths: a word's vector is the mean
of its pieces' rows of a table, plus the mean of all pieces of the sentence; padding changes nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from affectrt.bundle.contract import TEXT_INPUTS, Contract
from affectrt.bundle.manifest import Provenance
from affectrt.bundle.store import Bundle
from affectrt.bundle.writer import BundleDraft, FileDraft, GraphDraft, write_bundle

__all__ = ["VOCABULARY", "make_tiny_bundle", "tiny_contract"]

OPSET = 18
VIDEO_DIM, AUDIO_DIM, TEXT_DIM = 3, 2, 4
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "well", "known", "very", "##ly", "-", "'", ".", "!")


def tiny_contract(
    *,
    video: bool = True,
    audio: bool = True,
    text_lengths: tuple[int, ...] = (),
    step_hz: float = 25.0,
    window_steps: int = 10,
    hop_steps: int = 5,
    crop_px: int = 16,
    span_samples: int = 1600,
    sample_rate_hz: int = 16_000,
) -> Contract:
    """The contract of the tiny bundle; its audio span starts at the step, as RCMA's does. With `text_lengths`: text."""
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
    if text_lengths:
        modalities["text"] = {"stage": "text", "feature_dim": TEXT_DIM, "token_lengths": text_lengths}
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
    text_lengths: tuple[int, ...] = (),
    step_hz: float = 25.0,
    window_steps: int = 10,
    hop_steps: int = 5,
    contract: Contract | None = None,
    overwrite: bool = False,
) -> Bundle:
    """Write the bundle to `path` (NAME.affect) and open it; a `contract` has 3 video, 2 audio and 4 text features."""
    contract = contract or tiny_contract(
        video=video,
        audio=audio,
        text_lengths=text_lengths,
        step_hz=step_hz,
        window_steps=window_steps,
        hop_steps=hop_steps,
    )
    graphs = {"fusion": _fusion_graph(contract)}
    if contract.video is not None:
        graphs["video"] = _video_graph(contract)
    if contract.audio is not None:
        graphs["audio"] = _audio_graph(contract)
    spoken = contract.text is not None and contract.text.stage is not None
    if spoken:
        graphs["text"] = _text_graph()
    vocabulary = "\n".join((*VOCABULARY, "")).encode()
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
        attachments={"vocabulary": FileDraft("text/vocabulary.txt", vocabulary)} if spoken else {},
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


def _text_graph() -> onnx.ModelProto:
    """token_ids, mask, word_index [batch, tokens] → features [batch, tokens, 4]: row n − 1 is word n's vector."""
    table = np.random.default_rng(5).standard_normal((len(VOCABULARY), TEXT_DIM)).astype(np.float32)
    constants = {
        "table": table,
        "least": np.array(1, np.float32),
        "nothing": np.array(0, np.int64),
        "one": np.array(1, np.int64),
        "middle": np.array([1], np.int64),
        "last": np.array([2], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "token_ids"], ["pieces"], name="embedding"),
        node("Cast", ["mask"], ["there"], to=TensorProto.FLOAT, name="mask_cast"),
        node("Unsqueeze", ["there", "last"], ["there_column"]),
        node("Mul", ["pieces", "there_column"], ["heard"]),
        node("ReduceSum", ["heard", "middle"], ["sum"], keepdims=1),
        node("ReduceSum", ["there_column", "middle"], ["count"], keepdims=1),
        node("Max", ["count", "least"], ["least_count"]),
        node("Div", ["sum", "least_count"], ["sentence"]),
        node("Add", ["pieces", "sentence"], ["told"]),
        # which piece belongs to which word, as long as the sentence is
        node("Shape", ["token_ids"], ["sizes"]),
        node("Gather", ["sizes", "one"], ["length"]),
        node("Range", ["nothing", "length", "one"], ["from_zero"]),
        node("Add", ["from_zero", "one"], ["numbers"]),
        node("Unsqueeze", ["numbers", "middle"], ["slots"]),
        node("Unsqueeze", ["word_index", "middle"], ["owners"]),
        node("Equal", ["owners", "slots"], ["is_of_word"]),
        node("Cast", ["is_of_word"], ["belongs"], to=TensorProto.FLOAT),
        node("ReduceSum", ["belongs", "last"], ["pieces_of_word"], keepdims=1),
        node("Max", ["pieces_of_word", "least"], ["least_pieces"]),
        node("Div", ["belongs", "least_pieces"], ["share"]),
        node("MatMul", ["share", "told"], ["features"], name="words"),
    ]
    inputs = dict.fromkeys(TEXT_INPUTS, (TensorProto.INT64, ("tokens",)))
    return _model("text", nodes, constants, inputs, "features", ("tokens", TEXT_DIM))


def _fusion_graph(contract: Contract) -> onnx.ModelProto:
    """tanh(Σ features · weights + bias), step by step, or of their mean over the window."""
    weights = {
        "video": np.array([[1.0, 0.0], [0.5, 0.0], [0.25, 0.1]], np.float32),
        "audio": np.array([[0.0, 2.0], [0.0, 0.5]], np.float32),
        "text": np.array([[0.5, 0.0], [0.0, 0.5], [0.25, 0.0], [0.0, -0.25]], np.float32),
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
    inputs: dict[str, tuple[int, tuple[int | str, ...]]],
    output: str,
    output_shape: tuple[int | str, ...],
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
