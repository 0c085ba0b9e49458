"""Judges of candidates: what a model is worth on a corpus, or how well it agrees with FP32 where no truth is known.

Both read files as a run does, at the contract's own hop, and keep nothing but rows of estimates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import EngineError, UsageError
from affectrt.bundle.manifest import Compared, Interval
from affectrt.bundle.strict_json import plain_text
from affectrt.runtime import Estimate, Request, Scheduler
from affectrt.runtime.engines.base import Array, Engine
from affectrt.runtime.words.pieces import Pieces

from .annotation import estimated_steps
from .corpus import Corpus, Split
from .media import picture_times
from .metrics import bootstrap_ci_over_videos, paired_bootstrap_over_videos
from .play import MAX_BATCH, Rows, beside_truth, corpus_in_words, output_names, play

__all__ = ["AgreementJudge", "CorpusJudge"]

SHOWN_FILES = 3


class CorpusJudge:
    """CCC against the annotation of a split, in the rows of `affectrt evaluate`.

    The first play, which is FP32's, sets how many rows each video has; where an estimate of a later one is not a
    number, every row of that video is NaN. `video_done` is told the name of each video that was played.
    """

    kind: Literal["truth"] = "truth"

    def __init__(
        self,
        corpus: Corpus,
        split: Split,
        contract: Contract,
        *,
        pieces: Pieces | None = None,
        seed: int = 0,
        video_done: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._contract = contract
        self._annotated = corpus.videos(split)
        self._truth: dict[int, Rows] = {}
        # A second way through the decoder, which need not be gone again for every candidate.
        self._times = cache(picture_times)
        media = [video.media_path for video in self._annotated]
        self._player = _Player(contract, media, pieces, self._rows, video_done)
        self._seed = seed
        self.corpus = corpus_in_words(corpus.name, split, tuple(contract.modalities), contract.described_steps)
        self.videos = len(self._annotated)
        self.outputs = output_names(contract)

    def play(self, engines: Mapping[str, Engine]) -> list[Rows]:
        """(rows, outputs) of every video."""
        return self._player.play(engines)

    def compare(self, reference: Sequence[Rows], candidate: Sequence[Rows]) -> dict[str, Compared]:
        """Raises EngineError where the candidate lacks estimates: left out, they would count for nothing."""
        _check_played(reference, candidate, self.videos)
        truth = [self._truth[index] for index in range(self.videos)]
        return {
            name: paired_bootstrap_over_videos(
                _column(reference, d), _column(candidate, d), _column(truth, d), seed=self._seed
            )
            for d, name in enumerate(self.outputs)
        }

    def _rows(self, index: int, estimates: Sequence[Estimate]) -> Rows:
        video = self._annotated[index]
        rows, self._truth[index] = beside_truth(self._contract, video, self._times(video.media_path), estimates)
        return rows


class AgreementJudge:
    """CCC between a candidate's estimates and FP32's, step by step, of media that nobody annotated.

    FP32 agrees with itself: its CCC is 1. Otherwise as `CorpusJudge`.
    """

    kind: Literal["agreement"] = "agreement"

    def __init__(
        self,
        media: Sequence[Path],
        contract: Contract,
        *,
        pieces: Pieces | None = None,
        seed: int = 0,
        video_done: Callable[[str], None] = lambda name: None,
    ) -> None:
        if not media:
            raise UsageError("no media to compare on", expected="at least two recordings")
        self._contract = contract
        self._player = _Player(contract, media, pieces, self._rows, video_done)
        self._seed = seed
        self.corpus = _listed(media)
        self.videos = len(media)
        self.outputs = output_names(contract)

    def play(self, engines: Mapping[str, Engine]) -> list[Rows]:
        """(rows, outputs) of every file; a row is a step that has an estimate."""
        return self._player.play(engines)

    def compare(self, reference: Sequence[Rows], candidate: Sequence[Rows]) -> dict[str, Compared]:
        """Raises EngineError where the candidate lacks estimates, UsageError where FP32 always says the same."""
        _check_played(reference, candidate, self.videos)
        return {
            name: self._agreement(name, _column(reference, d), _column(candidate, d))
            for d, name in enumerate(self.outputs)
        }

    def _agreement(self, name: str, reference: Sequence[Rows], candidate: Sequence[Rows]) -> Compared:
        every = np.concatenate(reference)
        if len(every) > 0 and np.ptp(every) == 0:
            raise UsageError(
                f"FP32's {name} never changes on {self.corpus}: agreement with it would say nothing",
                expected="media in which people and their voices change",
                fix="name other media, or a corpus with annotation",
            )
        found = bootstrap_ci_over_videos(candidate, reference, seed=self._seed)
        if found.low is None or found.high is None:
            return Compared(reference=Interval(value=1), candidate=found, loss=Interval(value=1 - found.value))
        return Compared(
            reference=Interval(value=1, low=1, high=1),
            candidate=found,
            loss=Interval(value=1 - found.value, low=1 - found.high, high=1 - found.low),
        )

    def _rows(self, index: int, estimates: Sequence[Estimate]) -> Rows:
        return estimated_steps(estimates, self.outputs, self._contract.step_hz)[1]


class _NotFiniteError(Exception):
    """A fusion gave NaN or infinity: of FP32 a broken model, of a candidate an answer that does not count."""


class _Player:
    """Plays the same files for every candidate; `rows` makes of the estimates of file number i what is compared."""

    def __init__(
        self,
        contract: Contract,
        media: Sequence[Path],
        pieces: Pieces | None,
        rows: Callable[[int, Sequence[Estimate]], Rows],
        done: Callable[[str], None],
    ) -> None:
        self._contract, self._media, self._pieces = contract, tuple(media), pieces
        self._rows, self._done = rows, done
        self._shapes: dict[int, tuple[int, ...]] = {}

    def play(self, engines: Mapping[str, Engine]) -> list[Rows]:
        return [self._play_one(index, path, engines) for index, path in enumerate(self._media)]

    def _play_one(self, index: int, path: Path, engines: Mapping[str, Engine]) -> Rows:
        scheduler = Scheduler(self._contract, engines, MAX_BATCH)
        try:
            estimates = play(
                self._contract,
                path,
                lambda requests: self._finite(requests, scheduler.infer(requests)),
                pieces=self._pieces,
            )
        except _NotFiniteError:
            if index not in self._shapes:
                raise EngineError(
                    f"the model gave an estimate that is not a number on {path}",
                    expected="finite estimates from FP32",
                    fix="affectrt verify the bundle",
                ) from None
            rows = np.full(self._shapes[index], np.nan)
        else:
            rows = self._rows(index, estimates)
            self._shapes[index] = rows.shape
        self._done(path.name)
        return rows

    def _finite(self, requests: Sequence[Request], results: Sequence[Array]) -> Sequence[Array]:
        """Features may be what they like as long as the fusion makes a number of them."""
        encoders = self._contract.encoder_stages
        for request, result in zip(requests, results, strict=True):
            if request.stage not in encoders and not np.isfinite(result.astype(np.float64)).all():
                raise _NotFiniteError
        return results


def _check_played(reference: Sequence[Rows], candidate: Sequence[Rows], videos: int) -> None:
    if not len(reference) == len(candidate) == videos:
        raise ValueError(f"{len(reference)} and {len(candidate)} videos were played; expected {videos}")
    lost = sum(int((~np.isnan(x) & np.isnan(y)).sum()) for x, y in zip(reference, candidate, strict=True))
    if lost:
        raise EngineError(
            f"{lost} estimates that FP32 gives are missing or not a number",
            expected="an estimate wherever FP32 gives one",
            fix="keep more layers in higher precision",
        )


def _column(played: Sequence[Rows], d: int) -> list[Rows]:
    return [rows[:, d] for rows in played]


def _listed(media: Sequence[Path]) -> str:
    """The first names, for people: of any file, so nothing that a manifest could not hold or a terminal would obey."""
    names = [plain_text(path.name) for path in media[:SHOWN_FILES]]
    more = len(media) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
