"""INT8 for a bundle: ranges from real inputs, quantised graphs per target, and rules that they must keep."""

from .calibrate import DEFAULT_METHOD, DEFAULT_WINDOWS, StageInt8, calibrate_bundle, calibrate_stage
from .lint import qdq_problems
from .ranges import METHODS, Method, Ranges

__all__ = [
    "DEFAULT_METHOD",
    "DEFAULT_WINDOWS",
    "METHODS",
    "Method",
    "Ranges",
    "StageInt8",
    "calibrate_bundle",
    "calibrate_stage",
    "qdq_problems",
]
