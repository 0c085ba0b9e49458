"""TensorRT engines: built on the machine that runs them, each with a record of what it is."""

from .builder import Built, build_engine
from .bundle_builder import build_bundle
from .progress import BuildProgress, Silence

__all__ = ["BuildProgress", "Built", "Silence", "build_bundle", "build_engine"]
