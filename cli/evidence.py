"""What calibration stands on: the media that ranges come from, and the set that candidates are judged on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from affectrt.bundle.errors import UsageError

from .media import media_from_paths

if TYPE_CHECKING:
    from affectrt.bundle.contract import Contract
    from affectrt.calibration.data import MediaFile
    from affectrt.calibration.guarded import JudgeOf
    from affectrt.runtime.sources import Source
    from affectrt.training.corpus import Corpus, Split, Truth

__all__ = ["EvaluationSet", "evaluation_set", "known_media", "open_evidence"]

# What is not for training, in the order of preference: real releases keep the labels of the last one to themselves.
HELD_OUT: tuple[Split, ...] = ("test", "validation")
NAME_ONE = "--evaluate CORPUS, or --evaluate RECORDING --evaluate RECORDING …"


@dataclass(frozen=True)
class EvaluationSet:
    """`files`: what `judge_of` will play under a contract."""

    files: tuple[MediaFile, ...]
    judge_of: JudgeOf


def known_media(paths: Sequence[Path]) -> list[MediaFile]:
    """Media files with the people and the annotation that the corpus around a file knows of it, if there is one."""
    from affectrt.calibration.data import MediaFile
    from affectrt.training.corpus import corpus_around

    opened, annotated = cache(_opened), cache(_annotated)
    found = []
    for path in paths:
        root = corpus_around(path.absolute())
        corpus = opened(root) if root is not None else None
        if corpus is None:
            found.append(MediaFile(path))
        else:
            found.append(MediaFile(path, _people(corpus, path), annotated(corpus).get(path.name)))
    return found


def evaluation_set(
    paths: Sequence[Path] | None,
    media: Sequence[Path],
    *,
    seed: int = 0,
    video_done: Callable[[str], None] = lambda name: None,
) -> EvaluationSet:
    """Of a corpus its test split, or without one its validation split; media without truth as they are.

    Without `paths`, the corpus among `media`. `video_done` is told each file that was played. UsageError when there is
    nothing to judge on, or more than one corpus.
    """
    from affectrt.training.judge import AgreementJudge, CorpusJudge

    named = list(paths or [])
    corpora = [corpus for path in named or media if (corpus := _opened(path)) is not None]
    if len(corpora) > 1 or (named and corpora and len(named) > 1):
        raise UsageError(
            f"to judge on: {', '.join(map(str, named or media))}", expected="one corpus, or recordings", fix=NAME_ONE
        )
    if corpora:
        (corpus,) = corpora
        split = _held_out(corpus)
        return EvaluationSet(
            tuple(_files_of_split(corpus, split)),
            lambda contract, pieces: CorpusJudge(
                corpus, split, contract, pieces=pieces, seed=seed, video_done=video_done
            ),
        )
    if not named:
        raise UsageError(
            "there is nothing to judge candidates on",
            expected="a corpus, or recordings that the ranges do not come from",
            fix=NAME_ONE,
        )
    recordings = media_from_paths(named)
    return EvaluationSet(
        tuple(known_media(recordings)),
        lambda contract, pieces: AgreementJudge(recordings, contract, pieces=pieces, seed=seed, video_done=video_done),
    )


def open_evidence(contract: Contract, path: Path) -> Source:
    """A file to calibrate on, with the words that its corpus or a transcript beside it has; else recognised ones."""
    from affectrt.calibration.windows import open_with_words
    from affectrt.training.corpus import transcript_of
    from affectrt.training.media import open_media

    known = contract.text is not None and transcript_of(path) is not None
    return open_media(contract, path) if known else open_with_words(contract, path)


def _opened(path: Path) -> Corpus | None:
    from affectrt.training.corpus import Corpus

    try:
        return Corpus.open(path)
    except UsageError:  # not the layout of a corpus; a broken record is another error
        return None


def _held_out(corpus: Corpus) -> Split:
    for split in HELD_OUT:
        if split in corpus.splits:
            return split
    raise UsageError(
        f"{corpus.root} has annotation for training alone, which says nothing of people not seen before",
        expected="a test or a validation split",
        fix=NAME_ONE,
    )


def _files_of_split(corpus: Corpus, split: Split) -> list[MediaFile]:
    from affectrt.calibration.data import MediaFile

    paths = dict.fromkeys(video.media_path for video in corpus.videos(split))
    truths = _truths(corpus, split)
    return [MediaFile(path, _people(corpus, path), truths[path.name]) for path in paths]


def _annotated(corpus: Corpus) -> dict[str, Truth]:
    """File name → annotation, of all splits."""
    return {name: truth for split in corpus.splits for name, truth in _truths(corpus, split).items()}


def _truths(corpus: Corpus, split: Split) -> dict[str, Truth]:
    """File name → annotation; two people in one file are two videos of a corpus."""
    import numpy as np

    found: dict[str, Truth] = {}
    for video in corpus.videos(split):
        name = video.media_path.name
        found[name] = np.concatenate([found[name], video.truth]) if name in found else video.truth
    return found


def _people(corpus: Corpus, path: Path) -> tuple[str, ...]:
    # Drawn people of two seeds have the same names. Others are taken at their word, in whatever corpus they are.
    whose = "" if corpus.drawn_from is None else f" of seed {corpus.drawn_from}"
    named = (corpus.identities.get(path.stem + trial) for trial in ("", "_left", "_right"))
    return tuple(dict.fromkeys(name + whose for name in named if name))
