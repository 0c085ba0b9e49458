"""inspect, verify and build on a real bundle: what they say, and what they refuse."""

import json
from collections.abc import Callable

import pytest

from affectrt.bundle import Accuracy, Bundle, GraphDraft, Interval

from .conftest import OPSET, Ran, audio_graph, fusion_graph

Write = Callable[..., Bundle]
Run = Callable[..., Ran]


def test_inspect_tells_what_the_manifest_holds(write_tiny: Write, run: Run) -> None:
    measured = Accuracy(
        precision="fp32",
        backend="onnxruntime",
        corpus="two clips",
        videos=2,
        ccc={"valence": Interval(value=0.5, low=0.4, high=0.6), "arousal": Interval(value=0.25)},
    )
    bundle = write_tiny(accuracy=[measured])
    ran = run("inspect", bundle.path)
    assert ran.code == 0
    for word in (
        bundle.fingerprint,
        "Apache-2.0",
        "25 steps a second",
        "0.01 s at 16000 Hz, from the step on → 4 features",
        "graphs/fusion.fp32.onnx",
        "1.0e-06",
        "valence 0.500 [0.400, 0.600]",
        "arousal 0.250",
        "two clips, 2 videos",
    ):
        assert word in ran.out


def test_inspect_says_so_when_accuracy_was_not_measured(write_tiny: Write, run: Run) -> None:
    assert "not measured" in run("inspect", write_tiny().path).out


def test_inspect_json_is_the_manifest_and_the_fingerprint(write_tiny: Write, run: Run) -> None:
    bundle = write_tiny()
    record = json.loads(run("inspect", bundle.path, "--json").out)
    assert record["fingerprint"] == bundle.fingerprint
    assert record["manifest"] == json.loads((bundle.path / "manifest.json").read_text())
    assert record["precisions"] == {"fp32": {"audio": "fp32", "fusion": "fp32"}}


@pytest.mark.parametrize("verb", ["inspect", "verify", "build"])
def test_a_path_that_is_no_bundle_is_an_error_with_a_fix(verb: str, run: Run) -> None:
    ran = run(verb, "nowhere.affect")
    assert ran.code == 1
    assert ran.err.startswith("affectrt: error: nowhere.affect does not exist")
    assert "fix:" in ran.err


def test_verify_runs_every_graph(write_tiny: Write, run: Run) -> None:
    bundle = write_tiny(
        more=[
            GraphDraft("audio", "int8", audio_graph(scale=0.2), OPSET, "cpu"),  # no plan names it
            GraphDraft("audio", "int8", b"not for this machine", OPSET, "tensorrt"),
        ]
    )
    ran = run("verify", bundle.path)
    assert (ran.code, ran.err) == (0, "")
    assert "runs        graphs/audio.fp32.onnx" in ran.out
    assert "runs        graphs/audio.int8.cpu.onnx" in ran.out
    assert "runs        graphs/fusion.fp32.onnx" in ran.out
    assert "graphs/audio.int8.tensorrt.onnx (audio int8, for TensorRT: not run here)" in ran.out
    assert f"is intact: fingerprint {bundle.fingerprint}" in ran.out


def test_verify_finds_a_changed_byte(write_tiny: Write, run: Run) -> None:
    path = write_tiny().path / "graphs" / "fusion.fp32.onnx"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    ran = run("verify", path.parent.parent)
    assert ran.code == 1
    assert "graphs/fusion.fp32.onnx" in ran.err
    assert "SHA-256" in ran.err


@pytest.mark.parametrize(
    ("fusion", "reason"),
    [
        (b"these bytes are no graph", "cannot run this graph"),
        (fusion_graph(batch=1), "fusion"),
        (fusion_graph(scale=float("nan")), "not finite"),
        (audio_graph(), "as the manifest declares"),
    ],
    ids=["no graph", "frozen batch", "not finite", "another stage's graph"],
)
def test_verify_finds_graphs_that_do_not_do_their_work(fusion: bytes, reason: str, write_tiny: Write, run: Run) -> None:
    ran = run("verify", write_tiny(fusion=fusion).path)
    assert ran.code == 1
    assert "is whole, but not every graph runs" in ran.err
    assert "graphs/fusion.fp32.onnx" in ran.err
    assert reason in ran.err
    assert "runs        graphs/audio.fp32.onnx" in ran.out


def test_build_says_what_was_taken_and_that_nothing_is_cached(write_tiny: Write, run: Run) -> None:
    bundle = write_tiny(
        more=[GraphDraft("audio", "int8", audio_graph(scale=0.2), OPSET, "cpu")],
        plans={"int8": {"audio": "int8"}},
    )
    before = sorted(bundle.path.rglob("*"))
    ran = run("build", bundle.path, "--precision", "int8", "--threads", "1")
    assert (ran.code, ran.err) == (0, "")
    audio, fusion, last = ran.out.splitlines()
    assert audio.split()[:3] == ["audio", "int8", "graphs/audio.int8.cpu.onnx"]
    assert fusion.split()[:3] == ["fusion", "fp32", "graphs/fusion.fp32.onnx"]
    assert "1 threads" in audio
    assert "nothing was cached" in last
    assert sorted(bundle.path.rglob("*")) == before


def test_build_refuses_what_this_version_cannot_make(write_tiny: Write, run: Run) -> None:
    bundle = write_tiny()
    ran = run("build", bundle.path, "--backend", "tensorrt")
    assert ran.code == 1
    assert "TensorRT engines are not built by this version" in ran.err
    ran = run("build", bundle.path, "--precision", "int8")
    assert ran.code == 1
    assert "affectrt calibrate" in ran.err
    assert run("build", bundle.path, "--backend", "abacus").code == 2
