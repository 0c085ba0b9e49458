"""Engines: a bundle's graphs made executable on one device."""

from .backend_choice import BACKENDS, Choice, choose_backend, target_of
from .base import Array, Engine, TensorSpec
from .engine_cache import EngineCache
from .opening import open_engine, open_engines

__all__ = [
    "BACKENDS",
    "Array",
    "Choice",
    "Engine",
    "EngineCache",
    "TensorSpec",
    "choose_backend",
    "open_engine",
    "open_engines",
    "target_of",
]
