"""Features of a whole corpus by frozen encoders, one file for each recording: computed once, read by every fusion."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from affectrt.bundle.contract import Contract
from affectrt.models.checkpoint import LoadedCheckpoint

from .annotation import annotation_of_steps
from .corpus import Corpus, CorpusVideo, Split
from .features import features_of
from .media import picture_times
from .recordings import record_video
from .train import columns_of
from .train_encoders import Example
from .train_fusion import Features

__all__ = ["SPLITS", "encode_corpus", "read_features"]

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
FORMAT = 1  # raise it with every change that makes other features from the same recording and encoders


def encode_corpus(
    checkpoint: LoadedCheckpoint,
    corpus: Corpus,
    grid_steps: int,
    cache: Path,
    *,
    recording_done: Callable[[], None] = lambda: None,
) -> Mapping[Split, tuple[Path, ...]]:
    """The files of every split's features, in `cache`; those that are there already are not computed again.

    Of training recordings also those of the mirrored face.
    """
    contract = Contract.model_validate(checkpoint.model.contract())
    files: dict[Split, tuple[Path, ...]] = {}
    for split in SPLITS:
        of_split = []
        for video in corpus.videos(split):
            path = cache / f"{video.name}-{_key(checkpoint, video, split, grid_steps)}.npz"
            if not path.exists():
                _write(path, _encoded(checkpoint, contract, video, grid_steps, mirrored=split == "train"))
            of_split.append(path)
            recording_done()
        files[split] = tuple(of_split)
    return files


def read_features(path: Path) -> Features:
    """What `encode_corpus` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        variants: dict[str, list[npt.NDArray[np.float32]]] = {}
        for name in sorted(arrays.files):
            modality, _, variant = name.partition(".")
            if variant:
                variants.setdefault(modality, []).append(arrays[name])
        return Features(variants, arrays["truth"])


def _encoded(
    checkpoint: LoadedCheckpoint, contract: Contract, video: CorpusVideo, grid_steps: int, *, mirrored: bool
) -> Features:
    spans = record_video(contract, video.media_path, margin=True)
    truth = annotation_of_steps(video.truth, picture_times(video.media_path), spans.steps, contract.step_hz)
    example = Example(spans, truth[:, columns_of(contract)])
    return features_of(checkpoint.model, contract, example, grid_steps, mirrored=mirrored)


def _write(path: Path, features: Features) -> None:
    arrays = {f"{name}.{at}": rows for name, found in features.variants.items() for at, rows in enumerate(found)}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    with unfinished.open("wb") as file:
        np.savez(file, allow_pickle=False, truth=features.truth, **arrays)
    unfinished.replace(path)


def _key(checkpoint: LoadedCheckpoint, video: CorpusVideo, split: Split, grid_steps: int) -> str:
    media = hashlib.sha256(video.media_path.read_bytes() + video.truth.tobytes()).hexdigest()
    decides: list[object] = [FORMAT, checkpoint.sha256, media, split, grid_steps]
    if "text" in checkpoint.model.encoders and video.words_path is not None:
        decides.append(hashlib.sha256(video.words_path.read_bytes()).hexdigest())
    told = json.dumps(decides)
    return hashlib.sha256(told.encode()).hexdigest()[:16]
