"""Which steps the fusion sees: when it runs, what each window holds, which rows of its answer are estimates."""

from __future__ import annotations

from collections.abc import Sequence

from affectrt.bundle.contract import Fusion

from .timeline import Features, FeatureTimeline
from .words.line import WordLine

__all__ = ["FusionWindows"]


class FusionWindows:
    """The windows of one segment, whose runs fall on a grid of `hop` steps counted from `first_step`.

    Every track runs on the segment's grid, wherever it begins, so that tracks batch together.
    """

    def __init__(self, fusion: Fusion, hop: int, first_step: int) -> None:
        self._fusion = fusion
        self._hop = hop
        self._first_run = first_step + hop - 1
        # A step is `stride · row` before some run or before none: all runs see it at the same place of the hop.
        self._held = {-row * fusion.stride_steps % hop for row in range(fusion.window_steps)}
        self.keep_steps = fusion.span_steps + hop

    def run_from(self, step: int) -> int:
        """The first step at or after `step` at which the fusion runs."""
        return step + (self._first_run - step) % self._hop

    def holds(self, step: int) -> bool:
        """Whether some window holds this step; the features of the others are never asked for."""
        return (step - self._first_run) % self._hop in self._held

    def steps(self, last: int, begin: int) -> range:
        """The steps of the window that ends at `last`, oldest first, of a track that begins at step `begin`."""
        stride = self._fusion.stride_steps
        known = min((last - begin) // stride + 1, self._fusion.window_steps)
        return range(last - (known - 1) * stride, last + 1, stride)

    def features(self, line: FeatureTimeline | WordLine, steps: range) -> Features:
        """The rows of `steps`, filled up to a whole window as the contract says."""
        repeat = self._fusion.short_window == "repeat_first"
        return line.window(steps, self._fusion.window_steps, repeat_first=repeat)

    def estimated(self, steps: range, emitted_until: int) -> tuple[range, Sequence[int]]:
        """The steps that the run over `steps` estimates, and the row of its answer for each of them."""
        if self._fusion.output == "per_window":
            return steps[-1:], (0,)
        fresh = range(max(emitted_until, steps[0]), steps[-1] + 1)
        return fresh, [step - steps[0] for step in fresh]

    def oldest_needed(self, emitted_until: int) -> int:
        """The oldest step that a window may still hold; the last run of a stream need not wait for a whole hop."""
        return emitted_until - self._fusion.span_steps + 1
