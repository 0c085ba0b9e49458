"""Sentences are timed at every length, each precision beside the others, and what they lose is told."""

import io
import json
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from doubles.text_bundle import text_bundle
from doubles.text_models import text_config
from doubles.tiny_bundle import make_tiny_bundle
from rich.console import Console

from affectrt.benchmarks.macs import count_macs
from affectrt.benchmarks.peak import Peak
from affectrt.benchmarks.results import BenchResults, print_results
from affectrt.benchmarks.stages import StageResult, Work, lengths_of, row_of, stage_feeds, time_stage
from affectrt.benchmarks.text import speed_ups, time_sentences
from affectrt.benchmarks.timing import Timing
from affectrt.bundle import Bundle
from affectrt.cli.main import main

ROOT = Path(__file__).parents[2]
LENGTHS = (8, 12, 16)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_tiny_bundle(tmp_path / "spoken.affect", text_lengths=LENGTHS)


def test_a_sentence_fills_its_length_with_pieces_that_the_vocabulary_has(bundle: Bundle) -> None:
    pieces = bundle.read(bundle.manifest.attachments["vocabulary"]).count(b"\n")
    for length in (None, *LENGTHS):
        feeds = stage_feeds(bundle, "text", 3, length=length)
        assert {rows.shape for rows in feeds.values()} == {(3, length or LENGTHS[-1])}
        assert {rows.dtype for rows in feeds.values()} == {np.dtype(np.int64)}
        assert feeds["token_ids"].min() >= 0 and feeds["token_ids"].max() < pieces
        assert feeds["word_index"][0].tolist() == [0, *range(1, (length or LENGTHS[-1]) - 1), 0]
    assert lengths_of(bundle.contract, "text") == LENGTHS and lengths_of(bundle.contract, "video") == (None,)
    assert row_of(bundle.contract, "text", 12) == "sentence of 12 pieces"


def test_longer_sentences_are_more_work(bundle: Bundle) -> None:
    peak = Peak(1e12, 4e12, {})
    found = [
        time_stage(bundle, "text", "fp32", 2, length=length, iterations=3, warmup_s=0, peak=peak) for length in LENGTHS
    ]
    assert [result.length for result in found] == list(LENGTHS)
    macs = [result.work.macs for result in found if result.work is not None]
    assert macs == [count_macs(bundle.read(bundle.graph_for("text", "fp32")), length).total for length in LENGTHS]
    assert Work.of(bundle, "text") == found[-1].work
    assert found[0].as_record()["length"] == LENGTHS[0]


@pytest.mark.parametrize("length", [8, 32])
def test_a_bert_is_counted_as_its_equations_say(length: int) -> None:
    """Four products a layer of width × width, two of the feed-forward part, two among the pieces; at last the words."""
    spoken = text_bundle(ROOT / "build" / "doubles")
    config = text_config()
    width, inner = config.text_dim, config.text_intermediate
    layer = 4 * length * width**2 + 2 * length * width * inner + 2 * length**2 * width
    assert Work.of(spoken, "text", length).macs == config.text_layers * layer + length**2 * width


# arXiv 1810.04805: 12 layers of width 768 and 12 heads, 4 × 768 in between, 512 places, 30 522 pieces, 2 segments.
LAYERS, WIDTH, HEADS, INNER, PLACES, PIECES = 12, 768, 12, 3072, 512, 30_522


@pytest.mark.parametrize("whose", ["bench --text", "roofline"])
def test_what_is_called_bert_base_has_its_layers_and_its_110_million_weights(whose: str) -> None:
    torch = pytest.importorskip("torch")
    from affectrt.cli.bench_bundles import _bert_base_config
    from affectrt.cli.gpu_check.roofline import NETWORKS, _config
    from affectrt.models.rcma import Rcma

    assert NETWORKS["rcma", "text"] == "BERT-base"
    config = _bert_base_config() if whose == "bench --text" else _config("rcma", "text", paper=True)
    assert (config.text_heads, config.text_lengths[-1]) == (HEADS, 256)
    with torch.device("meta"):
        encoder = Rcma(config).encoders["text"]
    # The pooler, which sees the first piece alone, is left out; the roofline has few pieces, as a table costs its rows.
    pieces = len(config.text_vocabulary)
    norm = 2 * WIDTH
    layer = 4 * (WIDTH**2 + WIDTH) + 2 * WIDTH * INNER + INNER + WIDTH + 2 * norm
    expected = (pieces + PLACES + 2) * WIDTH + norm + LAYERS * layer
    assert sum(weight.numel() for weight in encoder.parameters()) == expected
    assert whose == "roofline" or (pieces == PIECES and expected == 108_891_648)


@pytest.mark.slow
def test_the_roofline_of_bert_base_counts_what_its_shape_says() -> None:
    pytest.importorskip("onnxscript")
    from affectrt.cli.gpu_check.roofline import _network

    length = 256
    layer = 4 * length * WIDTH**2 + 2 * length * WIDTH * INNER + 2 * length**2 * WIDTH
    assert _network("rcma", "text", paper=True).macs == LAYERS * layer + length**2 * WIDTH == 23_001_563_136


def test_precisions_take_turns_at_every_length(bundle: Bundle) -> None:
    ticks = count()
    told: list[str] = []
    found = list(
        time_sentences(
            bundle,
            "text",
            ["fp32"],
            batch=2,
            iterations=4,
            duration_s=0,
            clock=lambda: float(next(ticks)),
            progress=told.append,
        )
    )
    assert [(result.length, result.precision) for result in found] == [(length, "fp32") for length in LENGTHS]
    assert all(result.timing.seconds == (1.0,) * 4 and result.timing.rows == 2 for result in found)
    assert [result.error for result in found] == [0.0] * 3
    assert told[0] == "sentence of 8 pieces, batch 2"


def results() -> list[StageResult]:
    def one(precision: str, seconds: tuple[float, ...], error: float) -> StageResult:
        return StageResult(
            "bert", "text", precision, precision, Timing(seconds), "sentence of 16 pieces", None, None, 16, error
        )

    return [one("fp32", (2.0, 6.0, 2.0), 0.0), one("int8", (1.0, 3.0, 1.1), 0.02), one("fp16", (4.0, 12.0, 4.0), 0.001)]


def test_a_machine_that_slows_down_changes_no_quotient() -> None:
    assert list(speed_ups(results())) == ["16 pieces, batch 1: int8 2.00 ×, fp16 0.50 × as fast as fp32"]


def test_the_table_names_the_length_and_the_error() -> None:
    told = io.StringIO()
    print_results(BenchResults({"CPU": "test"}, stages=results()), Console(file=told, width=160))
    assert "text, 16 pieces" in told.getvalue() and "2.00%" in told.getvalue()


def test_bench_times_every_length_of_a_bundle(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--iterations", "2", "--duration", "0", "--warmup", "0", "--no-peak", "--threads", "1", "--batch", "1"]
    assert main(["bench", str(bundle.path), *options, "--json", str(tmp_path / "found.json")]) == 0
    told = capsys.readouterr().out
    assert all(f"text, {length} pieces" in told for length in LENGTHS)
    record = json.loads((tmp_path / "found.json").read_text())
    timed = [stage.get("length") for stage in record["stages"] if stage["stage"] == "text"]
    assert timed == list(LENGTHS)


def test_bench_text_takes_no_bundle(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--text", str(bundle.path)]) == 2
    assert "--text makes its own bundle" in capsys.readouterr().err


@pytest.mark.slow
def test_bench_text_compares_three_precisions_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from doubles.text_models import text_config

    from affectrt.cli import bench_bundles

    monkeypatch.setattr(bench_bundles, "_bert_base_config", text_config)
    options = ["--iterations", "2", "--duration", "0", "--no-peak", "--threads", "1", "--cache", str(tmp_path)]
    assert main(["bench", "--text", *options, "--json", str(tmp_path / "found.json")]) == 0
    told = capsys.readouterr().out
    assert "8 pieces, batch 1: fp16" in told and "text, 32 pieces" in told
    stages = json.loads((tmp_path / "found.json").read_text())["stages"]
    assert {(stage["length"], stage["precision"]) for stage in stages} == {
        (length, precision) for length in (8, 16, 32) for precision in ("fp32", "fp16", "int8")
    }
    errors = {stage["precision"]: stage["error"] for stage in stages}
    # With weights this small, what is quantised adds little to what passes by: which of the two loses more is chance.
    assert errors["fp32"] == 0 and 0 < errors["fp16"] < 0.1 and 0 < errors["int8"] < 0.1
