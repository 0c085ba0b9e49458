"""inspect, verify and build on a real bundle: what they say, and what they refuse."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from affectrt.bundle import Accuracy, Bundle, GraphDraft, Interval, update_bundle

from .conftest import Ran

onnx = pytest.importorskip("onnx")
from doubles.clip_contract import clip_contract  # noqa: E402
from doubles.tiny_bundle import OPSET, make_tiny_bundle  # noqa: E402

Run = Callable[..., Ran]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_tiny_bundle(tmp_path / "tiny.affect")


def content(bundle: Bundle, stage: str) -> bytes:
    return bundle.read(bundle.graph_for(stage, "fp32"))


def with_frozen_batch(graph: bytes) -> bytes:
    model = onnx.load_from_string(graph)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    return bytes(model.SerializeToString())


def with_bias(graph: bytes, bias: float) -> bytes:
    model = onnx.load_from_string(graph)
    (old,) = [i for i in model.graph.initializer if i.name == "bias"]
    old.CopyFrom(onnx.numpy_helper.from_array(np.full(2, bias, np.float32), "bias"))
    return bytes(model.SerializeToString())


def test_inspect_tells_what_the_manifest_holds(bundle: Bundle, run: Run) -> None:
    measured = Accuracy(
        precision="fp32",
        backend="onnxruntime",
        corpus="two clips",
        videos=2,
        ccc={"valence": Interval(value=0.5, low=0.4, high=0.6), "arousal": Interval(value=0.25)},
    )
    bundle = update_bundle(
        bundle,
        graphs=[GraphDraft("fusion", "fp32", content(bundle, "fusion"), OPSET, parity_max_abs=1e-6)],
        accuracy=[measured],
    )
    ran = run("inspect", bundle.path)
    assert ran.code == 0
    for word in (
        bundle.fingerprint,
        "Apache-2.0",
        "25 steps a second",
        "1 frame of 16 px (from 20 px) → 3 features",
        "0.1 s at 16000 Hz, from the step on → 2 features",
        "graphs/fusion.fp32.onnx",
        "1.0e-06",
        "valence 0.500 [0.400, 0.600]",
        "arousal 0.250",
        "two clips, 2 videos",
    ):
        assert word in ran.out


def test_inspect_tells_in_words_what_an_estimate_of_a_window_of_clips_is(bundle: Bundle, run: Run) -> None:
    clips = make_tiny_bundle(bundle.path.with_name("clips.affect"), contract=clip_contract(video_dim=3))
    told = " ".join(run("inspect", clips.path).out.split())
    for words in (
        "clip of 4 frames of 8 px (from 12 px) → 3 features",
        "0.16 s at 16000 Hz, up to the step → 2 features",
        "on windows of 3 steps, 4 apart, every 4 steps (0.16 s)",
        "one a window, the mean over the 12 steps (0.48 s) up to its newest",
        "a young stream repeats its first features",
    ):
        assert words in told
    told = " ".join(run("inspect", bundle.path).out.split())
    assert "on windows of 10 steps (0.4 s), every 5 steps (0.2 s)" in told and "one a step, of that step" in told


def test_inspect_tells_in_words_how_words_become_features(tmp_path: Path, run: Run) -> None:
    spoken = make_tiny_bundle(tmp_path / "spoken.affect", text_lengths=(8, 16))
    told = " ".join(run("inspect", spoken.path).out.split())
    assert "text sentences of 8, 16 pieces → " in told and "before 0.5 s of silence or after 64 words" in told
    assert "text/vocabulary.txt" in told


def test_verify_and_build_take_clips_like_anything_else(tmp_path: Path, run: Run) -> None:
    clips = make_tiny_bundle(tmp_path / "clips.affect", contract=clip_contract(video_dim=3))
    assert "runs        graphs/video.fp32.onnx" in run("verify", clips.path).out
    assert "video" in run("build", clips.path).out


def test_inspect_says_so_when_accuracy_was_not_measured(bundle: Bundle, run: Run) -> None:
    assert "not measured" in run("inspect", bundle.path).out


def test_inspect_json_is_the_manifest_and_the_fingerprint(bundle: Bundle, run: Run) -> None:
    record = json.loads(run("inspect", bundle.path, "--json").out)
    assert record["fingerprint"] == bundle.fingerprint
    assert record["manifest"] == json.loads((bundle.path / "manifest.json").read_text())
    assert record["precisions"] == {"fp32": {"video": "fp32", "audio": "fp32", "fusion": "fp32"}}


@pytest.mark.parametrize("verb", ["inspect", "verify", "build"])
def test_a_path_that_is_no_bundle_is_an_error_with_a_fix(verb: str, run: Run) -> None:
    ran = run(verb, "nowhere.affect")
    assert ran.code == 1
    assert ran.err.startswith("affectrt: error: nowhere.affect does not exist")
    assert "fix:" in ran.err


def test_verify_runs_every_graph(bundle: Bundle, run: Run) -> None:
    bundle = update_bundle(
        bundle,
        graphs=[
            GraphDraft("audio", "int8", content(bundle, "audio"), OPSET, "cpu"),  # no plan names it
            GraphDraft("audio", "int8", b"not for this machine", OPSET, "tensorrt"),
        ],
    )
    ran = run("verify", bundle.path)
    assert (ran.code, ran.err) == (0, "")
    for file in ("video.fp32", "audio.fp32", "fusion.fp32", "audio.int8.cpu"):
        assert f"runs        graphs/{file}.onnx" in ran.out
    assert "graphs/audio.int8.tensorrt.onnx (audio int8, for TensorRT: not run here)" in ran.out
    assert f"is intact: fingerprint {bundle.fingerprint}" in ran.out


def test_verify_finds_a_changed_byte(bundle: Bundle, run: Run) -> None:
    path = bundle.path / "graphs" / "fusion.fp32.onnx"
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)
    ran = run("verify", bundle.path)
    assert ran.code == 1
    assert "graphs/fusion.fp32.onnx" in ran.err
    assert "SHA-256" in ran.err


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        (lambda _: b"these bytes are no graph", "cannot run this graph"),
        (with_frozen_batch, "invalid dimensions"),
        (lambda graph: with_bias(graph, float("nan")), "not finite"),
        (lambda graph: graph.replace(b"estimates", b"something"), "as the manifest declares"),
    ],
    ids=["no graph", "frozen batch", "not finite", "another output"],
)
def test_verify_finds_graphs_that_do_not_do_their_work(
    spoilt: Callable[[bytes], bytes], reason: str, bundle: Bundle, run: Run
) -> None:
    fusion = GraphDraft("fusion", "fp32", spoilt(content(bundle, "fusion")), OPSET)
    ran = run("verify", update_bundle(bundle, graphs=[fusion]).path)
    assert ran.code == 1
    assert "is whole, but not every graph is usable" in ran.err
    assert "graphs/fusion.fp32.onnx" in ran.err
    assert reason in ran.err
    assert "runs        graphs/audio.fp32.onnx" in ran.out


def test_build_says_what_was_taken_and_that_nothing_is_cached(bundle: Bundle, run: Run) -> None:
    bundle = update_bundle(
        bundle,
        graphs=[GraphDraft("audio", "int8", content(bundle, "audio"), OPSET, "cpu")],
        plans={"int8": {"audio": "int8"}},
    )
    before = sorted(bundle.path.rglob("*"))
    ran = run("build", bundle.path, "--precision", "int8", "--threads", "1", "--backend", "onnxruntime")
    assert (ran.code, ran.err) == (0, "")
    _, audio, fusion, last = ran.out.splitlines()
    assert audio.split()[:3] == ["audio", "int8", "graphs/audio.int8.cpu.onnx"]
    assert fusion.split()[:3] == ["fusion", "fp32", "graphs/fusion.fp32.onnx"]
    assert "1 threads" in audio
    assert "nothing was cached" in last
    assert sorted(bundle.path.rglob("*")) == before


def test_build_refuses_precisions_and_backends_that_are_not_there(bundle: Bundle, run: Run) -> None:
    ran = run("build", bundle.path, "--precision", "int8")
    assert ran.code == 1
    assert "affectrt calibrate" in ran.err
    assert run("build", bundle.path, "--backend", "abacus").code == 2


def test_verify_tells_what_tensorrt_would_not_read(bundle: Bundle, run: Run) -> None:
    ran = run("verify", bundle.path, "--tensorrt")
    assert ran.code == 0, ran.err
    assert ran.out.count("by TensorRT 10.1, 10.16, 11.1") == len(bundle.contract.stages)
    model = onnx.load_from_string(content(bundle, "fusion"))
    (output,) = model.graph.node[-1].output
    model.graph.node.append(onnx.helper.make_node("Unique", [output], ["unused"], "body/Unique_0"))
    changed = GraphDraft("fusion", "fp32", bytes(model.SerializeToString()), OPSET, parity_max_abs=1e-6)
    update_bundle(bundle, graphs=[changed])
    assert run("verify", bundle.path).code == 0
    refused = run("verify", bundle.path, "--tensorrt")
    assert refused.code == 1
    assert "body/Unique_0 (Unique), TensorRT 10.1, 10.16, 11.1: gives as many values" in refused.err
    assert "instead: mask with Where" in refused.err
