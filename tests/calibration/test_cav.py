"""CAV as it is exported, calibrated: its clips and spectrograms survive eight bits."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from affectrt.bundle import Bundle
from affectrt.calibration import calibrate_bundle
from affectrt.export import export_bundle
from affectrt.models import Cav, cav_demo_config
from affectrt.runtime.sources import MemorySource

STEPS = 48


@pytest.fixture(scope="module")
def network() -> Cav:
    """Random weights whose activations keep their size from layer to layer, and norms that do something."""
    torch.manual_seed(0)
    network = Cav(cav_demo_config()).eval()
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network


@pytest.fixture(scope="module")
def bundle(network: Cav, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    facts = {"recipe": "none", "training_corpus": "none", "licence": "CC0-1.0", "intended_use": "tests"}
    checkpoint = SimpleNamespace(model=network, sha256="ab" * 32, provenance=facts)
    crop = network.config.crop_px
    rng = np.random.default_rng(1)
    features = {name: rng.standard_normal((2, 8, dim), np.float32) for name, dim in network.config.feature_dims.items()}
    recordings = {
        "video": {"frames": pictures(32, crop, 1).reshape(2, 16, crop, crop, 3)},
        "audio": {"waveform": sound(2 * network.config.span_samples, 1).reshape(2, -1)},
        "fusion": features,
    }
    path = tmp_path_factory.mktemp("bundle") / "cav.affect"
    return export_bundle(checkpoint, path, recordings=recordings)  # type: ignore[arg-type]


def pictures(count: int, size: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t, y, x = np.mgrid[0:count, 0:size, 0:size] / np.array([16, size, size])[:, None, None, None]
    colours = [np.sin(a * x + b * y + c * t) for a, b, c in rng.uniform(0, 6, (3, 3))]
    return np.round((np.stack(colours, axis=-1) + 1) * 127.5).astype(np.uint8)


def sound(samples: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / 16_000
    voice = sum(np.sin(2 * np.pi * 140 * k * time + k) / k for k in range(1, 12)) * (1 + np.sin(5 * time))
    return (0.05 * voice + 0.002 * rng.standard_normal(samples)).astype(np.float32)


@pytest.mark.slow
def test_cav_is_exported_calibrated_and_close_to_fp32(
    bundle: Bundle, network: Cav, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = MemorySource.from_arrays(
        frames=list(pictures(STEPS, network.config.resize_px, 2)),
        pts_s=np.arange(STEPS) / 25,
        samples=sound(640 * STEPS, 2),
    )
    monkeypatch.setattr("affectrt.calibration.windows.open_source", lambda *_: source)
    told: list[str] = []
    done = calibrate_bundle(
        bundle.path, [Path("a.mp4")], windows=16, out=tmp_path / "int8.affect", progress=told.append
    )
    assert done.plan("int8") == {"video": "int8", "audio": "int8", "fusion": "fp32"}
    assert sum("int8 differs from fp32 by" in line for line in told) == 2
    for graph in done.manifest.graphs:
        if graph.precision == "int8":
            assert 0 < float(graph.note.rsplit(" ", 1)[1]) < 0.05, (graph.stage, graph.target, graph.note)
