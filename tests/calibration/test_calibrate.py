"""INT8 graphs: close to FP32, from one set of ranges, by TensorRT's rules, in the bundle whole or not at all."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from doubles.residual_bundle import CROP, make_residual_bundle
from onnx import numpy_helper

from affectrt.bundle import Bundle, BundleError, MediaError, ParityError, UsageError, open_bundle
from affectrt.calibration import Method, calibrate_bundle, calibrate_stage
from affectrt.calibration import stage as stages
from affectrt.calibration.graph import GraphEditor
from affectrt.calibration.scope import is_front_end
from affectrt.calibration.windows import record_windows, source_windows
from affectrt.runtime.sources import MemorySource

# Random weights whose channels differ tenfold in size are harder than trained ones: measured 1 to 6 %.
MAX_RELATIVE_ERROR = 0.08


def structured_frames(rows: int, seed: int) -> np.ndarray:
    """Smooth pictures: noise on every pixel would flatter no range and look like no face."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:CROP, 0:CROP] / CROP
    waves = rng.uniform(0, 6, (rows, 3, 3))
    frames = [[np.sin(a * x + b * y + c) for a, b, c in colours] for colours in waves]
    return np.round((np.moveaxis(np.array(frames), 1, -1) + 1) * 127.5).astype(np.uint8)


def tones(rows: int, span: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time = np.arange(span) / 16_000
    loud, pitch = rng.uniform(0.05, 0.5, (rows, 1)), rng.uniform(80, 2000, (rows, 1))
    return (loud * np.sin(2 * np.pi * pitch * time)).astype(np.float32)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_residual_bundle(tmp_path_factory.mktemp("bundle") / "residual.affect")


def recorded(bundle: Bundle, stage: str, rows: int = 24, seed: int = 0) -> dict[str, np.ndarray]:
    if stage == "video":
        return {"frames": structured_frames(rows, seed)}
    assert bundle.contract.audio is not None
    return {"waveform": tones(rows, bundle.contract.audio.span_samples, seed)}


def run(graph: bytes, feeds: dict[str, np.ndarray]) -> np.ndarray:
    return ort.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, feeds)[0]


def activation_scales(graph: bytes) -> dict[str, tuple[float, int]]:
    editor = GraphEditor(onnx.load_from_string(graph))
    return {
        node.input[0]: (float(editor.constant(node.input[1])), int(editor.constant(node.input[2])))
        for node in editor.nodes
        if node.op_type == "QuantizeLinear"
    }


@pytest.mark.parametrize("stage", ["video", "audio"])
@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_int8_stays_close_to_fp32_on_inputs_not_seen_before(bundle: Bundle, stage: str, method: Method) -> None:
    made = calibrate_stage(bundle, stage, recorded(bundle, stage), method=method, seed=0)
    assert made is not None
    fresh = recorded(bundle, stage, rows=16, seed=99)
    wanted = run(bundle.read(bundle.graph_for(stage, "fp32")), fresh)
    for draft in made.graphs:
        assert isinstance(draft.content, bytes)
        error = np.linalg.norm(run(draft.content, fresh) - wanted) / np.linalg.norm(wanted)
        # Entropy clips on purpose; on a few smooth inputs it clips too much.
        assert 0 < error < (0.3 if method == "entropy" else MAX_RELATIVE_ERROR), (draft.target, error)


@pytest.mark.parametrize("stage", ["video", "audio"])
def test_both_targets_take_their_scales_from_the_same_ranges(bundle: Bundle, stage: str) -> None:
    made = calibrate_stage(bundle, stage, recorded(bundle, stage), method="minmax", seed=0)
    assert made is not None
    by_target = {draft.target: activation_scales(draft.content) for draft in made.graphs}  # type: ignore[arg-type]
    ranges = json.loads(made.ranges.as_json())["tensors"]
    assert by_target["tensorrt"].keys() <= ranges.keys() and by_target["cpu"]
    for name, (scale, zero) in by_target["tensorrt"].items():
        assert zero == 0
        assert scale == pytest.approx(max(abs(bound) for bound in ranges[name]) / 127, rel=1e-6)
    pooled = {name for name in by_target["cpu"] if name.startswith("maxpool")}  # these take their input's range
    shared = (by_target["cpu"].keys() & by_target["tensorrt"].keys()) - pooled
    assert len(shared) >= 2  # the head, which takes one more, is for the cpu alone
    for name in shared:
        scale, zero = by_target["cpu"][name]
        low, high = min(ranges[name][0], 0), max(ranges[name][1], 0)
        assert scale == pytest.approx((high - low) / 255, rel=1e-6)
        assert abs(zero + low / scale) <= 0.51


def test_front_ends_and_biases_stay_fp32_for_tensorrt(bundle: Bundle) -> None:
    made = calibrate_stage(bundle, "video", recorded(bundle, "video"), method="minmax", seed=0)
    assert made is not None
    for draft in made.graphs:
        model = onnx.load_from_string(draft.content)  # type: ignore[arg-type]
        front = [node for node in model.graph.node if is_front_end(node)]
        assert [node.op_type for node in front] == ["Cast", "Transpose", "Div", "Sub"]
        assert not any(name.endswith(":dq") for node in front for name in node.input)
        dtypes = {numpy_helper.to_array(tensor).dtype.name for tensor in model.graph.initializer}
        assert dtypes == ({"float32", "int8"} if draft.target == "tensorrt" else {"float32", "int8", "uint8", "int32"})
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)]


def test_onnx_runtime_really_computes_in_integers(bundle: Bundle, tmp_path: Path) -> None:
    made = calibrate_stage(bundle, "video", recorded(bundle, "video"), method="minmax", seed=0)
    assert made is not None
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    content = next(draft.content for draft in made.graphs if draft.target == "cpu")
    ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    done = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert "Conv" not in done and "Gemm" not in done and "PRelu" not in done
    # nine convolutions and one strided shortcut
    assert done.count("QLinearConv") == 10 and done.count("QGemm") == 1


def test_the_same_inputs_give_the_same_bytes(bundle: Bundle) -> None:
    twice = [calibrate_stage(bundle, "audio", recorded(bundle, "audio"), method="minmax", seed=0) for _ in range(2)]
    contents = [[draft.content for draft in made.graphs] for made in twice if made is not None]
    assert len(contents) == 2 and contents[0] == contents[1]


def memory_source(seconds: float = 2.0) -> MemorySource:
    count = int(seconds * 25)
    frames = np.repeat(np.repeat(structured_frames(count, 3), 2, axis=1), 2, axis=2)
    return MemorySource.from_arrays(
        frames=list(frames), pts_s=np.arange(count) / 25, samples=tones(1, int(16_000 * seconds), 4)[0]
    )


def test_windows_are_what_a_session_asks_for_and_the_seed_decides_which(bundle: Bundle) -> None:
    def rows(seed: int, count: int = 10) -> dict[str, np.ndarray]:
        with memory_source() as source:
            found = source_windows(bundle.contract, source, rows=dict.fromkeys(("video", "audio"), count), seed=(seed,))
        return {stage: np.stack([next(iter(row.values())) for row in made]) for stage, made in found.items()}

    first, again, other, every = rows(0), rows(0), rows(1), rows(0, count=1000)
    assert first["video"].shape == (10, CROP, CROP, 3) and first["video"].dtype == np.uint8
    assert first["audio"].shape == (10, 1600) and first["audio"].dtype == np.float32
    assert len(every["video"]) == len(every["audio"]) == 50
    for stage in ("video", "audio"):
        np.testing.assert_array_equal(first[stage], again[stage])
        assert not np.array_equal(first[stage], other[stage])
        assert all(any(np.array_equal(row, each) for each in every[stage]) for row in first[stage])


class Files:
    """Stands for `open_source`: every path gives the same two seconds; `silent` ones have no sound."""

    def __call__(self, path: str, _contract: object) -> MemorySource:
        if "silent" in path:
            return MemorySource.from_arrays(frames=list(structured_frames(10, 5)), pts_s=np.arange(10) / 25)
        return memory_source()


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("affectrt.calibration.windows.open_source", Files())


@pytest.mark.usefixtures("files")
def test_every_file_gives_its_share(bundle: Bundle) -> None:
    told: list[str] = []
    media = [Path(f"{i}.mp4") for i in range(3)]
    found = record_windows(bundle.contract, media, per_stage=10, seed=0, progress=told.append)
    assert len(found["video"]["frames"]) == len(found["audio"]["waveform"]) == 10
    assert told == [
        "0.mp4: 4 video, 4 audio",
        "1.mp4: 3 video, 3 audio",
        "2.mp4: 3 video, 3 audio",
    ]


@pytest.mark.usefixtures("files")
def test_of_many_files_a_few_are_read_evenly_spread(bundle: Bundle) -> None:
    told: list[str] = []
    media = [Path(f"{i}.mp4") for i in range(100)]
    found = record_windows(bundle.contract, media, per_stage=4, seed=0, progress=told.append)
    assert told == [f"{i}.mp4: 1 video, 1 audio" for i in (0, 25, 50, 75)]
    assert len(found["video"]["frames"]) == 4


@pytest.mark.usefixtures("files")
def test_media_without_a_modality_is_refused(bundle: Bundle) -> None:
    with pytest.raises(MediaError, match="no input for stage audio in 1 file"):
        record_windows(bundle.contract, [Path("silent.mp4")], per_stage=4, seed=0)


@pytest.mark.usefixtures("files")
def test_a_calibrated_bundle_has_int8_for_both_targets_and_an_fp32_fusion(bundle: Bundle, tmp_path: Path) -> None:
    made = calibrate_bundle(bundle.path, [Path("a.mp4")], windows=16, out=tmp_path / "int8.affect")
    assert made.precisions() == ("fp32", "int8")
    assert made.plan("int8") == {"video": "int8", "audio": "int8", "fusion": "fp32"}
    for stage in ("video", "audio"):
        cpu, tensorrt = made.graph_for(stage, "int8", "cpu"), made.graph_for(stage, "int8", "tensorrt")
        assert cpu.file != tensorrt.file
        assert "minmax ranges of 16 recorded inputs" in cpu.note
        attached = json.loads(made.read(made.manifest.attachments[f"ranges_{stage}"]))
        assert attached["stage"] == stage and attached["rows"] == 16 and attached["tensors"]
    assert made.graph_for("fusion", "int8").precision == "fp32"
    assert open_bundle(bundle.path).precisions() == ("fp32",)  # --out leaves the original alone


@pytest.mark.usefixtures("files")
def test_graphs_for_tensorrt_that_are_refused_are_not_written(bundle: Bundle, tmp_path: Path) -> None:
    shown: list[tuple[str, bytes]] = []

    def refuse(stage: str, graph: bytes) -> None:
        shown.append((stage, graph))
        if stage == "audio":
            raise ParityError("an operator that no version takes")

    with pytest.raises(ParityError, match="no version takes"):
        calibrate_bundle(bundle.path, [Path("a.mp4")], windows=4, out=tmp_path / "int8.affect", check=refuse)
    assert [stage for stage, _ in shown] == ["video", "audio"]
    assert all(b"QuantizeLinear" in graph for _, graph in shown)
    assert not (tmp_path / "int8.affect").exists()


@pytest.mark.usefixtures("files")
def test_calibrating_again_replaces_and_a_failure_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_residual_bundle(tmp_path / "x.affect").path
    first = calibrate_bundle(path, [Path("a.mp4")], windows=4)
    second = calibrate_bundle(path, [Path("a.mp4")], windows=8)
    assert second.fingerprint != first.fingerprint
    assert len(second.manifest.graphs) == len(first.manifest.graphs) == 7

    def fail(*_: object) -> None:
        raise RuntimeError("stopped")

    monkeypatch.setattr(stages, "check_qdq", fail)
    with pytest.raises(RuntimeError, match="stopped"):
        calibrate_bundle(path, [Path("a.mp4")], windows=4)
    assert open_bundle(path) == second
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.affect"]


def test_wrong_wishes_are_told_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="method 'guess'"):
        calibrate_bundle(tmp_path, [], method="guess")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="0 windows"):
        calibrate_bundle(tmp_path, [], windows=0)
    with pytest.raises(BundleError, match="does not exist"):
        calibrate_bundle(tmp_path / "nothing.affect", [])
