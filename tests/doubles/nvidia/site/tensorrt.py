"""`import tensorrt` in the child: the strict module, built from the description that the environment names."""

import json
import os
import sys
from pathlib import Path

from doubles.nvidia.strict import build_module

module = build_module(json.loads(Path(os.environ["SIMULATED_TENSORRT"]).read_text(encoding="utf-8")))
module.__spec__ = __spec__  # PyTorch asks every module that it knows by name where it came from
sys.modules[__name__] = module
