"""`make gpu-check`: everything real, on any machine with an NVIDIA GPU; its figures into one JSON file.

In the order of the work: `state` and `software` (what is here) → `parts` (PyCUDA and cuda-bindings) → `kernel`,
`memory`, `copies`, `peaks` (what CUDA does) → `bundles`, `engines`, `accuracy` (what engines do) → `roofline` (what
PyTorch does) → `figures`, `record`, `table` (what is kept and shown). `steps` does each on its own, `check` all.
"""

from .check import run_check
from .figures import Findings
from .record import GpuCheck, read_check, save_check
from .steps import Settings

__all__ = ["Findings", "GpuCheck", "Settings", "read_check", "run_check", "save_check"]
