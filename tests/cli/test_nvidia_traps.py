"""Each known trap is told on the machine that stands in it, with its remedy, and on no machine that does not."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import pytest

from affectrt.cli.nvidia import TRAPS, Facts, Loaded, findings_from_facts, traps, traps_from_facts

ORIN_6 = Facts(
    machine="aarch64",
    board="NVIDIA Jetson AGX Orin Developer Kit",
    l4t="36.4.3",
    device_files=True,
    gpu="Orin",
    compute_capability="8.7",
    driver="540.4.0 (CUDA 12.6)",
    driver_cuda="12.6",
    toolkit="12.6.68",
    tensorrt=Loaded("10.3.0.30"),
    tensorrt_library="10.3.0",
    tensorrt_places=("/usr/lib/python3.10/dist-packages/tensorrt",),
    system_tensorrt="/usr/lib/python3.10/dist-packages/tensorrt",
    pycuda=Loaded("2026.1"),
    cuda_bindings=Loaded("12.9.10"),
    polygraphy=Loaded("0.53.6"),
    onnxruntime=Loaded("1.31.1"),
    wheels={"cuda-bindings": "12.9.10", "pycuda": "2026.1", "polygraphy": "0.53.6", "onnxruntime": "1.31.1"},
    elements={"nvvidconv": True, "nvv4l2decoder": True, "nvarguscamerasrc": True},
    state={"nvpmodel": "MAXN", "GPU min_freq": "1300 MHz", "GPU max_freq": "1300 MHz"},
    memory_bytes=64 * 2**30,
    swap_bytes=0,
)
ORIN_7 = replace(ORIN_6, l4t="39.2.2", driver_cuda="13.2", tensorrt=Loaded("10.16.2.10"), tensorrt_library="10.16.2")
NANO_7 = replace(ORIN_7, board="NVIDIA Jetson Orin Nano Developer Kit", memory_bytes=8 * 2**30, swap_bytes=8 * 2**30)
DESKTOP = Facts(
    gpu="NVIDIA L4",
    compute_capability="8.9",
    device_files=True,
    driver="580.1 (CUDA 13.0)",
    driver_cuda="13.0",
    tensorrt=Loaded("11.4.0.106"),
    tensorrt_library="11.4.0",
    tensorrt_places=("/venv/tensorrt",),
    wheels={"tensorrt": "11.4.0.106", "tensorrt-cu13": "11.4.0.106", "tensorrt-cu13-libs": "11.4.0.106"},
    elements={"nvh264dec": True, "cudaupload": True},
)
BROKEN = "ImportError: libnvdla_compiler.so: cannot open shared object file"
# Trap → the machine in it, words of what is found, words of the remedy.
CASES: list[tuple[str, Facts, str, str]] = [
    (
        "container_without_driver",
        replace(ORIN_6, container=True, gpu=None, gpu_problem="libcuda.so.1 is missing"),
        "libcuda.so.1 is missing",
        "--runtime nvidia",
    ),
    ("container_without_driver", replace(DESKTOP, container=True, gpu=None), "libcuda.so.1", "--gpus all"),
    (
        "tensorrt_of_another_jetpack",
        replace(ORIN_7, tensorrt=Loaded(problem=BROKEN), tensorrt_library=None),
        "libnvdla_compiler.so, which L4T 39.2.2 lacks",
        "made for this JetPack",
    ),
    (
        "blind_environment",
        replace(ORIN_6, isolated_environment=True, tensorrt=Loaded(problem="not installed"), tensorrt_library=None),
        "/usr/lib/python3.10/dist-packages/tensorrt is installed",
        "--system-site-packages",
    ),
    (
        "shadowed_tensorrt",
        replace(DESKTOP, tensorrt_places=("/venv/tensorrt", "/usr/lib/python3/dist-packages/tensorrt")),
        "/venv/tensorrt hides /usr/lib/python3/dist-packages/tensorrt",
        "uninstall tensorrt",
    ),
    ("two_versions", replace(DESKTOP, tensorrt_library="10.16.1"), "bindings are 11.4.0.106", "LD_LIBRARY_PATH"),
    (
        "old_tensorrt",
        replace(ORIN_6, tensorrt=Loaded("8.6.2"), tensorrt_library="8.6.2"),
        "8.6.2; 10.3 and newer",
        "JetPack 6.1",
    ),
    (
        "old_tensorrt",
        replace(DESKTOP, tensorrt=Loaded("10.0.1"), tensorrt_library="10.0.1"),
        "10.0.1; 10.3 and newer",
        "pip install -U 'affectrt[tensorrt]'",
    ),
    (
        "tensorrt_without_orin",
        replace(ORIN_7, tensorrt=Loaded("10.13.3.9"), tensorrt_library="10.13.3"),
        "10.13.3.9 was not made for Orin (sm_87)",
        "JetPack's own TensorRT",
    ),
    (
        "bindings_newer_than_driver",
        replace(ORIN_6, wheels={"cuda-bindings": "13.5.0"}),
        "cuda-bindings 13.5.0 beside a driver that serves CUDA 12.6",
        "'cuda-bindings==12.*'",
    ),
    (
        "wheels_newer_than_driver",
        replace(DESKTOP, driver_cuda="12.8"),
        "tensorrt-cu13, tensorrt-cu13-libs beside a driver that serves CUDA 12.8",
        "install tensorrt-cu12",
    ),
    (
        "two_onnxruntimes",
        replace(DESKTOP, wheels={"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"}),
        "a mixture",
        "uninstall -y onnxruntime onnxruntime-gpu",
    ),
    (
        "truncating_onnxruntime",
        Facts(half_rounding="ONNX Runtime 1.24.4"),
        "ONNX Runtime 1.24.4: INT8 graphs with float16",
        "onnxruntime>=1.31",
    ),
    ("half_on_orin_nano", NANO_7, "one report", "falls back to FP32"),
    ("attention_on_orin", ORIN_7, "10.16.2.10 on Orin does not build", "affectrt's quantiser"),
    ("no_dla", NANO_7, "Orin Nano Developer Kit has none", "run on the GPU"),
    ("no_dla", replace(ORIN_7, l4t="39.2.1"), "ships no libnvdla_compiler.so", "run on the GPU"),
    (
        "no_dla",
        replace(ORIN_7, board="NVIDIA Jetson AGX Thor Developer Kit", gpu="NVIDIA Thor", compute_capability="11.0"),
        "Thor Developer Kit has none",
        "run on the GPU",
    ),
    ("no_swap", replace(NANO_7, swap_bytes=0), "8 GiB of memory", "swapon"),
]


def name_of(trap: Any) -> str:
    return str(trap.__name__)


@pytest.mark.parametrize(("trap", "facts", "found", "fix"), CASES, ids=[case[0] for case in CASES])
def test_a_machine_in_a_trap_is_told_it_and_its_remedy(trap: str, facts: Facts, found: str, fix: str) -> None:
    finding = getattr(traps, trap)(facts)
    assert finding is not None
    assert (finding.tier, finding.ok, finding.required) == ("trap", False, False)
    assert found in finding.found
    assert fix in finding.fix
    assert finding in list(traps_from_facts(facts))


def test_every_trap_is_looked_for_and_has_a_machine_in_it() -> None:
    written = {
        name
        for name, each in inspect.getmembers(traps, inspect.isfunction)
        if each.__module__ == traps.__name__ and not name.startswith("_") and name != "traps_from_facts"
    }
    assert {name_of(trap) for trap in TRAPS} == written == {case[0] for case in CASES}


@pytest.mark.parametrize(
    "facts",
    [
        Facts(),
        ORIN_6,
        DESKTOP,
        replace(ORIN_6, container=True),
        replace(ORIN_6, isolated_environment=True),  # it has a TensorRT of its own
        replace(DESKTOP, driver_cuda="13.2"),
        replace(ORIN_6, tensorrt=Loaded("10.7.0.23"), tensorrt_library="10.7.0"),
        Facts(container=True),
    ],
)
def test_a_sound_machine_is_told_no_trap(facts: Facts) -> None:
    assert list(traps_from_facts(facts)) == []


def test_orin_with_jetpack_7_2_2_stands_in_one_trap_alone() -> None:
    assert [finding.name for finding in traps_from_facts(ORIN_7)] == ["INT8 around attention"]


def lines_of(facts: Facts) -> dict[str, Any]:
    return {finding.name: finding for finding in findings_from_facts(facts)}


def test_a_sound_jetson_is_described() -> None:
    told = lines_of(ORIN_6)
    assert all(finding.ok for name, finding in told.items() if name != "onnxruntime cuda")
    assert told["nvidia gpu"].found == "NVIDIA Jetson AGX Orin Developer Kit, Orin, compute capability 8.7"
    assert told["driver"].found == "540.4.0 (CUDA 12.6), L4T 36.4.3"
    assert told["tensorrt"].found == "10.3.0.30, libnvinfer 10.3.0"
    assert told["nvidia elements"].found == "nvv4l2decoder, nvvidconv, nvarguscamerasrc"
    assert told["power mode"].found == "MAXN"


def test_what_a_jetson_lacks_comes_with_its_command() -> None:
    bare = replace(
        ORIN_6, tensorrt=Loaded(problem="not installed"), pycuda=Loaded(problem="not installed"), elements={}
    )
    told = lines_of(bare)
    assert "python3-libnvinfer" in told["tensorrt"].fix
    assert "CUDA_ROOT=/usr/local/cuda" in told["pycuda"].fix
    assert told["nvidia elements"].fix.endswith("nvidia-l4t-gstreamer")


def test_wandering_clocks_are_told_before_measuring() -> None:
    told = lines_of(replace(ORIN_6, state={"GPU min_freq": "306 MHz", "GPU max_freq": "1300 MHz"}))
    assert told["clocks"].ok is False
    assert "jetson_clocks" in told["clocks"].fix


def test_a_machine_without_nvidia_is_not_told_to_install_anything() -> None:
    told = lines_of(Facts(tensorrt=Loaded(problem="not installed"), gpu_problem="cuda-bindings is not installed"))
    assert told["nvidia gpu"].found == "none"
    assert {finding.fix for finding in told.values()} == {None}
    assert "nvidia elements" not in told
