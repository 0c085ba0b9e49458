"""A checkpoint becomes a bundle whose graphs compute what PyTorch computes, or nothing at all."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from affectrt.bundle import BundleError, Contract, ParityError, open_bundle
from affectrt.bundle.scopes import BODY, FRONT_END
from affectrt.export import export_bundle
from affectrt.export.cleaning import scope_of
from affectrt.export.graphs import graph_from_module

CROP, DIM, WINDOW = 16, 6, 12


class PixelFrontEnd(nn.Module):
    def forward(self, frames: Tensor) -> Tensor:
        return frames.float().permute(0, 3, 1, 2) / 127.5 - 1.0


class FaceEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pixels = PixelFrontEnd()
        self.norm = nn.BatchNorm2d(3)
        self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.conv_norm = nn.BatchNorm2d(8)
        self.act = nn.PReLU(8)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(8 * CROP * CROP, DIM)

    def forward(self, frames: Tensor) -> Tensor:
        x = self.act(self.conv_norm(self.conv(self.norm(self.pixels(frames)))))
        return self.head(self.dropout(x).flatten(1))


class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.utils.parametrizations.weight_norm(nn.Conv1d(DIM, 8, 3, padding=1))
        self.head = nn.Linear(8, 2)

    def forward(self, video: Tensor) -> Tensor:
        return torch.tanh(self.head(torch.relu(self.conv(video.transpose(1, 2))).transpose(1, 2)))


class TinyModel:
    """Has what the exporter asks of a model, in a size that exports in a second."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.face, self.mixer = FaceEncoder(), Mixer()
        for norm in (self.face.norm, self.face.conv_norm):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias)
            nn.init.uniform_(norm.running_var, 0.5, 2.0)

    def contract(self) -> dict[str, object]:
        frames = {"name": "frames", "dtype": "uint8", "shape": [CROP, CROP, 3]}
        return {
            "system": "tiny",
            "variant": "test",
            "step_hz": 25.0,
            "video": {"input": frames, "feature_dim": DIM, "resize_px": CROP, "crop_px": CROP},
            "fusion": {
                "stages": [{"outputs": ["valence", "arousal"]}],
                "window_steps": WINDOW,
                "default_hop_steps": 4,
                "output": "per_step",
                "warm_up_steps": WINDOW,
            },
            "outputs": [{"name": "valence"}, {"name": "arousal"}],
        }

    def stage_modules(self) -> dict[str, nn.Module]:
        return {"video": self.face, "fusion": self.mixer}

    def attachments(self) -> dict[str, bytes]:
        return {}


@dataclass
class Checkpoint:
    model: Any = field(default_factory=TinyModel)
    sha256: str = "ab" * 32
    provenance: dict[str, Any] = field(
        default_factory=lambda: {
            "recipe": "none",
            "training_corpus": "random weights",
            "seed": 0,
            "licence": "CC0-1.0",
            "intended_use": "tests",
            "epochs": 3,
        }
    )


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def recordings() -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return {
        "video": {"frames": rng.integers(0, 256, (20, CROP, CROP, 3), dtype=np.uint8)},
        "fusion": {"video": rng.standard_normal((3, WINDOW, DIM)).astype(np.float32)},
    }


def test_every_stage_computes_what_pytorch_computes(tmp_path: Path, recordings: Any) -> None:
    checkpoint = Checkpoint()
    told: list[str] = []
    bundle = export_bundle(checkpoint, tmp_path / "x.affect", recordings=recordings, progress=told.append)
    assert bundle.manifest.name == "tiny-test"
    assert bundle.manifest.provenance.checkpoint_sha256 == checkpoint.sha256
    assert bundle.manifest.provenance.versions.keys() == {"affectrt", "torch", "onnx"}
    assert len(told) == 4
    for stage, module in checkpoint.model.stage_modules().items():
        graph = bundle.graph_for(stage, "fp32")
        assert graph.parity_max_abs is not None and graph.parity_max_abs < 1e-5
        session = ort.InferenceSession(bundle.read(graph), providers=["CPUExecutionProvider"])
        for rows in (1, 3):  # the batch is free
            feeds = {name: array[:rows] for name, array in recordings[stage].items()}
            wanted = module.eval()(*(torch.from_numpy(a) for a in feeds.values())).detach().numpy()
            np.testing.assert_allclose(session.run(None, feeds)[0], wanted, atol=1e-5)


def test_exporting_twice_gives_the_same_bytes_and_replaces_on_request_alone(tmp_path: Path, recordings: Any) -> None:
    bundles = [export_bundle(Checkpoint(), tmp_path / name, recordings=recordings) for name in ("a", "b")]
    assert bundles[0].fingerprint == bundles[1].fingerprint
    with pytest.raises(BundleError, match="exists already"):  # told before anything is exported
        export_bundle(Checkpoint(model=None), tmp_path / "a", recordings=recordings)
    export_bundle(Checkpoint(), tmp_path / "a", recordings=recordings, name="second", overwrite=True)
    assert open_bundle(tmp_path / "a").manifest.name == "second"


def test_a_graph_tells_nothing_of_the_machine_and_everything_to_quantisation() -> None:
    model = TinyModel()
    contract = Contract.model_validate(model.contract())
    graph = graph_from_module(model.face, contract.stage_inputs("video"), contract.stage_output("video"))
    content = graph.SerializeToString()
    for trace in (b".py", str(Path(__file__).parent).encode(), b"stack_trace", b"aten"):
        assert trace not in content
    assert [(i.domain, i.version) for i in graph.opset_import] == [("", 20)]
    scopes = {node.name: scope_of(node) for node in graph.graph.node}
    assert scopes["pixels/Cast_0"] == FRONT_END
    assert {scope for name, scope in scopes.items() if not name.startswith("pixels/")} == {BODY}
    assert {node.op_type for node in graph.graph.node} >= {"Cast", "Conv", "PRelu", "Gemm"}
    assert graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert graph.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert not model.face.dropout.training or "Dropout" not in {n.op_type for n in graph.graph.node}


class Trapped(FaceEncoder):
    """Computes one thing while it is traced and another when it is asked."""

    def forward(self, frames: Tensor) -> Tensor:
        y = super().forward(frames)
        return y * 1.01 if torch.compiler.is_compiling() else y


def test_a_graph_that_computes_something_else_is_refused_and_leaves_nothing(tmp_path: Path, recordings: Any) -> None:
    checkpoint = Checkpoint()
    trapped = Trapped()
    trapped.load_state_dict(checkpoint.model.face.state_dict())
    checkpoint.model.face = trapped
    with pytest.raises(ParityError, match=r"(?s)stage 'video'.*differs from PyTorch by .* at row \d+ of 20"):
        export_bundle(checkpoint, tmp_path / "x.affect", recordings=recordings)
    assert list(tmp_path.iterdir()) == []


def test_a_model_whose_contract_lies_is_refused(tmp_path: Path, recordings: Any) -> None:
    checkpoint = Checkpoint()
    checkpoint.model.face.head = nn.Linear(8 * CROP * CROP, DIM + 1)
    with pytest.raises(ParityError, match=r"shape \(7,\)"):
        export_bundle(checkpoint, tmp_path / "x.affect", recordings=recordings)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["missing", "dtype", "empty"])
def test_recordings_that_do_not_fit_are_refused(tmp_path: Path, recordings: Any, what: str) -> None:
    frames = recordings["video"]["frames"]
    wrong = {
        "missing": {},
        "dtype": {"frames": frames.astype(np.float32)},
        "empty": {"frames": frames[:0]},
    }[what]
    with pytest.raises(ParityError, match="recordings"):
        export_bundle(Checkpoint(), tmp_path / "x.affect", recordings={**recordings, "video": wrong})


def test_an_encoder_without_a_front_end_is_refused(tmp_path: Path, recordings: Any) -> None:
    class Pixels(PixelFrontEnd):
        pass

    checkpoint = Checkpoint()
    checkpoint.model.face.pixels = Pixels()
    with pytest.raises(ParityError, match="marked as its front end"):
        export_bundle(checkpoint, tmp_path / "x.affect", recordings=recordings)


def test_weights_of_unknown_origin_are_not_exported(tmp_path: Path, recordings: Any) -> None:
    checkpoint = Checkpoint(provenance={"recipe": "none", "training_corpus": "?"})
    with pytest.raises(BundleError, match=r"(?s)intended_use: is missing.*licence: is missing"):
        export_bundle(checkpoint, tmp_path / "x.affect", recordings=recordings)
