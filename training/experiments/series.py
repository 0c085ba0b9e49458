"""Windows of a prepared corpus: which there are, what each shows, sounds like and should be read as."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import UsageError
from affectrt.training.annotation import OUTPUTS
from affectrt.training.feature_cache import FeatureCache
from affectrt.training.prepared import PreparedVideo
from affectrt.training.recordings import Spans
from affectrt.training.train_fusion import dropped

from .rules import Rules
from .windows import ClipWindow, Window, Windows, author_clip_windows, clip_windows, series_windows
from .words import Scale, said

__all__ = ["Item", "WindowSet", "compact"]

Item = dict[str, npt.NDArray[np.generic]]

_OPEN_VIDEOS = 32  # their maps and the rows of their spans, in each process


class WindowSet:
    """All windows over some videos, for one network.

    An item has, for S spans (300 steps of RCMA, 8 clips of CAV) and T estimates (300, or 1): `frames` uint8
    (S, [clip_frames,] crop, crop, 3); `waveform` float32 and `starts` (S,) of the spans in it; `seen`, `heard` bool
    (S,); instead of these, of each modality in `features`, `<modality>_features` float32 (S, feature_dim), words as the
    fusion takes them; `filled` bool (S,), False where the window is padded; `truth` float32 (T, outputs), `mask` bool
    (T,); `index`, its own. `scale`: of the words, where it is not the contract's.
    """

    def __init__(
        self,
        videos: Sequence[PreparedVideo],
        contract: Contract,
        rules: Rules,
        *,
        hop: int,
        scored: bool,
        features: FeatureCache | None = None,
        scale: Scale | None = None,
    ) -> None:
        self._videos, self._contract, self._rules, self._features = videos, contract, rules, features
        if contract.text is not None:
            self._scale = scale or Scale(contract.text.mean, contract.text.std)
            self._said = [said(video) for video in videos]
        self.per_window = contract.fusion.output == "per_window"
        self._columns = [OUTPUTS.index(output.name) for output in contract.outputs]
        self._truth = [np.asarray(video.truth()[:, self._columns]) for video in videos]
        annotated = [np.asarray(~np.isnan(truth).any(axis=1)) for truth in self._truth]
        compacted = rules.rows == "annotated"
        self._rows = [np.flatnonzero(known) if compacted else np.arange(len(known)) for known in annotated]
        self._open: dict[int, Spans] = {}
        cut = self._clips if self.per_window else self._series
        self.windows = Windows([cut(index, known, hop) for index, known in enumerate(annotated)])
        if not self.windows:
            raise UsageError(
                f"the {'validation' if scored else 'training'} videos have not one window with an annotation",
                expected="annotated videos; for CAV longer than 128 frames",
                fix="affectrt prepare … --report page.html says what was dropped and why",
            )
        lengths = [0, *np.cumsum([len(rows) for rows in self._rows]).tolist()]
        self._offsets = lengths[:-1]
        self.scored_rows: int = len(self.windows) if self.per_window else lengths[-1]

    def __len__(self) -> int:
        return len(self.windows)

    def places(self, index: int) -> range:
        """Rows of `truth_rows` that a window's T estimates stand for; its padding has none."""
        window = self.windows[index]
        if self.per_window:
            return range(index, index + 1)
        return range(
            self._offsets[window.video] + window.start, self._offsets[window.video] + window.start + window.rows
        )

    def truth_rows(self) -> npt.NDArray[np.float32]:
        """(scored_rows, outputs): the annotation of every row that is estimated; NaN where there is none."""
        if self.per_window:
            return np.concatenate([self._means(video) for video in range(len(self._videos))])
        return np.concatenate([truth[rows] for truth, rows in zip(self._truth, self._rows, strict=True)])

    def item(self, index: int, rng: np.random.Generator | None = None, drop: float = 0.0) -> Item:
        """With `rng`, cut at a random place, mirrored or not, and with each modality lost with probability `drop`."""
        window = self.windows[index]
        contract, fusion = self._contract, self._contract.fusion
        video_steps, audio_steps = self._steps(window)
        count = len(video_steps)
        item: Item = {"index": np.asarray(index), "filled": np.arange(fusion.window_steps) < count}
        lost = dropped(list(contract.modalities), drop, rng) if rng is not None else frozenset()
        cached = self._features.rows(self._videos[window.video].name) if self._features is not None else {}
        mirrored = "video-mirrored" in cached and rng is not None and rng.random() < 0.5
        for modality, record in contract.modalities.items():
            steps = video_steps if modality == "video" else audio_steps
            if modality in cached:
                shown = np.zeros((fusion.window_steps, record.feature_dim), np.float32)
                if modality not in lost:
                    shown[:count] = cached["video-mirrored" if mirrored and modality == "video" else modality][steps]
                    shown = self._as_read(shown, window.video, steps) if modality == "text" else shown
                item[f"{modality}_features"] = shown
            elif modality == "video":
                item |= self._seen(self._spans(window.video), steps, rng, "video" in lost)
            elif modality == "audio":
                item |= self._heard(self._spans(window.video), steps, "audio" in lost)
        return item | self._target(window)

    def _as_read(
        self, vectors: npt.NDArray[np.float32], video: int, steps: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        scaled: npt.NDArray[np.float32] = (vectors - np.float32(self._scale.mean)) / np.float32(self._scale.std)
        if self._rules.words == "said":
            there = np.zeros(len(scaled), bool)
            there[: len(steps)] = self._said[video][steps]
            scaled[~there] = 0
        return scaled

    def _clips(self, index: int, known: npt.NDArray[np.bool_], hop: int) -> npt.NDArray[np.int32]:
        fusion = self._contract.fusion
        frames = self._contract.described_steps
        labels = int(np.flatnonzero(known)[-1]) + 1 if known.any() else 0
        author = self._rules.clips == "author"
        places: list[ClipWindow] = (author_clip_windows if author else clip_windows)(labels, frames, hop)
        missing = np.concatenate([[0], np.cumsum(~known)])
        kept = [p for p in places if missing[p.label + frames] == missing[p.label]]
        if author and self._contract.video is not None:
            unseen = np.concatenate([[0], np.cumsum(~self._spans(index).present("video"))])
            kept = [p for p in kept if unseen[p.video + frames] == unseen[p.video]]
        assert fusion.window_steps * fusion.stride_steps == frames
        return _table([(index, p.label, frames, p.video, p.audio) for p in kept])

    def _series(self, index: int, known: npt.NDArray[np.bool_], hop: int) -> npt.NDArray[np.int32]:
        rows = self._rows[index]
        size = self._contract.fusion.window_steps
        starts = series_windows(len(rows), size, hop)
        # One annotated step has no variance to be in concordance with.
        kept = [start for start in starts if int(known[rows[start : start + size]].sum()) > 1]
        return _table([(index, start, min(size, len(rows)), start, start) for start in kept])

    def _steps(self, window: Window) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The step of every span that the window has, of video and of audio."""
        if self.per_window:
            stride = self._contract.fusion.stride_steps
            ends = np.arange(stride - 1, window.rows, stride)
            return window.video_start + ends, window.audio_start + ends
        steps = self._rows[window.video][window.start : window.start + window.rows]
        return steps, steps

    def _seen(self, spans: Spans, steps: npt.NDArray[np.int64], rng: np.random.Generator | None, lost: bool) -> Item:
        video, size = self._contract.video, self._contract.fusion.window_steps
        assert video is not None
        frames, px = video.span_frames, video.crop_px
        shown = np.zeros((size, frames, px, px, 3), np.uint8)
        seen = np.zeros(size, bool)
        rows = spans.crops_of_step[steps][:, -frames:]
        present = rows[:, -1] >= 0
        room = spans.crops.shape[1] - px if len(spans.crops) else 0
        top, left = (room // 2, room // 2) if rng is None else (int(rng.integers(room + 1)) for _ in range(2))
        mirrored = np.zeros(len(steps), bool)
        if rng is not None:
            by_clip = self._rules.mirror == "clip"
            mirrored = rng.random(len(steps)) < 0.5 if by_clip else np.full(len(steps), rng.random() < 0.5)
        if not lost and present.any():
            # one read for each run of crops; neighbouring clips of one picture each would be as many reads otherwise
            wanted, place = np.unique(rows[present], return_inverse=True)
            crops = np.asarray(spans.crops[wanted][:, top : top + px, left : left + px])
            cut = crops[place.reshape(rows[present].shape)]
            flip = mirrored[present]
            cut[flip] = cut[flip][:, :, :, ::-1]
            shown[: len(steps)][present] = cut
            seen[: len(steps)] = present
        return {"frames": shown if len(video.input.shape) > 3 else shown[:, 0], "seen": seen}

    def _heard(self, spans: Spans, steps: npt.NDArray[np.int64], lost: bool) -> Item:
        size = self._contract.fusion.window_steps
        starts, heard = np.zeros(size, np.int64), np.zeros(size, bool)
        waveform = np.zeros(spans.span_samples, np.float32)
        there = spans.start_of_step[steps]
        present = there >= 0
        if not lost and present.any():
            waveform, moved = compact(spans.waveform, there[present], spans.span_samples)
            starts[: len(steps)][present] = moved
            heard[: len(steps)] = present
        return {"waveform": waveform, "starts": starts, "heard": heard}

    def _target(self, window: Window) -> Item:
        outputs = len(self._columns)
        if self.per_window:
            return {"truth": self._mean(window)[None], "mask": np.ones(1, bool)}
        size = self._contract.fusion.window_steps
        truth, mask = np.zeros((size, outputs), np.float32), np.zeros(size, bool)
        rows = self._rows[window.video][window.start : window.start + window.rows]
        labels = self._truth[window.video][rows]
        mask[: len(rows)] = ~np.isnan(labels).any(axis=1)
        truth[: len(rows)] = np.nan_to_num(labels)
        return {"truth": truth, "mask": mask}

    def _mean(self, window: Window) -> npt.NDArray[np.float32]:
        labels = self._truth[window.video][window.start : window.start + window.rows]
        mean: npt.NDArray[np.float32] = labels.mean(axis=0, dtype=np.float64).astype(np.float32)
        return mean

    def _means(self, video: int) -> npt.NDArray[np.float32]:
        """Those of all windows of a video at once: of three million, one by one, they would take minutes."""
        starts = self.windows.starts(video)
        if not len(starts):
            return np.zeros((0, len(self._columns)), np.float32)
        spans = np.lib.stride_tricks.sliding_window_view(self._truth[video], self._contract.described_steps, axis=0)
        means: npt.NDArray[np.float32] = spans[starts].mean(axis=-1, dtype=np.float64).astype(np.float32)
        return means

    def _spans(self, video: int) -> Spans:
        if video not in self._open:
            if len(self._open) >= _OPEN_VIDEOS:
                self._open.pop(next(iter(self._open)))
            frames = self._contract.video.span_frames if self._contract.video is not None else None
            self._open[video] = self._videos[video].spans(frames)
        return self._open[video]


def _table(windows: Sequence[tuple[int, int, int, int, int]]) -> npt.NDArray[np.int32]:
    return np.array(windows, np.int32).reshape(-1, 5)


def compact(
    waveform: npt.NDArray[np.float32], starts: npt.NDArray[np.int64], samples: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """The stretches of a waveform that some span covers, one after the other, and where in them each span starts.

    `starts` (n,), ascending. Spans overlap: 300 of a second each are 13 seconds, not 300.
    """
    apart = np.flatnonzero(np.diff(starts) > samples) + 1
    pieces, moved, filled = [], np.empty_like(starts), 0
    for run in np.split(np.arange(len(starts)), apart):
        first, end = int(starts[run[0]]), int(starts[run[-1]]) + samples
        pieces.append(np.asarray(waveform[first:end], np.float32))
        moved[run] = starts[run] - first + filled
        filled += end - first
    return np.concatenate(pieces), moved
