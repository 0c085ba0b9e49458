"""Which command brings which module: the extras of pyproject.toml, the packages of the distribution."""

from __future__ import annotations

import sys

__all__ = ["APT_PACKAGES", "MODULES", "apt_line", "missing_module_fix", "pip_line"]

# Extra ("" = always installed) → import name → distribution. A test compares this with pyproject.toml.
MODULES: dict[str, dict[str, str]] = {
    "": {
        "numpy": "numpy",
        "pydantic": "pydantic",
        "typer": "typer",
        "rich": "rich",
        "onnxruntime": "onnxruntime",
        "cv2": "opencv-python-headless",
    },
    "export": {
        "torch": "torch",
        "safetensors": "safetensors",
        "onnx": "onnx",
        "onnxscript": "onnxscript",
        "transformers": "transformers",
    },
    "text": {"tokenizers": "tokenizers", "webvtt": "webvtt-py", "pocketsphinx": "pocketsphinx"},
    "vosk": {"vosk": "vosk"},
    "sherpa": {"sherpa_onnx": "sherpa-onnx"},
    "train": {
        "lightning": "lightning",
        "torchmetrics": "torchmetrics",
        "tensorboard": "tensorboard",
        **({"tomli": "tomli"} if sys.version_info < (3, 11) else {}),
    },
    "modelopt": {
        "modelopt": "nvidia-modelopt",
        "onnx_graphsurgeon": "onnx-graphsurgeon",
        "onnxslim": "onnxslim",
        "lief": "lief",
    },
    "tensorrt": {
        "tensorrt": "tensorrt",
        "polygraphy": "polygraphy",
        "pycuda": "pycuda",
        "cuda": "cuda-bindings",
        "onnx": "onnx",
    },
    "bench": {
        "pytest": "pytest",
        "pytest_benchmark": "pytest-benchmark",
        "matplotlib": "matplotlib",
        "psutil": "psutil",
    },
}

# GStreamer from Python, and the elements that read files.
APT_PACKAGES = (
    "python3-gi",
    "python3-gst-1.0",
    "gir1.2-gstreamer-1.0",
    "gir1.2-gst-plugins-base-1.0",
    "gstreamer1.0-plugins-base",
    "gstreamer1.0-plugins-good",
    "gstreamer1.0-libav",
)


def apt_line(packages: tuple[str, ...] | list[str]) -> str:
    return f"sudo apt-get install --no-install-recommends {' '.join(packages)}"


def pip_line(extra: str) -> str:
    """The command that installs an extra into the environment that is running now."""
    requirement = f"affectrt[{extra}]" if extra else "affectrt"
    # Left alone, pip may choose a build of torch with gigabytes of CUDA libraries; `make setup` does not.
    hint = "   (in a checkout: make setup)" if extra in {"export", "train", "modelopt"} else ""
    return f"{sys.executable} -m pip install '{requirement}'{hint}"


def missing_module_fix(module: str) -> str | None:
    """The command that brings a module that could not be imported; None for a module we do not know."""
    root = module.partition(".")[0]
    if root == "gi":
        return apt_line(APT_PACKAGES) + "   (and a virtual environment that sees it: make setup)"
    for extra, modules in MODULES.items():
        if root in modules:
            return pip_line(extra)
    return None
