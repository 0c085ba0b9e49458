"""From checkpoint to bundle: ONNX graphs, proved equal to PyTorch, that every backend can take."""

from .exporter import Recordings, export_bundle
from .operator_lint import operator_problems

__all__ = ["Recordings", "export_bundle", "operator_problems"]
