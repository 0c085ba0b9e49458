"""What words add: the page says what the results say, and every row is the demo's network over fewer modalities."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("gi")

from affectrt.models.sizes import text_demo_config  # noqa: E402
from affectrt.training.fusion_options import TEXT_OPTIONS  # noqa: E402
from affectrt.training.fusion_results import FusionTable, Result, SystemTable  # noqa: E402
from affectrt.training.recipe import CorpusRecipe, FusionRecipe  # noqa: E402
from affectrt.training.text_table import main, page, rows  # noqa: E402

CCC = {"text": (0.7, 0.5), "video+audio": (0.8, 0.8), "video+audio+text": (0.9, 0.84)}


def table() -> FusionTable:
    results = [
        Result(
            identity=f"{option.name}-{seed}",
            system="rcma-text",
            option=option.name,
            seed=seed,
            ccc={
                name: value + 0.01 * seed for name, value in zip(("valence", "arousal"), CCC[option.name], strict=True)
            },
            session={"valence": 0.9001, "arousal": 0.8402} if option.shipped and seed == 0 else None,
            validation=0.8,
            best_epoch=1,
            parameters=1234,
            cpu_s=1.0,
        )
        for option in TEXT_OPTIONS
        for seed in (0, 1, 2)
    ]
    drawn = CorpusRecipe(seed=1, train=2, validation=1, test=2, seconds=4.0, frame_px=64, spoken=True)
    fusion = FusionRecipe(epochs=1, batches=1, batch=2, learning_rate=1e-3)
    system = SystemTable(
        system="rcma-text",
        checkpoint="rcma-text-demo.safetensors",
        checkpoint_sha256="0" * 64,
        corpus=drawn,
        corpus_sha256="1" * 64,
        hop_steps=10,
        described_steps=1,
        fusion=fusion,
        results=tuple(results),
    )
    return FusionTable(seeds=(0, 1, 2), versions={}, systems=(system,))


def test_every_row_is_the_demo_s_network_over_its_modalities_and_knows_all_that_it_encodes() -> None:
    demo = text_demo_config()
    for option in TEXT_OPTIONS:
        model = option.network(demo)
        assert "+".join(model.encoders) == option.name
    assert option.network(demo).config == demo and option.shipped


def test_the_page_says_what_text_adds_for_every_seed_and_what_alone_it_is_worth() -> None:
    lines = rows(table()).splitlines()
    assert lines[2] == "| text alone | 1 234 | 0.710 ± 0.010 | 0.510 ± 0.010 | 0.610 ± 0.010 |"
    assert lines[4] == "| video, audio and text | 1 234 | 0.910 ± 0.010 | 0.850 ± 0.010 | 0.880 ± 0.010 |"
    text = " ".join(page(table()).split())
    assert "by +0.070, +0.070, +0.070 (seed 0, 1, 2)" in text
    assert "0.9001 and 0.8402; here it is 0.9000 (valence) and 0.8400 (arousal)" in text
    assert all(len(line) <= 120 for line in page(table()).splitlines())


def test_a_wrong_number_of_processes_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--processes", "0"]) == 2
    assert "text-table: error: --processes 0" in capsys.readouterr().err
