"""A bundle that reads words alone, exported from random weights once: torch takes long to export the smallest BERT.

Kept in a folder that is named after the code that made it, since several processes in turn want it.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib
from pathlib import Path

import numpy as np
from doubles import text_models
from doubles.text_models import PROVENANCE, random_text_model, text_config

from affectrt.bundle.store import Bundle, open_bundle
from affectrt.export import export_bundle
from affectrt.models import load_checkpoint, save_checkpoint

__all__ = ["text_bundle"]


def text_bundle(cache: Path) -> Bundle:
    """FP32 alone; the weights are those of `random_text_model(text_config())`."""
    folder = _folder(cache)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = folder / "text.affect"
        if not made.exists():
            model = random_text_model(text_config())
            save_checkpoint(model, folder / "text.safetensors", PROVENANCE)
            loaded = load_checkpoint(folder / "text.safetensors")
            shape = (2, model.config.window_steps, model.config.text_dim)
            windows = {"text": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
            export_bundle(loaded, made, recordings={"fusion": windows})
    return open_bundle(made)


def _folder(cache: Path) -> Path:
    digest = hashlib.sha256(Path(text_models.__file__).read_bytes() + Path(__file__).read_bytes())
    for room in ("models", "export", "bundle"):
        root = Path(importlib.import_module(f"affectrt.{room}").__path__[0])
        for path in sorted(root.rglob("*.py")):
            digest.update(path.read_bytes())
    folder = cache / f"text-{digest.hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
