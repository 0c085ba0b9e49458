"""Building where TensorRT or a GPU is missing: one sentence that says which, and ONNX Runtime goes on."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from doubles.media import flash_and_beep, write_media

from affectrt.bundle import Bundle, GraphDraft, update_bundle
from affectrt.bundle.errors import EngineError
from affectrt.runtime.engines import gpu as gpu_module
from affectrt.runtime.engines.gpu import Gpu

from .conftest import Ran

pytest.importorskip("onnx")
from doubles.tiny_bundle import OPSET, make_tiny_bundle

Run = Callable[..., Ran]
ORIN = Gpu(0, "Orin", "8.7", "540.4.0 (CUDA 12.6)", "36.4.3", True, 8 << 30)


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.setenv("AFFECTRT_CACHE_DIR", str(tmp_path / "cache"))
    return make_tiny_bundle(tmp_path / "tiny.affect")


@pytest.fixture
def no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)  # an import of it raises as if it were not installed


@pytest.fixture
def a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_module, "find_gpu", lambda ordinal=0: ORIN)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(ordinal: int = 0) -> Gpu:
        raise EngineError("no NVIDIA GPU can be used: there is no driver", fix="install NVIDIA's driver")

    monkeypatch.setattr(gpu_module, "find_gpu", find)


@pytest.mark.usefixtures("no_tensorrt", "a_gpu")
def test_build_for_tensorrt_without_tensorrt_fails_and_says_what_to_install(bundle: Bundle, run: Run) -> None:
    ran = run("build", bundle.path, "--backend", "tensorrt")
    assert ran.code == 1
    assert ran.err.startswith("affectrt: error: TensorRT is not installed")
    assert "no NVIDIA GPU" not in ran.err
    assert "install" in ran.err.partition("fix:")[2]
    assert "Traceback" not in ran.err and ran.out == ""


@pytest.mark.usefixtures("no_tensorrt", "no_gpu")
def test_build_for_tensorrt_names_everything_that_is_missing_at_once(bundle: Bundle, run: Run) -> None:
    ran = run("build", bundle.path, "--backend", "tensorrt")
    assert ran.code == 1
    assert "no NVIDIA GPU can be used: there is no driver; TensorRT is not installed" in ran.err
    assert "install NVIDIA's driver" in ran.err.partition("fix:")[2]


@pytest.mark.usefixtures("no_tensorrt", "no_gpu")
def test_auto_says_in_one_sentence_what_is_missing_and_goes_on_with_onnx_runtime(bundle: Bundle, run: Run) -> None:
    ran = run("build", bundle.path, "--threads", "1")
    assert ran.code == 0
    (sentence,) = ran.err.splitlines()
    assert sentence.startswith(
        "No TensorRT engines, ONNX Runtime instead: no NVIDIA GPU can be used: there is no driver"
    )
    assert "TensorRT is not installed" in sentence
    assert [line.split()[0] for line in ran.out.splitlines()[:3]] == ["video", "audio", "fusion"]
    assert "(onnxruntime " in ran.out
    assert not (bundle.path.parent / "cache").exists()


@pytest.mark.usefixtures("no_tensorrt", "no_gpu")
def test_after_a_build_that_failed_run_goes_on_with_onnx_runtime(bundle: Bundle, run: Run, tmp_path: Path) -> None:
    assert run("build", bundle.path, "--backend", "tensorrt").code == 1
    frames, samples, _ = flash_and_beep(2)
    clip = write_media(tmp_path / "clip.mkv", frames=frames, samples=samples, fps=25, rate_hz=48_000)
    ran = run("run", bundle.path, clip, tmp_path / "out.jsonl", "--threads", "1")
    assert ran.code == 0
    assert "onnxruntime" in ran.err
    assert (tmp_path / "out.jsonl").read_text().count("\n") > 1


@pytest.mark.usefixtures("no_tensorrt", "no_gpu")
def test_a_precision_for_tensorrt_alone_is_not_built_for_the_processor(bundle: Bundle, run: Run) -> None:
    content = bundle.read(bundle.graph_for("audio", "fp32"))
    bundle = update_bundle(
        bundle,
        graphs=[GraphDraft("audio", "fp16", content, OPSET, "tensorrt")],
        plans={"fp16": {"audio": "fp16"}},
    )
    ran = run("build", bundle.path, "--precision", "fp16")
    assert ran.code == 1
    assert "no fp16 graph of stage 'audio' for cpu" in ran.err


@pytest.mark.parametrize("words", [("--dla", "16"), ("--batch", "0"), ("--optimization-level", "6")])
def test_build_refuses_numbers_that_no_engine_can_have(words: tuple[str, ...], bundle: Bundle, run: Run) -> None:
    assert run("build", bundle.path, *words).code == 2
