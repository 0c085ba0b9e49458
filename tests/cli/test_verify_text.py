"""verify and build on a bundle with a text encoder: every length counts, and the vocabulary belongs to the graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from doubles.tiny_bundle import OPSET, VOCABULARY, make_tiny_bundle
from onnx import helper, numpy_helper

from affectrt.bundle import Bundle
from affectrt.bundle.writer import BundleDraft, FileDraft, GraphDraft, update_bundle, write_bundle

from .conftest import Ran

Run = Callable[..., Ran]
LENGTHS = (8, 12, 16)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_tiny_bundle(tmp_path / "spoken.affect", text_lengths=LENGTHS)


def infinite_at(bundle: Bundle, length: int) -> bytes:
    """The text graph, of which nothing is finite at one length."""
    model = onnx.load_from_string(bundle.read(bundle.graph_for("text", "fp32")))
    nodes = model.graph.node
    nodes[-1].output[0] = "words"
    nodes.append(helper.make_node("Sub", ["length", "bad_length"], ["distance"]))
    nodes.append(helper.make_node("Cast", ["distance"], ["divisor"], to=onnx.TensorProto.FLOAT))
    nodes.append(helper.make_node("Div", ["words", "divisor"], ["features"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array(length, np.int64), "bad_length"))
    return bytes(model.SerializeToString())


def test_verify_runs_the_shortest_and_the_longest_sentence_and_build_the_longest(bundle: Bundle, run: Run) -> None:
    ran = run("verify", bundle.path)
    assert (ran.code, ran.err) == (0, "")
    assert "runs        graphs/text.fp32.onnx" in ran.out and "intact      text/vocabulary.txt" in ran.out
    built = run("build", bundle.path, "--backend", "onnxruntime", "--threads", "1")
    assert [line.split()[0] for line in built.out.splitlines()[:4]] == ["video", "audio", "text", "fusion"]


@pytest.mark.parametrize("length", [LENGTHS[0], LENGTHS[-1]])
def test_verify_finds_a_length_that_a_graph_cannot_do(length: int, bundle: Bundle, run: Run) -> None:
    changed = GraphDraft("text", "fp32", infinite_at(bundle, length), OPSET)
    ran = run("verify", update_bundle(bundle, graphs=[changed]).path)
    assert ran.code == 1
    assert f"not finite for sentences of {length} pieces" in ran.err


def test_verify_finds_a_vocabulary_of_more_pieces_than_the_graph_knows(bundle: Bundle, run: Run) -> None:
    """Sentences with such a piece would end a run, when one is said."""
    longer = "\n".join((*VOCABULARY, "##s", "")).encode()
    changed = update_bundle(bundle, attachments={"vocabulary": FileDraft("text/vocabulary.txt", longer)})
    ran = run("verify", changed.path)
    assert ran.code == 1
    assert "graphs/text.fp32.onnx" in ran.err and "idx=14" in ran.err


def test_verify_finds_a_missing_vocabulary(bundle: Bundle, tmp_path: Path, run: Run) -> None:
    drafts = [GraphDraft(g.stage, "fp32", bundle.read(g), g.opset) for g in bundle.manifest.graphs]
    bare = write_bundle(
        tmp_path / "bare.affect", BundleDraft("bare", bundle.contract, bundle.manifest.provenance, drafts)
    )
    ran = run("verify", bare.path)
    assert ran.code == 1
    assert "encodes text and has no vocabulary" in ran.err
    assert "runs        graphs/fusion.fp32.onnx" in ran.out
