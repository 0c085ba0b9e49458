"""Finders of faces: a detector every few frames, tracking between, and which finder a contract wants."""

from .choosing import choose_finder
from .yunet import Detection, YuNet
from .yunet_finder import YuNetFinder

__all__ = ["Detection", "YuNet", "YuNetFinder", "choose_finder"]
