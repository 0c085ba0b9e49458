"""One graph made into an engine over a simulated TensorRT: what is asked for, what is proved, what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from doubles.nvidia import faults
from doubles.precisions_bundle import Told, build_video, first_product, make_precisions_bundle

from affectrt.bundle import Bundle, EngineError, UsageError
from affectrt.bundle.errors import AffectError
from affectrt.export.engines import build_engine
from affectrt.runtime.engines.engine_record import BuildOptions
from affectrt.runtime.engines.gpu import find_gpu

NARROW = {"FP16", "BF16", "INT8", "FP8", "OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_precisions_bundle(tmp_path_factory.mktemp("bundle") / "residual.affect")


def test_each_batch_size_is_a_profile_of_its_own(made: Bundle) -> None:
    build_video(made, "fp32", batches=(8, 1, 8))
    (facts,) = faults.tensorrt.builds
    assert [shapes["frames"][1] for shapes in facts["profiles"]] == [(1, 16, 16, 3), (8, 16, 16, 3)]


def test_options_reach_the_builder_as_asked(made: Bundle) -> None:
    options = BuildOptions(optimization_level=5, workspace_bytes=64 << 20, tf32=True, max_aux_streams=2)
    build_video(made, "fp32", options=options)
    (facts,) = faults.tensorrt.builds
    assert (facts["workspace_bytes"], facts["optimization_level"], facts["max_aux_streams"]) == (64 << 20, 5, 2)
    assert "TF32" in facts["flags"]


def test_the_engine_that_ships_tells_names_alone_and_takes_the_timings_of_its_twin(made: Bundle) -> None:
    build_video(made, "int8")
    twin, shipped = faults.tensorrt.builds
    assert (twin["verbosity"], shipped["verbosity"]) == ("DETAILED", "LAYER_NAMES_ONLY")
    assert twin["timed"] > 0 and shipped["timed"] == 0
    faults.tensorrt.builds.clear()
    build_video(made, "fp32")
    assert [facts["verbosity"] for facts in faults.tensorrt.builds] == ["LAYER_NAMES_ONLY"]


def test_a_timing_cache_of_another_version_begins_anew_and_the_record_says_so(made: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "timings"
    build_video(made, "fp32", timing_cache=path)
    path.write_bytes(path.read_bytes().replace(b'"version": "1', b'"version": "9'))
    built = build_video(made, "fp32", timing_cache=path)
    assert any("on another device, or is damaged; it began anew" in note for note in built.notes)
    assert build_video(made, "fp32", timing_cache=path).notes == ()


def test_a_layer_that_came_out_in_floats_is_a_failure_that_names_it(made: Bundle) -> None:
    name = first_product(made, "int8")
    faults.tensorrt.build_as({name: "Float"})
    with pytest.raises(EngineError, match="in another precision") as caught:
        build_video(made, "int8")
    assert f"{name}: asked int8, got fp32" in str(caught.value)
    assert len(faults.tensorrt.builds) == 1  # the engine that would ship is not built any more


def test_what_the_parser_refuses_is_listed_with_node_and_operator(
    made: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The lint would find it first; a parser may know more than the lint.
    monkeypatch.setattr("affectrt.export.engines.builder.check_operators", lambda *_, **__: None)
    model = onnx.load_from_string(made.read(made.graph_for("video", "int8", "tensorrt")))
    node = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    zero = onnx.numpy_helper.from_array(np.array(3, np.int8), "shifted")
    model.graph.initializer.append(zero)
    node.input[2] = "shifted"
    with pytest.raises(EngineError, match="cannot read the graph of video") as caught:
        build_engine(
            model.SerializeToString(),
            name="video",
            batches=(1,),
            options=BuildOptions(),
            expected="int8",
            timing_cache=None,
            progress=Told(),
            gpu=find_gpu(),
        )
    assert f"{node.name} (QuantizeLinear): zero point must be a constant of INT8" in str(caught.value)
    assert faults.tensorrt.builds == []


def test_operators_that_tensorrt_does_not_take_are_refused_before_it_parses(made: Bundle) -> None:
    model = onnx.load_from_string(made.read(made.graph_for("video", "fp32")))
    model.graph.node[-1].op_type = "Unique"
    with pytest.raises(AffectError, match="Unique"):
        build_engine(
            model.SerializeToString(),
            name="video",
            batches=(1,),
            options=BuildOptions(),
            expected="fp32",
            timing_cache=None,
            progress=Told(),
            gpu=find_gpu(),
        )
    assert not [call for call in faults.tensorrt.calls if call[:2] == ("OnnxParser", "parse")]


@pytest.mark.parametrize("call", ["Builder.create_network", "OnnxParser.parse", "Runtime.deserialize_cuda_engine"])
def test_a_refusal_of_any_step_is_an_engine_error(call: str, made: Bundle) -> None:
    faults.tensorrt.fail(call)
    with pytest.raises(EngineError):
        build_video(made, "int8")


def test_progress_comes_from_tensorrts_own_monitor(made: Bundle) -> None:
    told = Told()
    build_video(made, "int8", told)
    shares = [share for share, _ in told.shown if share is not None]
    assert shares[-1] == 1.0
    assert told.open == 0
    assert [call for call in faults.tensorrt.calls if "progress_monitor" in call[1]]


def test_without_a_monitor_the_number_of_layers_is_shown(made: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorrt as trt

    monkeypatch.delattr(trt, "IProgressMonitor")
    faults.tensorrt.build_seconds = 0.5
    told = Told()
    build_video(made, "fp32", told)
    assert told.shown and all(share is None and doing.endswith(" layers") for share, doing in told.shown)


def test_a_dla_core_that_is_there_is_taken_with_the_gpu_beside_it(
    made: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    from doubles.nvidia import building

    real = building.Builder.__init__

    def with_cores(self: Any, *args: Any, **kwargs: Any) -> None:
        real(self, *args, **kwargs)
        self.num_DLA_cores = 2

    monkeypatch.setattr(building.Builder, "__init__", with_cores)
    build_video(made, "fp32", options=BuildOptions(dla_core=1))
    (facts,) = faults.tensorrt.builds
    assert (facts["device_type"], facts["DLA_core"]) == ("DLA", 1)
    assert "GPU_FALLBACK" in facts["flags"]
    assert not NARROW & set(facts["flags"])
    with pytest.raises(UsageError, match="2 cores, numbered from 0"):
        build_video(made, "fp32", options=BuildOptions(dla_core=2))
