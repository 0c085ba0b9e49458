"""Engines: opened from a checked bundle, honest about their tensors, clear about what they refuse."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
import pytest
from doubles.sentences import sentences
from doubles.tiny_bundle import VOCABULARY, make_tiny_bundle, tiny_contract

from affectrt.bundle.errors import BundleError, EngineError, UsageError
from affectrt.bundle.store import Bundle
from affectrt.bundle.writer import BundleDraft, FileDraft, GraphDraft, write_bundle
from affectrt.runtime.engines import TensorSpec, open_engine, open_engines


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("tiny") / "tiny.affect")


def test_an_engine_runs_any_batch(bundle: Bundle) -> None:
    with open_engine(bundle, "video") as engine:
        assert engine.inputs == {"frames": TensorSpec("uint8", (16, 16, 3))}
        assert engine.outputs == {"features": TensorSpec("float32", (3,))}
        for batch in (1, 5):
            grey = np.full((batch, 16, 16, 3), 51, np.uint8)
            features = engine.infer({"frames": grey})["features"]
            np.testing.assert_allclose(features, np.full((batch, 3), 0.2), atol=1e-6)


def test_provenance_names_graph_and_backend(bundle: Bundle) -> None:
    with open_engine(bundle, "audio", threads=1) as engine:
        facts = engine.provenance
    assert facts["backend"] == "onnxruntime" and facts["threads"] == "1" and facts["precision"] == "fp32"
    assert facts["graph_sha256"] == bundle.graph_for("audio", "fp32").sha256
    assert facts["bundle_sha256"] == bundle.fingerprint


def test_all_stages_open_and_close_together(bundle: Bundle) -> None:
    with ExitStack() as stack:
        engines = open_engines(bundle, "fp32", stack)
        assert list(engines) == ["video", "audio", "fusion"]


def test_unknown_backend_is_wrong_use(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="backend 'tpu'"):
        open_engine(bundle, "video", backend="tpu")


def test_a_precision_the_bundle_lacks_names_the_command(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"(?s)no precision 'int8'.*affectrt calibrate"):
        open_engine(bundle, "video", "int8")


def test_a_manifest_that_lies_about_shapes_is_caught(bundle: Bundle, tmp_path: Path) -> None:
    """Every hash is right and the schema holds, but the graph computes something else than is declared."""
    contract = tiny_contract(crop_px=24)
    draft = BundleDraft(
        name="liar",
        contract=contract,
        provenance=bundle.manifest.provenance,
        graphs=[
            GraphDraft(stage=g.stage, precision="fp32", content=bundle.read(g), opset=g.opset)
            for g in bundle.manifest.graphs
        ],
    )
    liar = write_bundle(tmp_path / "liar.affect", draft)
    with pytest.raises(BundleError) as caught:
        open_engine(liar, "video")
    assert "frames uint8[16, 16, 3]" in str(caught.value) and "frames uint8[24, 24, 3]" in str(caught.value)


def test_a_graph_that_is_no_graph_is_an_engine_error(bundle: Bundle, tmp_path: Path) -> None:
    draft = BundleDraft(
        name="noise",
        contract=bundle.contract,
        provenance=bundle.manifest.provenance,
        graphs=[
            GraphDraft(stage=g.stage, precision="fp32", content=b"\x00noise", opset=18) for g in bundle.manifest.graphs
        ],
    )
    noise = write_bundle(tmp_path / "noise.affect", draft)
    with pytest.raises(EngineError, match="cannot run this graph"):
        open_engine(noise, "video")


def test_wrong_feeds_are_an_engine_error(bundle: Bundle) -> None:
    with open_engine(bundle, "video") as engine, pytest.raises(EngineError, match="failed while running"):
        engine.infer({"frames": np.zeros((1, 9, 9, 3), np.uint8)})


def test_a_bundle_changed_after_opening_is_refused(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "tiny.affect")
    file = bundle.path / bundle.graph_for("video", "fp32").file
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleError, match="changed since it was opened"):
        open_engine(bundle, "video")
    assert json.loads((bundle.path / "manifest.json").read_text())["name"] == "tiny"


# -- a stage of several lengths --------------------------------------------------------------------------------------


def test_a_stage_of_several_lengths_has_an_open_axis_and_runs_each(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "spoken.affect", text_lengths=(8, 16))
    with open_engine(bundle, "text") as engine:
        assert set(engine.inputs.values()) == {TensorSpec("int64", (-1,))}
        assert engine.outputs == {"features": TensorSpec("float32", (-1, 4))}
        for length in (8, 16):
            feeds = sentences(2, length, pieces=len(VOCABULARY))
            assert engine.infer(feeds)["features"].shape == (2, length, 4)


def test_a_text_graph_of_one_length_is_refused_in_words(tmp_path: Path) -> None:
    """The contract promises several: a session would find out in the middle of a stream."""
    bundle = make_tiny_bundle(tmp_path / "spoken.affect", text_lengths=(8, 16))
    model = onnx.load_from_string(bundle.read(bundle.graph_for("text", "fp32")))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[1].dim_value = 16
    stiff = rewritten(bundle, tmp_path / "stiff.affect", {"text": model.SerializeToString()})
    with pytest.raises(BundleError) as caught:
        open_engine(stiff, "text")
    assert "token_ids int64[16]" in str(caught.value)
    assert "token_ids int64[-1]" in str(caught.value.expected)
    assert "-1 is an open axis, for lengths 8, 16" in str(caught.value.expected)


def test_an_open_axis_is_refused_where_the_contract_gives_one_size(bundle: Bundle, tmp_path: Path) -> None:
    model = onnx.load_from_string(bundle.read(bundle.graph_for("audio", "fp32")))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "samples"
    loose = rewritten(bundle, tmp_path / "loose.affect", {"audio": model.SerializeToString()})
    with pytest.raises(BundleError, match=r"waveform float32\[-1\]") as caught:
        open_engine(loose, "audio")
    assert "waveform float32[1600]" in str(caught.value.expected) and "open" not in str(caught.value.expected)


def rewritten(bundle: Bundle, path: Path, graphs: dict[str, bytes]) -> Bundle:
    """The same bundle with other graphs in it."""
    drafts = [
        GraphDraft(g.stage, "fp32", graphs.get(g.stage) or bundle.read(g), g.opset) for g in bundle.manifest.graphs
    ]
    files = {name: FileDraft(a.file, bundle.read(a)) for name, a in bundle.manifest.attachments.items()}
    return write_bundle(path, BundleDraft("other", bundle.contract, bundle.manifest.provenance, drafts, files))
