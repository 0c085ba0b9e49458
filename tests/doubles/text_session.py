"""A model of three modalities in plain NumPy, and what its text windows must be, worked out without a session."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from doubles.numpy_model import RATE, STEP_HZ, contract, encode_audio, encode_video

from affectrt.bundle.contract import TEXT_INPUTS, Contract
from affectrt.runtime.words import Word, WordsChunk

__all__ = [
    "DIM_T",
    "TEXTS",
    "CountingReference",
    "CrcPieces",
    "TextScheduler",
    "clip",
    "split_plainly",
    "spoken",
    "text_contract",
    "text_window",
    "told",
]

DIM_T = 4
LENGTHS = (6, 12, 20)
MIX = np.random.default_rng(11).normal(size=(5 + 3 + DIM_T, 2)).astype(np.float32) / 4
MEAN, STD = 0.25, 1.5


def text_contract(
    modalities: Iterable[str] = ("video", "audio", "text"), *, max_words: int = 8, **shape: Any
) -> Contract:
    """The contract of `numpy_model`, with text, and of it what `modalities` name."""
    fields = contract(**shape).model_dump(mode="json")
    fields["text"] = {
        "stage": "text",
        "feature_dim": DIM_T,
        "token_lengths": LENGTHS,
        "pause_s": 0.3,
        "max_words": max_words,
        "mean": MEAN,
        "std": STD,
    }
    for name in {"video", "audio", "text"} - set(modalities):
        del fields[name]
    return Contract.model_validate(fields)


class CrcPieces:
    """Two pieces a word, told by its letters; the longest sentence has room for nine words."""

    def parts(self, words: Sequence[str]) -> list[dict[str, np.ndarray]]:
        room = (LENGTHS[-1] - 2) // 2
        return [self._feeds(words[at : at + room]) for at in range(0, len(words), room)]

    def _feeds(self, words: Sequence[str]) -> dict[str, np.ndarray]:
        pieces = [number for word in words for number in (zlib.crc32(word.encode()) % 1000 + 3, len(word) + 3)]
        length = next(n for n in LENGTHS if n >= len(pieces) + 2)
        rows = np.zeros((3, length), np.int64)
        rows[0, : len(pieces) + 2] = 1, *pieces, 2
        rows[1, : len(pieces) + 2] = 1
        rows[2, 1 : len(pieces) + 1] = np.repeat(np.arange(1, len(words) + 1), 2)
        return dict(zip(TEXT_INPUTS, rows, strict=True))


def encode_text(feeds: dict[str, np.ndarray]) -> np.ndarray:
    """A word's vector depends on its own pieces and on all of its sentence."""
    ids, index = feeds["token_ids"].astype(np.float64), feeds["word_index"]
    features = np.zeros((len(ids), DIM_T), np.float32)
    for word in range(1, int(index.max()) + 1):
        own = ids[index == word].sum()
        features[word - 1] = np.sin(own * np.arange(1, DIM_T + 1) / 7 + ids.sum() / 90)
    return features


def fuse(feeds: dict[str, np.ndarray], names: Sequence[str], per_step: bool) -> np.ndarray:
    wide = {"video": slice(0, 5), "audio": slice(5, 8), "text": slice(8, None)}
    total = np.zeros((len(next(iter(feeds.values()))), 2))
    for name in names:
        total += feeds[name].astype(np.float64) * np.linspace(1, 2, len(total))[:, None] @ MIX[wide[name]]
    values = np.tanh(total + total.mean(0) if per_step else total.mean(0))
    return np.asarray(values, np.float32)


class TextScheduler:
    """Computes requests one by one and counts them by stage."""

    def __init__(self, c: Contract) -> None:
        self.contract = c
        self.rows: Counter[str] = Counter()

    def infer(self, requests: Iterable[Any]) -> list[np.ndarray]:
        return [self._one(request) for request in requests]

    def _one(self, request: Any) -> np.ndarray:
        self.rows[request.stage] += 1
        if request.stage == "fusion":
            return fuse(request.feeds, list(self.contract.modalities), self.contract.fusion.output == "per_step")
        if request.stage == "text":
            return encode_text(request.feeds)
        return (
            encode_video(request.feeds["frames"])
            if request.stage == "video"
            else encode_audio(request.feeds["waveform"])
        )


def clip(seconds: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    count = round(seconds * STEP_HZ)
    frames = random.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return (
        frames,
        np.arange(count) / STEP_HZ,
        random.normal(0, 0.3, round(seconds * RATE)).astype(np.float32).clip(-1, 1),
    )


# -- what must come out ----------------------------------------------------------------------------------------------


def split_plainly(words: Sequence[Word], c: Contract) -> list[list[Word]]:
    """The written rule of section 4, over a whole transcript."""
    text = c.text
    assert text is not None
    sentences: list[list[Word]] = []
    for word in words:
        before = sentences[-1] if sentences else []
        full = before and before[-1].text.rstrip("\"'”’)]»")[-1:] in tuple(".!?…")
        if not before or full or word.start_s - before[-1].end_s >= text.pause_s or len(before) == text.max_words:
            sentences.append([])
        sentences[-1].append(word)
    return sentences


def word_vectors(words: Sequence[Word], c: Contract) -> list[np.ndarray]:
    vectors: list[np.ndarray] = []
    for sentence in split_plainly(words, c):
        for feeds in CrcPieces().parts([word.text for word in sentence]):
            count = int(feeds["word_index"].max())
            vectors += list((encode_text(feeds)[:count] - np.float32(MEAN)) / np.float32(STD))
    return vectors


def word_at(step: int, words: Sequence[Word]) -> int | None:
    """The first word with start < t ≤ end."""
    t = step / STEP_HZ
    return next((at for at, word in enumerate(words) if word.start_s < t <= word.end_s), None)


def text_features(c: Contract, words: Sequence[Word], count: int) -> np.ndarray:
    """The text feature of each step, shape (count, DIM_T)."""
    vectors = word_vectors(words, c)
    features = np.zeros((count, DIM_T), np.float32)
    for step in range(count):
        at = word_at(step, words)
        if at is not None:
            features[step] = vectors[at]
    return features


def text_window(c: Contract, words: Sequence[Word], steps: Sequence[int]) -> np.ndarray:
    """The text feature of each of `steps`, then zeros up to a whole window."""
    features = _features(c.model_dump_json(), tuple(words), 10 * (steps[-1] // 10 + 1))[list(steps)]
    return np.pad(features, ((0, c.fusion.window_steps - len(steps)), (0, 0)))


@lru_cache(maxsize=64)
def _features(contract_json: str, words: tuple[Word, ...], count: int) -> np.ndarray:
    return text_features(Contract.model_validate_json(contract_json), words, count)


class CountingReference:
    """Counts the sentences that appear or change, splitting all that is known afresh each time."""

    def __init__(self, c: Contract) -> None:
        self._contract = c
        self._encoded: list[tuple[str, ...]] = []
        self.changes = 0

    def now(self, words: Sequence[Word], reached: int) -> None:
        """These are the known words, and the media has come to all steps before `reached`."""
        left = Counter(self._encoded)
        self._encoded = []
        waiting: list[tuple[str, ...]] = []
        for sentence in split_plainly(words, self._contract):
            texts = tuple(word.text for word in sentence)
            first = next(
                k for k in range(math.floor(sentence[0].start_s * STEP_HZ), 10**9) if k / STEP_HZ > sentence[0].start_s
            )
            if left[texts]:
                left[texts] -= 1
                self._encoded.append(texts)
            elif first < reached:
                waiting.append(texts)
        self.changes += len(waiting)
        self._encoded += waiting


# -- a transcript and how it is told ---------------------------------------------------------------------------------

TEXTS = ("yes", "no.", "well-known", "I", "don't", "you?", "là", "so")


def spoken(random: np.random.Generator, seconds: float) -> list[Word]:
    """Words with pauses, overlaps, ends and beginnings just at steps, and sentences that repeat."""
    words: list[Word] = []
    at = float(random.choice([0.0, 0.04, 0.3]))
    while at < seconds:
        length = float(random.choice([0.01, 0.04, 0.12, 0.3, 0.55]))
        words.append(Word(str(random.choice(TEXTS)), round(at, 3), round(at + length, 3)))
        at = max(at, at + length + float(random.choice([0.0, 0.0, 0.01, 0.08, 0.31, 0.9, -0.1])))
    return words


def told(random: np.random.Generator, words: Sequence[Word], seconds: float) -> list[WordsChunk]:
    """The transcript as a recogniser tells it: what is final stays, what is not may be wrong or missing."""
    chunks, final, until = [], 0.0, 0.0
    while until < seconds:
        until += float(random.uniform(0.05, 1.2))
        since, final = final, float(random.choice([final, random.uniform(final, until), until]))
        guessed = [_guess(random, w, final) for w in words if since <= w.start_s < until]
        chunks.append(WordsChunk(sorted((w for w in guessed if w), key=lambda w: w.start_s), since, until, final))
    last = [w for w in words if w.start_s >= final]
    return [*chunks, WordsChunk(last, final, math.inf, math.inf)]


def _guess(random: np.random.Generator, word: Word, final: float) -> Word | None:
    fate = random.integers(0, 8) if word.start_s >= final else 7
    if fate == 0:
        return None
    if fate == 1:
        return Word(str(random.choice(TEXTS)), word.start_s, word.end_s)
    if fate == 2:
        start = max(final, word.start_s - 0.07)
        return Word(word.text, start, max(start, word.end_s - 0.05) + 0.01)
    return word
