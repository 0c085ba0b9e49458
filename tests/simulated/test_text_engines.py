"""A stage of several lengths on simulated hardware: a profile for each, the answers of ONNX Runtime in all of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.nvidia import faults
from doubles.nvidia.prepare import ROOT
from doubles.sentences import sentences
from doubles.static_plans import plan_from_graph
from doubles.tiny_bundle import VOCABULARY, make_tiny_bundle, tiny_contract

from affectrt.bundle import Bundle, open_bundle
from affectrt.bundle.errors import EngineError
from affectrt.bundle.writer import BundleDraft, FileDraft, GraphDraft, write_bundle
from affectrt.cli.build_engines import batches_of
from affectrt.cli.main import main
from affectrt.runtime.engines import EngineCache, choose_backend, open_engine
from affectrt.runtime.engines.base import Array, TensorSpec
from affectrt.runtime.engines.gpu import find_gpu
from affectrt.runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from affectrt.runtime.engines.tensorrt_engine import TensorrtEngine

LENGTHS = (8, 16, 32)
BATCHES = (1, 2)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("text") / "tiny.affect", text_lengths=LENGTHS)


@pytest.fixture(scope="module")
def graph(bundle: Bundle) -> bytes:
    return bundle.read(bundle.graph_for("text", "fp32"))


@pytest.fixture(scope="module")
def plan(graph: bytes) -> bytes:
    return plan_from_graph(graph, BATCHES, LENGTHS)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineCache:
    monkeypatch.setenv("AFFECTRT_CACHE_DIR", str(tmp_path / "cache"))
    return EngineCache()


@pytest.fixture
def reference(graph: bytes) -> Iterator[OnnxRuntimeEngine]:
    with OnnxRuntimeEngine(graph, threads=1, provenance={}) as engine:
        yield engine


def opened(plan: bytes, **given: Any) -> TensorrtEngine:
    return TensorrtEngine(plan, **{"batches": BATCHES, "lengths": LENGTHS, "provenance": {}, **given})


def words_of(length: int, rows: int = 1, seed: int = 0) -> dict[str, Array]:
    return sentences(rows, length, pieces=len(VOCABULARY), seed=seed)


@pytest.mark.parametrize("memory", ["mapped", "copied"])
@pytest.mark.parametrize("cuda_graph", [True, False])
def test_every_length_gives_what_onnx_runtime_gives(
    plan: bytes, reference: OnnxRuntimeEngine, cuda_graph: bool, memory: Any
) -> None:
    """Five rows are two full calls and a padded one; lengths come in any order, each with a graph of its own."""
    with opened(plan, cuda_graph=cuda_graph, memory=memory) as engine:
        assert engine.inputs["token_ids"] == TensorSpec("int64", (-1,))
        assert engine.outputs["features"] == TensorSpec("float32", (-1, 4))
        assert faults.cuda.counters()["captures"] == (len(BATCHES) * len(LENGTHS) if cuda_graph else 0)
        for seed, length in enumerate((32, 8, 16, 8, 32)):
            feeds = words_of(length, rows=5, seed=seed)
            found, wanted = engine.infer(feeds)["features"], reference.infer(feeds)["features"]
            assert found.shape == (5, length, 4) and np.abs(wanted).max() > 0.1
            np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


def test_padding_to_a_longer_length_changes_no_word(plan: bytes) -> None:
    with opened(plan) as engine:
        short = words_of(8, rows=3)
        longer = {name: np.pad(feed, ((0, 0), (0, 24))) for name, feed in short.items()}
        found, padded = engine.infer(short)["features"], engine.infer(longer)["features"]
    np.testing.assert_allclose(padded[:, :8], found, rtol=1e-6, atol=1e-6)
    assert not padded[:, 8:].any()


def test_a_thousand_sentences_of_changing_lengths_allocate_nothing(plan: bytes) -> None:
    with opened(plan) as engine:
        feeds = [words_of(length) for length in LENGTHS]
        before = faults.cuda.counters()
        for at in range(1000):
            engine.infer(feeds[at % len(feeds)])
        after = faults.cuda.counters()
    changed = {name for name, value in after.items() if value != before[name]}
    assert changed <= {"copies", "host_functions", "graph_launches", "synchronisations"}


@pytest.mark.parametrize("length", [1, 12, 64])
def test_a_sentence_of_another_length_is_refused_in_words(plan: bytes, length: int) -> None:
    with opened(plan) as engine:
        with pytest.raises(EngineError, match=f"of length {length}") as caught:
            engine.infer(words_of(length) if length > 1 else {n: np.zeros((1, 1), np.int64) for n in words_of(8)})
        assert "8, 16, 32" in str(caught.value.expected)
        assert engine.infer(words_of(8))["features"].shape == (1, 8, 4)


def test_inputs_of_two_lengths_are_refused_before_tensorrt_sees_them(plan: bytes) -> None:
    with opened(plan) as engine:
        mixed = {**words_of(16), "mask": words_of(8)["mask"]}
        with pytest.raises(EngineError, match=r"input 'mask' is int64 \[1, 8\]") as caught:
            engine.infer(mixed)
        assert caught.value.expected == "int64 [rows, 16]"


@pytest.mark.parametrize("lengths", [(), (8, 16), (8, 16, 64)])
def test_an_engine_of_other_lengths_than_its_record_says_is_refused(plan: bytes, lengths: tuple[int, ...]) -> None:
    with pytest.raises(EngineError, match="does not fit") as caught:
        opened(plan, lengths=lengths)
    assert ("lengths [8, 16, 32]" if lengths else "shape [-1]") in str(caught.value)


def test_an_engine_of_one_length_is_no_engine_of_several(bundle: Bundle) -> None:
    plan = plan_from_graph(bundle.read(bundle.graph_for("audio", "fp32")), BATCHES)
    with pytest.raises(EngineError, match=r"'waveform' has shape \[1600\]") as caught:
        opened(plan)
    assert "an open length" in str(caught.value.expected)


# -- built, kept, run ------------------------------------------------------------------------------------------------


def test_sentences_come_one_at_a_time_in_an_engine_of_every_length(bundle: Bundle, cache: EngineCache) -> None:
    assert batches_of(bundle, (1, 8)) == {"video": [1, 8], "audio": [1, 8], "text": [1], "fusion": [1]}
    assert main(["build", str(bundle.path), "--backend", "tensorrt"]) == 0
    (shapes,) = [facts["profiles"] for facts in faults.tensorrt.builds if "mask" in facts["profiles"][0]]
    assert [profile["word_index"] for profile in shapes] == [((1, length),) * 3 for length in LENGTHS]
    sidecars = [json.loads(path.read_bytes()) for path in cache.root.rglob("*.json")]
    assert {told["stage"]: told["key"].get("lengths") for told in sidecars} == {
        "text": list(LENGTHS),
        **dict.fromkeys(("video", "audio", "fusion")),
    }


def test_what_was_built_runs_at_every_length_and_a_batch_is_split(bundle: Bundle, reference: OnnxRuntimeEngine) -> None:
    assert main(["build", str(bundle.path), "--backend", "tensorrt"]) == 0
    with open_engine(bundle, "text") as engine:
        assert engine.provenance["backend"] == "tensorrt"
        for length in LENGTHS:
            feeds = words_of(length, rows=3)
            launches = faults.cuda.counters()["graph_launches"]
            found, wanted = engine.infer(feeds)["features"], reference.infer(feeds)["features"]
            np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
            assert faults.cuda.counters()["graph_launches"] == launches + 3


def test_an_engine_of_the_same_graph_for_other_lengths_is_not_taken(
    bundle: Bundle, graph: bytes, cache: EngineCache, tmp_path: Path
) -> None:
    """Two contracts may hold the same graph: their lengths are part of what an engine was built for."""
    assert main(["build", str(bundle.path), "--backend", "tensorrt"]) == 0
    contract = tiny_contract(text_lengths=(8, 16))
    drafts = [GraphDraft(g.stage, "fp32", bundle.read(g), g.opset) for g in bundle.manifest.graphs]
    words = {"vocabulary": FileDraft("text/vocabulary.txt", "\n".join(VOCABULARY).encode())}
    draft = BundleDraft("other", contract, bundle.manifest.provenance, drafts, words)
    other = write_bundle(tmp_path / "other.affect", draft)
    with pytest.raises(EngineError, match="lengths: the engine has 8, 16, 32, needed is 8, 16") as caught:
        choose_backend(other, "fp32", "tensorrt", cache=cache)
    assert main(str(caught.value.fix).split()[1:]) == 0
    assert choose_backend(other, "fp32", "tensorrt", cache=cache).engines["text"].key.lengths == (8, 16)
    assert choose_backend(bundle, "fp32", "tensorrt", cache=cache).engines["text"].key.lengths == LENGTHS
    assert find_gpu().name


# -- BERT itself -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bert() -> Bundle:
    """Made apart: torch looks for TensorRT, and must not find a double."""
    simulated = ("PYTHONPATH", "LD_LIBRARY_PATH", "SIMULATED_TENSORRT")
    clean = {name: value for name, value in os.environ.items() if name not in simulated}
    made = "import sys; from pathlib import Path; from doubles.text_bundle import text_bundle as made; "
    made += "print(made(Path(sys.argv[1])).path)"
    command = [sys.executable, "-c", made, str(ROOT / "build" / "doubles")]
    done = subprocess.run(command, env=clean, cwd=ROOT / "tests", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return open_bundle(done.stdout.splitlines()[-1])


def test_an_exported_bert_gives_what_onnx_runtime_gives_at_every_length(bert: Bundle) -> None:
    assert main(["build", str(bert.path), "--backend", "tensorrt"]) == 0
    pieces = len(bert.read(bert.manifest.attachments["vocabulary"]).splitlines())
    lengths = bert.contract.lengths("text")
    assert len(lengths) > 1
    with (
        open_engine(bert, "text", "fp32", "tensorrt") as engine,
        OnnxRuntimeEngine(bert.read(bert.graph_for("text", "fp32")), threads=1, provenance={}) as onnxruntime,
    ):
        for length in lengths:
            feeds = sentences(2, length, pieces=pieces, seed=length)
            found, wanted = engine.infer(feeds)["features"], onnxruntime.infer(feeds)["features"]
            assert np.abs(wanted).max() > 0.1
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
