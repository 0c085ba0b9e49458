"""A small prepared corpus whose truth can be seen and heard: light is valence, loudness is arousal."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from affectrt.bundle.contract import Contract
from affectrt.runtime.words import Word
from affectrt.runtime.words.transcript import write_transcript
from affectrt.training.prepared_record import CORPUS_FILE, FORMAT, VIDEOS

__all__ = ["make_toy_corpus", "truth_of"]


def truth_of(steps: int, seed: int) -> np.ndarray:
    """(steps, 2) smooth curves in [-0.9, 0.9]."""
    rng = np.random.default_rng(seed)
    time = np.arange(steps)[:, None] / 25
    rate, phase = rng.uniform(0.1, 0.3, 2), rng.uniform(0, 2 * np.pi, 2)
    return (0.9 * np.sin(2 * np.pi * rate * time + phase)).astype(np.float32)


def make_toy_corpus(
    root: Path,
    contract: Contract,
    *,
    train: tuple[int, ...] = (40, 50),
    validation: tuple[int, ...] = (45,),
    unannotated: tuple[int, ...] = (),
    unseen: tuple[int, ...] = (),
    spoken: tuple[int, ...] = (),
    seed: int = 1,
) -> Path:
    """`train`, `validation`: steps of each video; `unannotated`, `unseen`: steps of every video without label, face;
    `spoken`: numbers of the videos that have a transcript, train before validation."""
    videos = []
    lengths = [("train", steps) for steps in train] + [("validation", steps) for steps in validation]
    for number, (split, steps) in enumerate(lengths):
        name = f"{split}-{number:03d}"
        arrays = _arrays(contract, steps, seed * 100 + number)
        for step in unannotated:
            arrays["labels"][step] = np.nan
        kept = np.setdiff1d(np.arange(steps), unseen)
        arrays["crop_of_step"][:] = -1
        arrays["crop_of_step"][kept] = np.arange(len(kept))
        arrays["crops"] = arrays["crops"][kept]
        folder = root / VIDEOS / name
        folder.mkdir(parents=True)
        files = {}
        for what, array in arrays.items():
            np.save(folder / f"{what}.npy", array, allow_pickle=False)
            content = (folder / f"{what}.npy").read_bytes()
            files[f"{what}.npy"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        words = _words(steps / contract.step_hz, seed * 100 + number) if number in spoken else None
        if words is not None:
            write_transcript(folder / "words.json", words)
            content = (folder / "words.json").read_bytes()
            files["words.json"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        crop_px = arrays["crops"].shape[1]
        counts = {
            "pictures": steps,
            "crops": len(kept),
            "crop_px": crop_px,
            "samples": len(arrays["waveform"]),
            "seen": len(kept),
            "heard": steps,
            "words": len(words or ()),
            "annotated": int((~np.isnan(arrays["labels"]).any(axis=1)).sum()),
        }
        videos.append(
            {
                "name": name,
                "split": split,
                "steps": steps,
                "step_hz": contract.step_hz,
                "media": f"{name}.mp4",
                "media_bytes": 1,
                "seconds": steps / contract.step_hz,
                "files": files,
                **counts,
            }
        )
    parts = contract.model_dump(mode="json", include={"step_hz", "video", "audio", "text"})
    record = {
        "format": FORMAT,
        "kind": "synthetic",
        "clock": "steps",
        "faces": "whole",
        "contract": parts,
        "made_by": {"affectrt": "0", "opencv": "0", "gstreamer": "0"},
        "licence": "CC0-1.0",
        "videos": videos,
    }
    (root / CORPUS_FILE).write_text(json.dumps(record), encoding="utf-8")
    return root


def _arrays(contract: Contract, steps: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = truth_of(steps, seed)
    video, audio = contract.video, contract.audio
    assert video is not None and audio is not None
    side = video.resize_px
    light = (127.5 + 110 * truth[:, 0])[:, None, None, None] + rng.normal(0, 4, (steps, side, side, 3))
    starts = np.array([audio.span_start(step, contract.step_hz) for step in range(steps)])
    first, last = int(starts.min()), int(starts.max()) + audio.span_samples
    # the sound of a step lies in the first, or last, 640 samples of its span
    at = np.clip((np.arange(first, last) * contract.step_hz / audio.sample_rate_hz).astype(int), 0, steps - 1)
    level = 0.02 + 0.3 * (truth[at, 1] + 1) / 2
    sound = (level * rng.normal(0, 1, last - first)).clip(-1, 1).astype(np.float32)
    end = round(steps * audio.sample_rate_hz / contract.step_hz) - first
    sound[: max(0, -first)], sound[end:] = 0, sound[end - 1]  # as a run pads what it has not heard
    return {
        "crops": np.clip(light, 0, 255).astype(np.uint8),
        "crop_of_step": np.arange(steps, dtype=np.int32),
        "waveform": sound,
        "start_of_step": (starts - first).astype(np.int64),
        "labels": truth.copy(),
        "times": np.arange(steps) / contract.step_hz,
    }


def _words(seconds: float, seed: int) -> list[Word]:
    """Words with pauses, overlaps and a sentence's end among them; the last one may last beyond the video."""
    rng = np.random.default_rng([seed, 7])
    words, at = [], 0.1
    while at < seconds:
        text = str(rng.choice(["Good", "day.", "sunny", "sad", "well-known", "don't", "unheard-of"]))
        end = at + float(rng.choice([0.08, 0.2, 0.33]))
        words.append(Word(text, round(at, 3), round(end, 3)))
        at = end + float(rng.choice([0.0, 0.04, 0.21, -0.05]))
    return words
