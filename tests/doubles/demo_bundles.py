"""Both demo bundles, exported from the project's own weights and calibrated on a drawn clip: every graph there is.

Kept in a folder that is named after the code that made them, since three processes in turn want them.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from affectrt.bundle.store import Bundle, open_bundle

__all__ = ["demo_bundles", "drawn_clip"]

SYSTEMS = ("rcma", "cav")
SECONDS = 4.0
# Ranges need not be good here: the same graph runs on both sides of every comparison.
WINDOWS = 8


def demo_bundles(cache: Path) -> Mapping[str, Bundle]:
    """System → bundle with FP32, INT8 and FP16 graphs; made under `cache` where they are missing."""
    folder = cache / f"demo-{_code_hash()}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for system in SYSTEMS:
            if not (folder / f"{system}-demo.affect").exists():
                _make(system, folder)
    return {system: open_bundle(folder / f"{system}-demo.affect") for system in SYSTEMS}


def drawn_clip(path: Path) -> Path:
    """A person and a voice of a few seconds, made where there is no such file."""
    if not path.exists():
        from affectrt.training.synthetic import make_clip, make_identity, write_clip

        clip = make_clip(make_identity(0, 1), 0, seconds=SECONDS)
        draft = path.with_name(f"draft-{path.name}")
        write_clip(draft, clip.frames(), fps=clip.fps, samples=clip.samples, sample_rate_hz=clip.sample_rate_hz)
        draft.rename(path)
    return path


def _code_hash() -> str:
    digest = hashlib.sha256()
    for room in ("models", "export", "calibration", "bundle"):
        root = Path(importlib.import_module(f"affectrt.{room}").__path__[0])
        for path in sorted((*root.rglob("*.py"), *root.rglob("*.safetensors"))):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _make(system: str, folder: Path) -> None:
    from affectrt.calibration import calibrate_bundle
    from affectrt.export import export_bundle
    from affectrt.models.checkpoint import load_checkpoint
    from affectrt.training.recordings import record_spans

    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    weights = Path(importlib.import_module("affectrt.models").__path__[0]) / "weights" / f"{system}-demo.safetensors"
    loaded = load_checkpoint(weights)
    media = [drawn_clip(folder / "clip.mp4")]
    recordings = record_spans(loaded.model, media, per_stage=2, seed=0)
    made = export_bundle(loaded, work / f"{system}-demo.affect", recordings=recordings, name=f"{system}-demo")
    calibrate_bundle(made.path, media, windows=WINDOWS, seed=0)
    made.path.rename(folder / made.path.name)
    work.rmdir()
