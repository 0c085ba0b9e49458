"""Engines: a bundle's graphs made executable on one device."""

from .base import Array, Engine, TensorSpec
from .opening import open_engine, open_engines

__all__ = ["Array", "Engine", "TensorSpec", "open_engine", "open_engines"]
