"""The newest crops of one track side by side in memory, so that the span of a step is a view on them and no copy."""

from __future__ import annotations

import numpy as np

from .engines.base import Array
from .faces import Frame

__all__ = ["CropSpans"]


class CropSpans:
    """Spans of `frames` crops, oldest first; at the beginning the first crop stands for those before it.

    Pushing never writes where an earlier span looks, so a span stays valid for as long as somebody holds it. It keeps
    up to `2 · frames` crops alive: who keeps spans for long copies them.
    """

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self._crops: Array | None = None
        self._end = 0

    def push(self, crop: Frame) -> Array:
        """Take the next crop (px, px, 3); the span that ends with it, (frames, px, px, 3), or of one frame the crop."""
        if self._frames == 1:
            return crop
        lead = self._frames - 1
        if self._crops is None:
            self._crops = np.empty((2 * self._frames, *crop.shape), crop.dtype)
            self._crops[:lead] = crop
            self._end = lead
        elif self._end == len(self._crops):
            fresh = np.empty_like(self._crops)
            fresh[:lead] = self._crops[self._end - lead :]
            self._crops, self._end = fresh, lead
        self._crops[self._end] = crop
        self._end += 1
        return self._crops[self._end - self._frames : self._end]
