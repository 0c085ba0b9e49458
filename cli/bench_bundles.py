"""Bundles for the benchmark suites, of the demos' and the papers' size: random weights cost what real ones do."""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from affectrt.bundle import Contract, Precision
    from affectrt.models.configuration import Config
    from affectrt.models.rcma_config import RcmaConfig

__all__ = ["TEXT_PRECISIONS", "BenchMedia", "prepare_bundles", "prepare_text_bundle"]

TEXT_PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
BERT_PIECES = 30_522

CLIP_SECONDS = 12.0
CALIBRATION_SECONDS = 4.0
CALIBRATION_WINDOWS = 32
PARITY_ROWS = 4
# A clip of the papers' size takes as long to calibrate on as a hundred pictures, and speed does not depend on ranges.
FEW_WINDOWS, LARGE_BYTES = 6, 1 << 20
SEED = 0
# A change in any of these rooms may change a graph, and so what is measured.
ROOMS = ("models", "export", "calibration", "bundle")


@dataclass(frozen=True)
class BenchMedia:
    """Paths of the bundles by name, and of the clip that pipelines are run on."""

    bundles: Mapping[str, Path]
    media: Path


def prepare_bundles(cache: Path) -> BenchMedia:
    """Make what is missing under `cache`, in a folder named after the code that made it; minutes the first time."""
    from rich.console import Console

    from affectrt.models.sizes import cav_demo_config, cav_paper_config, demo_config, paper_config

    folder = cache / _code_hash()
    folder.mkdir(parents=True, exist_ok=True)
    both = ("valence", "arousal")
    sizes: dict[str, Config] = {
        "rcma-demo": demo_config(),
        "rcma-paper": paper_config(modalities=("video", "audio"), outputs=both),
        "cav-demo": cav_demo_config(),
        "cav-paper": cav_paper_config(outputs=both),
    }
    media = folder / "clip.mp4"
    bundles = {name: folder / f"{name}.affect" for name in sizes}
    console = Console(stderr=True)
    with console.status("drawing clips") as status:
        if not media.exists():
            _draw(media, SEED, CLIP_SECONDS)
        for name, config in sizes.items():
            if not bundles[name].exists():
                status.update(f"making a bundle, {name}")
                _make_bundle(name, config, bundles[name])
    return BenchMedia(bundles, media)


def prepare_text_bundle(cache: Path) -> Path:
    """A text encoder as large as BERT-base (110 million random weights), in `TEXT_PRECISIONS`, with a small fusion.

    Ranges are those of sentences of random pieces: speed does not depend on them, and of the error of a trained
    network, whose values lie otherwise, they say little.
    """
    import torch

    from affectrt.bundle.writer import GraphDraft, update_bundle
    from affectrt.calibration.stage import emit, prepare_stage
    from affectrt.export import export_bundle
    from affectrt.export.sentences import random_sentences
    from affectrt.models.checkpoint import load_checkpoint, save_checkpoint
    from affectrt.models.rcma import Rcma

    path = cache / _code_hash() / "bert-base.affect"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    config = _bert_base_config()
    work = path.with_name(f".{path.name}.{os.getpid()}")
    work.mkdir()
    try:
        torch.manual_seed(SEED)
        save_checkpoint(Rcma(config).eval(), work / "random.safetensors", _provenance("bert-base"))
        loaded = load_checkpoint(work / "random.safetensors")
        windows = torch.randn((2, config.window_steps, config.text_dim)).numpy()
        made = export_bundle(loaded, work / path.name, recordings={"fusion": {"text": windows}}, name="bert-base")
        del loaded
        assert made.contract.text is not None
        feeds = random_sentences(made.contract.text, len(config.text_vocabulary), seed=SEED)
        source = prepare_stage(made, "text", feeds, method="minmax", seed=SEED)
        # FP16 is meant for TensorRT; here, as a graph for any backend, it shows what a processor makes of it.
        graphs = [
            GraphDraft("text", "fp16", emit(source, "fp16", "tensorrt"), source.opset),
            GraphDraft("text", "int8", emit(source, "int8", "cpu"), source.opset, "cpu"),
        ]
        update_bundle(made, graphs=graphs, plans={"fp16": {"text": "fp16"}, "int8": {"text": "int8"}})
        made.path.rename(path)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return path


def _bert_base_config() -> RcmaConfig:
    from affectrt.models.rcma_config import SPECIAL_PIECES, RcmaConfig

    made_up = tuple(f"piece{number}" for number in range(BERT_PIECES - len(SPECIAL_PIECES)))
    return RcmaConfig(
        modalities=("text",),
        attention="all-raw",
        text_layers=12,
        text_vocabulary=(*SPECIAL_PIECES, *made_up),
        text_tcn=(32,),
    )


def _make_bundle(name: str, config: Config, path: Path) -> None:
    """Export and calibrate the network of any configuration with random weights; it appears when it is whole."""
    import torch

    from affectrt.calibration import calibrate_bundle
    from affectrt.export import export_bundle
    from affectrt.models.checkpoint import load_checkpoint, save_checkpoint
    from affectrt.models.systems import SYSTEMS
    from affectrt.training.recordings import record_spans

    network = next(network for kind, network in SYSTEMS.values() if isinstance(config, kind))
    work = path.with_name(f".{path.name}.{os.getpid()}")
    work.mkdir()
    try:
        torch.manual_seed(SEED)
        save_checkpoint(network(config).eval(), work / "random.safetensors", _provenance(name))
        loaded = load_checkpoint(work / "random.safetensors")
        _draw(work / "calibration.mp4", SEED + 1, CALIBRATION_SECONDS)
        media = [work / "calibration.mp4"]
        recordings = record_spans(loaded.model, media, per_stage=PARITY_ROWS, seed=SEED)
        made = export_bundle(loaded, work / path.name, recordings=recordings, name=name)
        calibrate_bundle(made.path, media, windows=_windows(made.contract), seed=SEED)
        made.path.rename(path)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _windows(contract: Contract) -> int:
    largest = max(tensor.nbytes for stage in contract.encoder_stages for tensor in contract.stage_inputs(stage))
    return CALIBRATION_WINDOWS if largest < LARGE_BYTES else FEW_WINDOWS


def _draw(path: Path, seed: int, seconds: float) -> None:
    from affectrt.training.synthetic import make_clip, make_identity, write_clip

    clip = make_clip(make_identity(seed, 0), seed, seconds=seconds)
    write_clip(path, clip.frames(), fps=clip.fps, samples=clip.samples, sample_rate_hz=clip.sample_rate_hz)


def _provenance(name: str) -> dict[str, str]:
    return {
        "recipe": f"random weights, {name} size",
        "training_corpus": "none",
        "licence": "Apache-2.0",
        "intended_use": "measuring speed; its estimates mean nothing",
    }


def _code_hash() -> str:
    digest = hashlib.sha256()
    for room in ROOMS:
        root = Path(importlib.import_module(f"affectrt.{room}").__path__[0])
        for path in sorted(root.rglob("*.py")):
            digest.update(path.read_bytes())
    for package in ("torch", "onnx", "onnxruntime"):
        digest.update(version(package).encode())
    return digest.hexdigest()[:16]
