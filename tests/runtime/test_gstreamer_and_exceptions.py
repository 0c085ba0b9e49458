"""GStreamer brings libunwind into the process; C++ exceptions of other libraries must live on."""

from __future__ import annotations

import subprocess
import sys

# In a process of its own: what is loaded first decides. The order is that of a run: media first, engines second.
PROGRAM = """
import numpy
from affectrt.runtime.sources.gst import gst
gst()
from affectrt.bundle.errors import EngineError
from affectrt.runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
try:
    OnnxRuntimeEngine(b"no graph", threads=1, provenance={})
except EngineError as error:
    print("told:", error.found)
"""


def test_an_engine_that_fails_after_gstreamer_is_loaded_tells_why() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, f"exit code {ran.returncode}: {ran.stderr[-2000:]}"
    assert ran.stdout.startswith("told: ONNX Runtime")
