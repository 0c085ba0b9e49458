"""The second quantiser: its graphs keep the same rules, front ends included, and are as close to FP32."""

import subprocess
from importlib.util import find_spec

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from doubles.clip_encoder import make_clip_bundle

from affectrt.bundle import Bundle, EngineError, UsageError
from affectrt.calibration.graph import GraphEditor
from affectrt.calibration.lint import qdq_problems
from affectrt.calibration.modelopt import emit_with_modelopt
from affectrt.calibration.scope import is_front_end
from affectrt.calibration.stage import StageSource, emit, layers, prepare_stage

needs_modelopt = pytest.mark.skipif(
    find_spec("modelopt") is None, reason="nvidia-modelopt is not installed: pip install 'affectrt[modelopt]'"
)
ROWS = 8


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_clip_bundle(tmp_path_factory.mktemp("bundle") / "clips.affect")


def feeds_of(bundle: Bundle, stage: str, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    info = bundle.contract.stage_inputs(stage)[0]
    shape = (ROWS, *info.shape)
    if info.dtype == "uint8":
        return {info.name: rng.integers(0, 256, shape, np.uint8)}
    return {info.name: (0.3 * rng.standard_normal(shape)).astype(np.float32)}


def source_of(bundle: Bundle, stage: str) -> StageSource:
    return prepare_stage(bundle, stage, feeds_of(bundle, stage, 0), method="minmax", seed=0)


def run(content: bytes, feeds: dict[str, np.ndarray]) -> np.ndarray:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"]).run(None, feeds)[0]


@needs_modelopt
@pytest.mark.slow
@pytest.mark.parametrize("stage", ["video", "audio"])
@pytest.mark.parametrize("precision", ["int8", "int8-fp16"])
def test_its_graphs_keep_every_rule_and_are_as_close_as_ours(bundle: Bundle, stage: str, precision: str) -> None:
    source, fresh = source_of(bundle, stage), feeds_of(bundle, stage, 1)
    content = emit_with_modelopt(source, feeds_of(bundle, stage, 0), precision)  # type: ignore[arg-type]
    model = onnx.load_from_string(content)
    assert qdq_problems(model) == []
    front = [node.op_type for node in model.graph.node if is_front_end(node)]
    assert front == [n.op_type for n in onnx.load_from_string(source.fp32).graph.node if is_front_end(n)]
    # It leaves out convolutions of few channels, of which the audio encoder has no others.
    assert sum(node.op_type == "QuantizeLinear" for node in model.graph.node) >= (10 if stage == "video" else 1)
    wanted = run(source.fp32, fresh)
    ours = run(emit(source, precision, "tensorrt"), fresh)  # type: ignore[arg-type]
    errors = [np.linalg.norm(found - wanted) / np.linalg.norm(wanted) for found in (run(content, fresh), ours)]
    print(f"{stage} {precision}: modelopt {errors[0]:.4f}, ours {errors[1]:.4f}")
    assert 0 < errors[0] < 2 * errors[1]


@needs_modelopt
@pytest.mark.slow
def test_kept_layers_take_floats_and_weights_are_stored_in_eight_bits(bundle: Bundle) -> None:
    source = source_of(bundle, "video")
    kept = layers(source, "tensorrt")[2]
    content = emit_with_modelopt(source, feeds_of(bundle, "video", 0), "int8", keep={kept})
    graph = GraphEditor(onnx.load_from_string(content))
    producers = graph.producers()
    weights = {node.output[0]: producers.get(node.input[1]) for node in graph.nodes if node.op_type == "Conv"}
    assert weights[kept] is None
    stored = [graph.constant(maker.input[0]).dtype for maker in weights.values() if maker is not None]
    assert len(stored) > 3 and set(stored) == {np.dtype(np.int8)}


def test_what_it_cannot_make_is_told_before_it_is_loaded(bundle: Bundle) -> None:
    source, feeds = source_of(bundle, "audio"), feeds_of(bundle, "audio", 0)
    with pytest.raises(UsageError, match="modelopt for fp16"):
        emit_with_modelopt(source, feeds, "fp16")
    with pytest.raises(UsageError, match="method 'percentile' for modelopt"):
        emit_with_modelopt(source, feeds, "int8", method="percentile")


def test_its_failure_is_told_with_its_last_words(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert command[1:3] == ["-m", "modelopt.onnx.quantization"]
        return subprocess.CompletedProcess(command, 1, "", "Traceback\nValueError: no luck\n")

    monkeypatch.setattr("affectrt.calibration.modelopt.find_spec", lambda _: object())
    monkeypatch.setattr("affectrt.calibration.modelopt.subprocess.run", stop)
    with pytest.raises(EngineError, match="exit code 1 and said: ValueError: no luck"):
        emit_with_modelopt(source_of(bundle, "audio"), feeds_of(bundle, "audio", 0), "int8")


@pytest.mark.skipif(find_spec("modelopt") is not None, reason="nvidia-modelopt is installed")
def test_without_it_the_missing_module_is_named(bundle: Bundle) -> None:
    with pytest.raises(ModuleNotFoundError, match="modelopt"):
        emit_with_modelopt(source_of(bundle, "audio"), feeds_of(bundle, "audio", 0), "int8")
