"""Both demo bundles, exported from the project's own weights and calibrated on a drawn clip: every graph there is.

Kept in a folder that is named after the code that made them, since several processes in turn want them. They are made
in a process of their own, without simulated libraries: torch looks for TensorRT, and must not find a double.
By hand, from tests/: `python -m doubles.demo_bundles FOLDER`.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from affectrt.bundle.store import Bundle, open_bundle

__all__ = ["demo_bundles", "drawn_clip"]

SYSTEMS = ("rcma", "cav")
SECONDS = 4.0
# Ranges need not be good here: the same graph runs on both sides of every comparison.
WINDOWS = 8
CLIP = "clip.mp4"


def demo_bundles(cache: Path) -> Mapping[str, Bundle]:
    """System → bundle with FP32 and INT8 graphs; made under `cache` where they are missing."""
    folder = _folder(cache)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not all(_place(folder, system).exists() for system in SYSTEMS):
            _make_apart(folder)
    return {system: open_bundle(_place(folder, system)) for system in SYSTEMS}


def drawn_clip(cache: Path) -> Path:
    """A person and a voice of a few seconds, which the bundles were calibrated on."""
    demo_bundles(cache)
    return _folder(cache) / CLIP


def _folder(cache: Path) -> Path:
    digest = hashlib.sha256()
    for room in ("models", "export", "calibration", "bundle"):
        root = Path(importlib.import_module(f"affectrt.{room}").__path__[0])
        for path in sorted((*root.rglob("*.py"), *root.rglob("*.safetensors"))):
            digest.update(path.read_bytes())
    folder = cache / f"demo-{digest.hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _place(folder: Path, system: str) -> Path:
    return folder / f"{system}-demo.affect"


def _make_apart(folder: Path) -> None:
    simulated = ("PYTHONPATH", "LD_LIBRARY_PATH", "SIMULATED_TENSORRT")
    clean = {name: value for name, value in os.environ.items() if name not in simulated}
    command = [sys.executable, "-m", "doubles.demo_bundles", str(folder)]
    done = subprocess.run(
        command, env=clean, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the demo bundles could not be made:\n{done.stderr}")


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
    media = [folder / CLIP]
    recordings = record_spans(loaded.model, media, per_stage=2, seed=0)
    made = export_bundle(loaded, work / f"{system}-demo.affect", recordings=recordings, name=f"{system}-demo")
    calibrate_bundle(made.path, media, windows=WINDOWS, seed=0)
    made.path.rename(_place(folder, system))
    work.rmdir()


def _draw(path: Path) -> None:
    from affectrt.training.synthetic import make_clip, make_identity, write_clip

    clip = make_clip(make_identity(0, 1), 0, seconds=SECONDS)
    draft = path.with_name(f"draft-{path.name}")
    write_clip(draft, clip.frames(), fps=clip.fps, samples=clip.samples, sample_rate_hz=clip.sample_rate_hz)
    draft.rename(path)


def main(folder: Path) -> None:
    from affectrt.runtime.sources.gst import bind_unwinder

    bind_unwinder()
    if not (folder / CLIP).exists():
        _draw(folder / CLIP)
    for system in SYSTEMS:
        if not _place(folder, system).exists():
            _make(system, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
