"""Lower precisions for a bundle: ranges from real inputs, graphs per target, and a guard on what they cost."""

from .calibrate import DEFAULT_METHOD, DEFAULT_WINDOWS, StageInt8, calibrate_bundle, calibrate_stage, check_wishes
from .conditions import Quantiser, ShareOfPeak
from .guard import Guard
from .guarded import calibrate_guarded
from .lint import qdq_problems
from .placement import Int8Target
from .ranges import METHODS, Method, Ranges

__all__ = [
    "DEFAULT_METHOD",
    "DEFAULT_WINDOWS",
    "METHODS",
    "Guard",
    "Int8Target",
    "Method",
    "Quantiser",
    "Ranges",
    "ShareOfPeak",
    "StageInt8",
    "calibrate_bundle",
    "calibrate_guarded",
    "calibrate_stage",
    "check_wishes",
    "qdq_problems",
]
