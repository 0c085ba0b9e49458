"""Engines are held against ONNX Runtime by their precision's tolerance, networks against what was measured."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from doubles.tiny_bundle import make_tiny_bundle

from affectrt.benchmarks.stages import stage_feeds
from affectrt.bundle import Bundle, Precision
from affectrt.cli.gpu_check import Findings, Settings, check, run_check
from affectrt.cli.gpu_check.check import WORK
from affectrt.cli.gpu_check.engines import TOLERANCES, check_onnxruntime_cuda, measure_parity
from affectrt.cli.gpu_check.figures import Copy, MatrixPeak
from affectrt.cli.gpu_check.latency import latency_of
from affectrt.cli.gpu_check.peaks import product_graph
from affectrt.cli.gpu_check.roofline import NETWORKS, _Network, _roofline
from affectrt.cli.gpu_check.steps import Absent, Collector
from affectrt.runtime.engines.base import Array, Engine, TensorSpec
from affectrt.runtime.engines.onnxruntime_engine import OnnxRuntimeEngine


class Shifted:
    """Answers as `engine`, with its largest value off by a share of it."""

    def __init__(self, engine: Engine, share: float) -> None:
        self._engine, self._share = engine, share

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        return self._engine.inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        return self._engine.outputs

    @property
    def provenance(self) -> Mapping[str, str]:
        return self._engine.provenance

    def infer(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        found = {}
        for name, values in self._engine.infer(feeds).items():
            shifted = np.array(values, np.float32)
            at = np.unravel_index(int(np.abs(shifted).argmax()), shifted.shape)
            shifted[at] *= 1 + self._share
            found[name] = shifted
        return found

    def close(self) -> None:
        self._engine.close()

    def __enter__(self) -> Shifted:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("gpu-check") / "tiny.affect")


@pytest.fixture
def reference(bundle: Bundle) -> OnnxRuntimeEngine:
    return OnnxRuntimeEngine(bundle.read(bundle.graph_for("fusion", "fp32")), threads=1, provenance={})


@pytest.mark.parametrize("precision", TOLERANCES)
def test_an_engine_passes_within_its_precision_s_tolerance_and_fails_beyond_it(
    bundle: Bundle, reference: OnnxRuntimeEngine, precision: Precision
) -> None:
    feeds = stage_feeds(bundle, "fusion", 3)
    names = ("tiny", "fusion", precision, precision, "some backend", "mapped, captured")
    for share, passes in ((0.0, True), (0.8 * TOLERANCES[precision], True), (1.2 * TOLERANCES[precision], False)):
        parity = measure_parity(names, Shifted(reference, share), reference, feeds)
        assert parity.passed is passes
        assert parity.relative == pytest.approx(share, abs=1e-6)
        assert (parity.rows, parity.tolerance) == (3, TOLERANCES[precision])


def test_what_is_not_a_number_never_passes(bundle: Bundle, reference: OnnxRuntimeEngine) -> None:
    names = ("tiny", "fusion", "int8", "int8", "some backend", "")
    parity = measure_parity(names, Shifted(reference, float("nan")), reference, stage_feeds(bundle, "fusion", 1))
    assert not parity.passed and np.isfinite(parity.relative)


def test_without_the_cuda_provider_onnx_runtime_s_step_is_absent(bundle: Bundle) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has the CUDA provider")
    with pytest.raises(Absent, match="no CUDA provider"):
        check_onnxruntime_cuda(Collector(), Settings(), bundle=str(bundle.path), precision="fp32")


def test_without_tensorrt_the_other_steps_are_still_tried(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def note(found: Collector, settings: Settings, **arguments: str) -> None:
        ran.append("/".join(arguments.values()))

    settings = Settings(in_process=True, bundles=(str(bundle.path),))
    missing = {"tensorrt": "no such package", "onnxruntime-cuda": None}
    monkeypatch.setattr(check, "_backends", lambda settings: iter(missing.items()))
    done = run_check(settings, "some GPU", work=dict.fromkeys(WORK, note), state=dict)
    absent = {outcome.step: outcome.reason for outcome in done.outcomes if outcome.status == "absent"}
    assert absent == {"tensorrt": "no such package"}
    assert f"{bundle.path}/fp32" in ran  # a bundle's precisions on ONNX Runtime's CUDA provider
    assert {f"{system}/{stage}" for system, stage in NETWORKS} <= set(ran)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_product_that_the_peak_is_measured_on_is_one(precision: str) -> None:
    side = 32
    with OnnxRuntimeEngine(product_graph(precision, side), threads=1, provenance={}) as engine:  # type: ignore[arg-type]
        x = np.eye(side, dtype=np.float32)
        weights = np.random.default_rng(1).standard_normal((side, side)).astype(np.float32)
        found = engine.infer({"x": x})["y"]
    assert np.abs(found - weights).max() < {"fp32": 1e-6, "fp16": 5e-3, "int8": 1 / 31}[precision]


def test_a_network_is_held_to_the_peak_and_the_bandwidth_that_were_measured() -> None:
    known = Findings(
        copies=(Copy(kind="device to device", size_bytes=1, gbyte_per_s=500.0),),  # 10¹² bytes read and written
        peaks=(MatrixPeak(precision="fp16", library="x", shape="x", gmac_per_s=1000.0),),
    )
    network = _Network("some", "video", None, (), None, 10**9)
    latency = latency_of([0.032] * 5, 1)  # 8 rows, 4 ms each
    row = _roofline(network, "fp16", 8, True, latency, 16 * 10**9, 0.0, Collector(known))
    assert (row.ms_per_row, row.gmac_per_s) == (pytest.approx(4.0), pytest.approx(250.0))
    assert row.share_of_peak == pytest.approx(0.25)
    # 16 GB for 8 rows take 2 ms a row: more than the arithmetic's 1 ms.
    assert (row.bound_ms, row.share_of_bound) == (pytest.approx(2.0), pytest.approx(0.5))
    unknown = _roofline(network, "fp32", 8, True, latency, 1, 0.0, Collector(known))
    assert unknown.share_of_peak is None and unknown.bound_ms is None
