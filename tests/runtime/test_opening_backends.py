"""Which backend is taken, and what a person is told where one cannot be: on this machine, and by injected facts."""

from __future__ import annotations

import importlib
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from doubles.tiny_bundle import make_tiny_bundle

from affectrt.bundle.errors import EngineError, MissingDependency, UsageError
from affectrt.bundle.store import Bundle
from affectrt.runtime.engines import backend_choice, nvidia, onnxruntime_engine, open_engine, open_engines
from affectrt.runtime.engines.backend_choice import choose_backend, target_of
from affectrt.runtime.engines.gpu import Gpu
from affectrt.runtime.engines.nvidia import Platform, import_tensorrt, read_platform
from affectrt.runtime.engines.onnxruntime_engine import CUDA, OnnxRuntimeEngine

DESKTOP = Platform("x86_64", None, "550.54.15")
JETSON = Platform("aarch64", "36.4.3", "540.4.0")
ORIN = Gpu(0, "Orin", "8.7", "540.4.0 (CUDA 12.6)", "36.4.3", integrated=True, memory_bytes=8 << 30)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("tiny") / "tiny.affect")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without anything of NVIDIA's, whatever this one has."""
    monkeypatch.setattr(backend_choice, "read_platform", lambda: Platform("x86_64", None, None))
    without_modules(monkeypatch, "tensorrt", "pycuda", "cuda", "polygraphy")


def without_modules(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    fail_imports(monkeypatch, {name: ModuleNotFoundError(f"No module named {name!r}", name=name) for name in names})


def fail_imports(monkeypatch: pytest.MonkeyPatch, failures: dict[str, Exception]) -> None:
    """Let the import of these top modules fail in the given way."""
    real = importlib.import_module

    def load(name: str, package: str | None = None) -> ModuleType:
        if name.partition(".")[0] in failures:
            raise failures[name.partition(".")[0]]
        return real(name, package)

    monkeypatch.setattr(nvidia.importlib, "import_module", load)


@pytest.mark.usefixtures("bare")
def test_a_machine_without_a_gpu_runs_onnx_runtime_and_makes_no_fuss(bundle: Bundle) -> None:
    choice = choose_backend(bundle, "fp32")
    assert choice.backend == "onnxruntime" and not choice.notable
    with ExitStack() as stack:
        engines = open_engines(bundle, "fp32", stack)
        for engine in engines.values():
            assert engine.provenance["backend"] == "onnxruntime"
            assert engine.provenance["chosen"] == "ONNX Runtime on the processor: this machine has no NVIDIA GPU"


def test_importing_the_engines_loads_no_backend() -> None:
    """Each of these modules would end the process here; importing ours reaches for none of them."""
    script = """
import sys

class Trap:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"tensorrt", "pycuda", "cuda", "polygraphy", "onnxruntime", "torch", "onnx"}:
            sys.exit(f"{name} was imported")

sys.meta_path.insert(0, Trap())
import affectrt.runtime.engines as engines
import affectrt.runtime.engines.tensorrt_engine
print(engines.BACKENDS[0])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "auto"), done.stderr


@pytest.mark.usefixtures("bare")
def test_tensorrt_asked_for_by_name_is_never_replaced(bundle: Bundle) -> None:
    with pytest.raises(MissingDependency, match="cuda-bindings is not installed"):
        open_engine(bundle, "video", backend="tensorrt")


def test_a_gpu_without_engines_is_told_with_the_command_that_builds_them(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_tensorrt(monkeypatch)
    monkeypatch.setenv("AFFECTRT_CACHE_DIR", str(tmp_path))
    choice = choose_backend(bundle, "fp32")
    assert choice.backend == "onnxruntime" and choice.notable
    assert "there is a GPU" in choice.why and "no engine was built" in choice.why
    assert f"affectrt build {bundle.path} --precision fp32" in choice.why
    with pytest.raises(EngineError, match="no engine was built") as caught:
        choose_backend(bundle, "fp32", "tensorrt")
    assert caught.value.fix == f"affectrt build {bundle.path} --precision fp32"


def test_a_gpu_without_tensorrt_is_told_what_to_install(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_choice, "find_gpu", lambda: ORIN)
    monkeypatch.setattr(nvidia, "read_platform", lambda: JETSON)
    without_modules(monkeypatch, "tensorrt")
    choice = choose_backend(bundle, "fp32")
    assert choice.backend == "onnxruntime" and choice.notable
    assert "TensorRT is not installed (sudo apt install python3-libnvinfer" in choice.why


def with_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("tensorrt")
    module.__version__ = "10.3.0"  # type: ignore[attr-defined]
    monkeypatch.setattr(backend_choice, "find_gpu", lambda: ORIN)
    monkeypatch.setattr(backend_choice, "import_tensorrt", lambda: module)
    monkeypatch.setattr(backend_choice, "import_pycuda", lambda: None)


@pytest.mark.parametrize("backend", ["tpu", "", "TensorRT"])
def test_an_unknown_backend_names_those_there_are(bundle: Bundle, backend: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_engine(bundle, "video", backend=backend)
    assert str(caught.value.expected) == "auto or tensorrt or onnxruntime or onnxruntime-cuda"


def test_cuda_takes_the_graphs_that_are_computed_as_written() -> None:
    assert target_of("onnxruntime") == "cpu"
    assert target_of("tensorrt") == target_of("onnxruntime-cuda") == "tensorrt"


def test_onnx_runtime_falling_back_to_the_processor_is_an_error_on_cuda(bundle: Bundle) -> None:
    if onnxruntime_engine.offers_cuda():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(EngineError, match="cannot use CUDA here") as caught:
        open_engine(bundle, "fusion", backend="onnxruntime-cuda")
    assert "onnxruntime-gpu" in str(caught.value.fix)


def test_cuda_that_cannot_be_loaded_leaves_auto_on_the_processor(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The package says that it has CUDA, and then runs without: only the session tells."""
    if onnxruntime_engine.offers_cuda():
        pytest.skip("this ONNX Runtime has CUDA")
    monkeypatch.setattr(onnxruntime_engine, "offers_cuda", lambda: True)
    monkeypatch.setattr("onnxruntime.preload_dlls", lambda: print("Failed to load libcudnn.so.9"))
    without_modules(monkeypatch, "tensorrt")
    monkeypatch.setattr(backend_choice, "find_gpu", lambda: ORIN)
    monkeypatch.setattr(backend_choice, "offers_cuda", lambda: True)
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        choice = choose_backend(bundle, "fp32")
    assert choice.backend == "onnxruntime" and "cannot use CUDA here" in choice.why
    assert capsys.readouterr().out == ""  # standard output is for results


def test_cuda_is_taken_where_it_works(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    without_modules(monkeypatch, "tensorrt")
    monkeypatch.setattr(backend_choice, "find_gpu", lambda: ORIN)
    monkeypatch.setattr(backend_choice, "offers_cuda", lambda: True)
    opened: list[dict[str, Any]] = []

    class Working(OnnxRuntimeEngine):
        def __init__(self, graph: bytes, **given: Any) -> None:
            opened.append(given)
            super().__init__(graph, **{**given, "provider": "CPUExecutionProvider"})

    monkeypatch.setattr(backend_choice, "OnnxRuntimeEngine", Working)
    choice = choose_backend(bundle, "fp32")
    assert choice.backend == "onnxruntime-cuda" and choice.notable
    assert [given["provider"] for given in opened] == [CUDA]


# -- what is told where a library is missing -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "importer", "library", "fix"),
    [
        (DESKTOP, nvidia.import_tensorrt, "tensorrt", "-m pip install 'affectrt[tensorrt]'"),
        (DESKTOP, nvidia.import_pycuda, "pycuda", "-m pip install 'affectrt[tensorrt]'"),
        (JETSON, nvidia.import_tensorrt, "tensorrt", "sudo apt install python3-libnvinfer"),
        (JETSON, nvidia.import_pycuda, "pycuda", "PATH=/usr/local/cuda/bin:$PATH"),
        (JETSON, nvidia.import_cuda_driver, "cuda", "'cuda-bindings==12.*'"),
        (Platform("aarch64", "38.2.0", None), nvidia.import_cuda_driver, "cuda", "'cuda-bindings==13.*'"),
        (JETSON, nvidia.import_polygraphy, "polygraphy", "'polygraphy>=0.53,<0.60'"),
    ],
)
def test_what_is_not_installed_is_told_with_this_platforms_command(
    monkeypatch: pytest.MonkeyPatch, where: Platform, importer: Any, library: str, fix: str
) -> None:
    without_modules(monkeypatch, library)
    with pytest.raises(MissingDependency, match="is not installed") as caught:
        importer(where)
    assert fix in str(caught.value.fix)


@pytest.mark.parametrize(
    ("where", "missing", "fix"),
    [
        (DESKTOP, "libcuda.so.1", "--gpus all"),
        (JETSON, "libcuda.so.1", "--runtime nvidia"),
        (JETSON, "libnvdla_compiler.so", "made for another JetPack (here: L4T 36.4.3)"),
        (DESKTOP, "libnvinfer.so.10", "affectrt[tensorrt]"),
    ],
)
def test_a_library_that_cannot_load_is_told_apart_from_one_not_installed(
    monkeypatch: pytest.MonkeyPatch, where: Platform, missing: str, fix: str
) -> None:
    broken = ImportError(f"{missing}: cannot open shared object file: No such file or directory")
    fail_imports(monkeypatch, {"tensorrt": broken})
    with pytest.raises(EngineError, match="TensorRT is installed but cannot be loaded") as caught:
        import_tensorrt(where)
    assert missing in caught.value.found and fix in str(caught.value.fix)


def test_a_module_beneath_a_library_is_named_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_imports(monkeypatch, {"pycuda": ModuleNotFoundError("No module named 'pytools'", name="pytools")})
    with pytest.raises(MissingDependency, match="PyCUDA needs the Python module 'pytools'"):
        nvidia.import_pycuda(DESKTOP)


def test_a_platform_is_read_from_what_kernel_and_jetpack_say(tmp_path: Path) -> None:
    assert read_platform(tmp_path) == Platform(read_platform().machine, None, None)
    (tmp_path / "etc").mkdir()
    release = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n"
    (tmp_path / "etc/nv_tegra_release").write_text(release)
    driver = tmp_path / "proc/driver/nvidia"
    driver.mkdir(parents=True)
    (driver / "version").write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build  (buildbrain)\n"
        "GCC version:  collect2: error: ld returned 1 exit status\n"
    )
    found = read_platform(tmp_path)
    assert (found.l4t, found.driver, found.jetson, found.nvidia) == ("36.4.3", "540.4.0", True, True)
