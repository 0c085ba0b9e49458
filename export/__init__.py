"""From checkpoint to bundle: ONNX graphs, proved equal to PyTorch, that every backend can take."""

from .exporter import Recordings, export_bundle
from .operator_lint import OperatorProblem, check_operators, operator_problems

__all__ = ["OperatorProblem", "Recordings", "check_operators", "export_bundle", "operator_problems"]
