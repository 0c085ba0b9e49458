"""A real, tiny bundle: audio only, two graphs of one matrix each, so that ONNX Runtime does the work."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from affectrt.bundle import Bundle, BundleDraft, Contract, GraphDraft, Provenance, write_bundle
from affectrt.cli.main import main

SAMPLES, FEATURES, WINDOW = 160, 4, 5
OPSET = 17

CONTRACT = Contract.model_validate(
    {
        "system": "rcma",
        "variant": "tiny",
        "step_hz": 25.0,
        "audio": {
            "input": {"name": "waveform", "dtype": "float32", "shape": [SAMPLES]},
            "feature_dim": FEATURES,
            "sample_rate_hz": 16000,
            "span_samples": SAMPLES,
            "anchor": "start",
        },
        "fusion": {
            "stages": [{"outputs": ["valence", "arousal"]}],
            "window_steps": WINDOW,
            "default_hop_steps": 1,
            "output": "per_step",
            "warm_up_steps": WINDOW,
        },
        "outputs": [{"name": "valence"}, {"name": "arousal"}],
    }
)
PROVENANCE = Provenance(
    checkpoint_sha256="0" * 64,
    recipe="by hand",
    training_corpus="none",
    licence="Apache-2.0",
    intended_use="tests",
)


def graph_of_one_matrix(
    given: str, rows: Sequence[int], out: str, columns: int, *, batch: str | int = "batch", scale: float = 0.1
) -> bytes:
    """ONNX bytes: `out` = tanh(`given` · W), with a leading batch axis."""
    onnx = pytest.importorskip("onnx")
    make = onnx.helper
    weight = np.full((rows[-1], columns), scale, np.float32)
    kind = onnx.TensorProto.FLOAT
    graph = make.make_graph(
        [
            make.make_node("MatMul", [given, "weight"], ["product"]),
            make.make_node("Tanh", ["product"], [out]),
        ],
        "one_matrix",
        [make.make_tensor_value_info(given, kind, [batch, *rows])],
        [make.make_tensor_value_info(out, kind, [batch, *rows[:-1], columns])],
        [onnx.numpy_helper.from_array(weight, "weight")],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", OPSET)], ir_version=8)
    return bytes(model.SerializeToString())


def audio_graph(**changes: object) -> bytes:
    return graph_of_one_matrix("waveform", [SAMPLES], "features", FEATURES, **changes)  # type: ignore[arg-type]


def fusion_graph(**changes: object) -> bytes:
    return graph_of_one_matrix("audio", [WINDOW, FEATURES], "estimates", 2, **changes)  # type: ignore[arg-type]


@pytest.fixture
def write_tiny(tmp_path: Path) -> Callable[..., Bundle]:
    """Writes tiny.affect; `fusion` is the content of its fusion graph, `more` are graphs besides the two."""

    def write(fusion: bytes | None = None, more: Sequence[GraphDraft] = (), **changes: object) -> Bundle:
        graphs = [
            GraphDraft("audio", "fp32", audio_graph(), OPSET, parity_max_abs=1e-6),
            GraphDraft("fusion", "fp32", fusion_graph() if fusion is None else fusion, OPSET),
            *more,
        ]
        draft = BundleDraft("tiny", CONTRACT, PROVENANCE, graphs, **changes)  # type: ignore[arg-type]
        return write_bundle(tmp_path / "tiny.affect", draft)

    return write


class Ran:
    """What one command line did."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    def run_line(*words: object) -> Ran:
        capsys.readouterr()
        code = main([str(word) for word in words])
        told = capsys.readouterr()
        return Ran(code, told.out, told.err)

    return run_line
