"""The runs of the fusion in one segment: asked for with the windows they see, answered with estimates."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

import numpy as np

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import EngineError

from .asking import Asked, Done
from .engines.base import Array
from .estimate import Estimate, Quality
from .timeline import FeatureTimeline
from .track import VOICE, Pending, Track
from .windows import FusionWindows
from .words.line import WordLine

__all__ = ["FusionRuns", "Line"]

Line = FeatureTimeline | WordLine
"""The features of one modality by step."""


class FusionRuns:
    """Asks for runs over the timelines of tracks and keeps the estimates of each track number in order of time."""

    def __init__(self, contract: Contract, windows: FusionWindows, source: str | None, ask: Asked) -> None:
        self._contract = contract
        self._windows = windows
        self._source = source
        self._ask = ask
        self._limits = {output.name: (output.low, output.high) for output in contract.outputs}
        self._queues: dict[int, deque[Pending]] = {}
        self._made: list[Estimate] = []
        self.skipped_steps = 0

    @property
    def idle(self) -> bool:
        """Whether every run that was asked for has been answered or skipped."""
        return not any(self._queues.values())

    def queue(self, number: int) -> deque[Pending]:
        """Where a new life of a track waits for answers: behind its earlier lives, as long as those wait."""
        self._queues = {other: queue for other, queue in self._queues.items() if queue}
        return self._queues.get(number, deque())

    def take(self) -> list[Estimate]:
        """Estimates made since the last call, in order of time within each track."""
        estimates, self._made = self._made, []
        return estimates

    def ask(self, track: Track, last: int, shared: Mapping[str, Line]) -> None:
        """Ask for the run whose window ends at step `last`; a voice that is not heard at any step says nothing.

        `shared` are the lines that all tracks have in common, by modality.
        """
        held = self._windows.steps(last, track.first_step)
        fresh, fresh_rows = self._windows.estimated(held, track.emitted_until)
        steps, rows = list(fresh), list(fresh_rows)
        described = self._describe(track, steps, last, shared)
        if track.number == VOICE:
            heard = [at for at, (modalities, _) in enumerate(described) if modalities]
            steps, rows = [steps[at] for at in heard], [rows[at] for at in heard]
            described = [described[at] for at in heard]
        track.emitted_until = last + 1
        if not steps:
            return
        feeds: dict[str, Array] = {}
        for name, modality in self._contract.modalities.items():
            line = track.video if name == "video" else shared.get(name)
            if line is None:
                feeds[name] = np.zeros((self._contract.fusion.window_steps, modality.feature_dim), np.float32)
            else:
                feeds[name] = self._windows.features(line, held)
        pending = Pending(track.number, track.first_step, steps, rows, described)
        track.queue.append(pending)
        self._queues[track.number] = track.queue
        for stage in self._contract.fusion.stages:
            self._ask(stage.stage, track.number, last, feeds, self._gathering(track.queue, pending, stage.stage))

    def _describe(
        self, track: Track, steps: Iterable[int], last: int, shared: Mapping[str, Line]
    ) -> list[tuple[tuple[str, ...], Quality]]:
        words = shared.get("text")
        until_s = words.until_s(last) if isinstance(words, WordLine) else None
        described: list[tuple[tuple[str, ...], Quality]] = []
        for step in steps:
            there = {name: line.present(step) for name, line in shared.items()}
            there["video"] = track.video is not None and step in track.faces
            names = tuple(name for name in self._contract.modalities if there.get(name))
            px, score = track.faces.get(step, (None, None))
            described.append((names, Quality(px, score, audio=there.get("audio"), words_until_s=until_s)))
        return described

    def _gathering(self, queue: deque[Pending], pending: Pending, stage: str) -> Done:
        stages = len(self._contract.fusion.stages)

        def gather(result: Array | None) -> None:
            if result is not None:
                pending.results[stage] = result
            elif not pending.skipped:
                pending.skipped = True
                self.skipped_steps += len(pending.steps)
            # Results may come in any order; estimates leave in the order of time.
            while queue and (queue[0].skipped or len(queue[0].results) == stages):
                first = queue.popleft()
                if not first.skipped:
                    self._made.extend(self._estimates(first))

        return gather

    def _estimates(self, pending: Pending) -> Iterable[Estimate]:
        columns: dict[str, Array] = {}
        for stage in self._contract.fusion.stages:
            values = np.atleast_2d(pending.results[stage.stage])
            for column, name in enumerate(stage.outputs):
                columns[name] = np.clip(values[:, column], *self._limits[name])
        for step, row, (modalities, quality) in zip(pending.steps, pending.rows, pending.described, strict=True):
            values_at = {name: float(column[row]) for name, column in columns.items()}
            if not all(np.isfinite(v) for v in values_at.values()):
                raise EngineError(
                    f"the fusion gave an estimate that is not a number at step {step}",
                    expected="finite estimates",
                    fix="affectrt verify the bundle, or run it with --precision fp32",
                )
            yield Estimate(
                t_s=step / self._contract.step_hz,
                valence=values_at.get("valence"),
                arousal=values_at.get("arousal"),
                track=pending.number,
                modalities=modalities,
                quality=quality,
                warming_up=step - pending.first_step < self._contract.fusion.warm_up_steps,
                source=self._source,
            )
