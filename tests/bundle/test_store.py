"""A bundle is written whole, opened with suspicion, and says what is wrong with it in words."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from affectrt.bundle import (
    Accuracy,
    Bundle,
    BundleDraft,
    BundleError,
    Candidate,
    Contract,
    FileDraft,
    GraphDraft,
    Interval,
    Provenance,
    Selection,
    open_bundle,
    update_bundle,
    write_bundle,
)
from affectrt.bundle import writer as writer_module

CONTRACT = Contract.model_validate(
    {
        "system": "rcma",
        "variant": "test",
        "step_hz": 25.0,
        "audio": {
            "input": {"name": "waveform", "dtype": "float32", "shape": [15600]},
            "feature_dim": 8,
            "sample_rate_hz": 16000,
            "span_samples": 15600,
            "anchor": "start",
        },
        "fusion": {
            "stages": [{"outputs": ["valence", "arousal"]}],
            "window_steps": 10,
            "default_hop_steps": 5,
            "output": "per_step",
            "warm_up_steps": 10,
        },
        "outputs": [{"name": "valence"}, {"name": "arousal"}],
    }
)
PROVENANCE = Provenance(
    checkpoint_sha256="0" * 64, recipe="none", training_corpus="none", licence="MIT", intended_use="tests"
)


def draft(**changes: object) -> BundleDraft:
    fields: dict[str, object] = {
        "name": "tiny",
        "contract": CONTRACT,
        "provenance": PROVENANCE,
        "graphs": [
            GraphDraft("audio", "fp32", b"audio graph", 20),
            GraphDraft("fusion", "fp32", b"fusion graph", 20),
        ],
    }
    return BundleDraft(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture
def bundle_path(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "tiny.affect", draft()).path


def rewrite_manifest(bundle: Path, **changes: object) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def test_what_was_written_is_read_back(bundle_path: Path) -> None:
    bundle = open_bundle(bundle_path)
    graph = bundle.graph_for("audio", "fp32", "tensorrt")
    assert bundle.read(graph) == b"audio graph"
    assert graph.sha256 == hashlib.sha256(b"audio graph").hexdigest()
    assert bundle.contract == CONTRACT
    assert bundle.precisions() == ("fp32",)
    assert bundle.fingerprint == hashlib.sha256((bundle_path / "manifest.json").read_bytes()).hexdigest()


def test_the_same_draft_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = (write_bundle(tmp_path / name, draft()) for name in ("one", "two"))
    assert one.fingerprint == two.fingerprint


def test_calibration_adds_graphs_attachments_and_a_plan(bundle_path: Path) -> None:
    before = open_bundle(bundle_path)
    after = update_bundle(
        before,
        graphs=[
            GraphDraft("audio", "int8", b"for cpu", 20, "cpu"),
            GraphDraft("audio", "int8", b"for trt", 20, "tensorrt"),
        ],
        attachments={"ranges_audio": FileDraft("ranges/audio.json", b"{}")},
        plans={"int8": {"audio": "int8"}},
    )
    assert after.precisions() == ("fp32", "int8")
    assert after.read(after.graph_for("audio", "int8", "cpu")) == b"for cpu"
    assert after.read(after.graph_for("audio", "int8", "tensorrt")) == b"for trt"
    assert after.read(after.graph_for("fusion", "int8", "cpu")) == b"fusion graph"  # the plan leaves it fp32
    assert after.read(after.manifest.attachments["ranges_audio"]) == b"{}"
    assert after.fingerprint != before.fingerprint
    again = update_bundle(after, graphs=[GraphDraft("audio", "int8", b"newer", 20, "cpu")])
    assert again.read(again.graph_for("audio", "int8", "cpu")) == b"newer"


def test_new_graphs_take_the_accuracy_measured_on_the_old_ones_with_them(bundle_path: Path) -> None:
    def measured(precision: str) -> Accuracy:
        return Accuracy(
            precision=precision, backend="onnxruntime", corpus="c", videos=1, ccc={"valence": Interval(value=0.5)}
        )

    bundle = update_bundle(
        open_bundle(bundle_path),
        graphs=[GraphDraft("audio", "int8", b"int8", 20, "cpu")],
        plans={"int8": {"audio": "int8"}},
        accuracy=[measured("fp32"), measured("int8")],
    )
    assert [a.precision for a in bundle.manifest.accuracy] == ["fp32", "int8"]
    again = update_bundle(bundle, graphs=[GraphDraft("audio", "int8", b"newer", 20, "cpu")])
    assert [a.precision for a in again.manifest.accuracy] == ["fp32"]


def test_a_precision_that_is_not_there_is_an_error_with_a_command(bundle_path: Path) -> None:
    with pytest.raises(BundleError, match=r"(?s)no precision 'int8'.*one of fp32.*affectrt calibrate"):
        open_bundle(bundle_path).graph_for("audio", "int8")


def test_a_graph_for_another_backend_is_never_taken_silently(bundle_path: Path) -> None:
    bundle = update_bundle(
        open_bundle(bundle_path),
        graphs=[GraphDraft("audio", "int8", b"x", 20, "tensorrt")],
        plans={"int8": {"audio": "int8"}},
    )
    with pytest.raises(BundleError, match="no int8 graph of stage 'audio' for cpu"):
        bundle.graph_for("audio", "int8", "cpu")


def test_all_damage_is_reported_at_once(bundle_path: Path) -> None:
    flipped = bundle_path / "graphs/audio.fp32.onnx"
    flipped.write_bytes(b"Audio graph")
    (bundle_path / "graphs/fusion.fp32.onnx").unlink()
    with pytest.raises(BundleError) as caught:
        open_bundle(bundle_path)
    text = str(caught.value)
    assert "audio.fp32.onnx: SHA-256 is" in text
    assert "fusion.fp32.onnx: is missing" in text


def test_a_file_changed_after_opening_is_not_used(bundle_path: Path) -> None:
    bundle = open_bundle(bundle_path)
    (bundle_path / "graphs/audio.fp32.onnx").write_bytes(b"Audio graph")
    with pytest.raises(BundleError, match="changed since it was opened"):
        bundle.read(bundle.graph_for("audio", "fp32"))


def selection(**changes: object) -> Selection:
    fields: dict[str, object] = {
        "target": "cpu",
        "plan": {"audio": "int8"},
        "machine": "a test",
        "candidates": (Candidate(stage="audio", precision="int8", size_bytes=4, verdict="chosen"),),
    }
    return Selection.model_validate({**fields, **changes})


def with_int8(path: Path, *selections: Selection) -> Bundle:
    graphs = [GraphDraft("audio", "int8", b"int8", 20, target="cpu")]
    return update_bundle(open_bundle(path), graphs=graphs, selections=selections)


def test_auto_runs_what_was_selected_for_the_target(bundle_path: Path) -> None:
    bundle = with_int8(bundle_path, selection())
    assert bundle.plan("auto") == {"audio": "int8", "fusion": "fp32"}
    assert bundle.graph_for("audio", "auto").precision == "int8"
    assert open_bundle(bundle_path).selection("cpu") == selection()
    with pytest.raises(BundleError, match="nothing was selected for tensorrt"):
        bundle.graph_for("audio", "auto", target="tensorrt")


def test_a_selection_goes_with_the_graphs_it_was_measured_on(bundle_path: Path) -> None:
    with_int8(bundle_path, selection())
    kept = update_bundle(open_bundle(bundle_path), graphs=[GraphDraft("audio", "int8", b"trt", 20, target="tensorrt")])
    assert kept.selection("cpu") == selection()
    again = update_bundle(kept, graphs=[GraphDraft("audio", "int8", b"other", 20, target="cpu")])
    assert again.manifest.selections == ()


@pytest.mark.parametrize(
    ("selections", "reason"),
    [
        ([selection(plan={"audio": "fp16"})], "runs audio in fp16, but there is no such graph"),
        ([selection(target="tensorrt")], "runs audio in int8, but there is no such graph"),
        ([selection(plan={"nose": "fp32"})], "the selection for cpu names unknown stage 'nose'"),
        ([selection(), selection()], "two selections for one target"),
    ],
)
def test_a_selection_that_cannot_run_is_refused(bundle_path: Path, selections: list[Selection], reason: str) -> None:
    before = (bundle_path / "manifest.json").read_bytes()
    with pytest.raises(BundleError, match=reason):
        with_int8(bundle_path, *selections)
    assert (bundle_path / "manifest.json").read_bytes() == before


def test_unknown_files_are_ignored(bundle_path: Path) -> None:
    (bundle_path / "notes.txt").write_text("mine")
    open_bundle(bundle_path)


@pytest.mark.parametrize("what", ["graph", "folder", "manifest"])
def test_symbolic_links_are_refused(bundle_path: Path, tmp_path: Path, what: str) -> None:
    inner = {"graph": "graphs/audio.fp32.onnx", "folder": "graphs", "manifest": "manifest.json"}[what]
    moved = tmp_path / "elsewhere"
    (bundle_path / inner).rename(moved)
    (bundle_path / inner).symlink_to(moved)
    with pytest.raises(BundleError, match="symbolic link"):
        open_bundle(bundle_path)


def test_a_pipe_in_place_of_a_file_does_not_block(bundle_path: Path) -> None:
    for inner in ("graphs/audio.fp32.onnx", "manifest.json"):
        (bundle_path / inner).unlink()
        os.mkfifo(bundle_path / inner)
        with pytest.raises(BundleError, match="not a plain file"):
            open_bundle(bundle_path)


def test_another_format_version_is_told_apart_from_damage(bundle_path: Path) -> None:
    rewrite_manifest(bundle_path, format_version=7, novelty={"of": "version 7"})
    with pytest.raises(BundleError, match=r"(?s)format version 7; this affectrt reads 1.*pip install --upgrade"):
        open_bundle(bundle_path)


def test_wrong_fields_are_listed_with_a_reason(bundle_path: Path) -> None:
    contract = CONTRACT.model_dump(mode="json")
    contract["step_hz"] = -1
    del contract["fusion"]["window_steps"]
    contract["audio"]["sample_rate_hz"] = "16000"
    rewrite_manifest(bundle_path, contract=contract, surprise=1)
    with pytest.raises(BundleError) as caught:
        open_bundle(bundle_path)
    text = str(caught.value)
    assert "contract.step_hz: must be more than 0.0, not -1" in text
    assert "contract.fusion.window_steps: is missing" in text
    assert "contract.audio.sample_rate_hz: must be a whole number, not '16000'" in text
    assert "surprise: is not a field of this format" in text
    assert "pydantic" not in text and "type=" not in text


@pytest.mark.parametrize(
    "inner", ["../outside.onnx", "/etc/passwd", "a/b/c.onnx", "graphs/../x.onnx", "graphs/..", "a\\b.onnx", ""]
)
def test_paths_that_lead_out_are_refused(bundle_path: Path, inner: str) -> None:
    manifest = json.loads((bundle_path / "manifest.json").read_text())
    manifest["graphs"][0]["file"] = inner
    rewrite_manifest(bundle_path, graphs=manifest["graphs"])
    with pytest.raises(BundleError, match=r"graphs\[0\]\.file: .* does not have the form"):
        open_bundle(bundle_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON"),
        (b'{"format": "affect-bundle", "format": "affect-bundle"}', "'format' twice"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b"[" * 100_000, "nests deeper|not JSON"),
        (b"[" * 40 + b"]" * 40, "nests deeper"),
        (b'{"x": NaN}', "NaN"),
        (b'{"x": ' + b"9" * 100_000 + b"}", "number of 100000 characters"),
        (b'{"x": "\\u001b[2J"}', "control characters"),
        (b'{"x": "\\ud800"}', "control characters"),
        (b'{"format": "zip"}', "not the manifest of a bundle"),
        (b"[]", "not the manifest of a bundle"),
        (b" " * ((4 << 20) + 1), "expected: at most 4194304"),
    ],
)
def test_a_hostile_manifest_is_refused_with_a_reason(bundle_path: Path, content: bytes, reason: str) -> None:
    (bundle_path / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match=reason) as caught:
        open_bundle(bundle_path)
    str(caught.value).encode("utf-8")  # printable, whatever was in the file
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"plans": {"int8": {"audio": "int8"}}}, "there is no such graph"),
        ({"plans": {"int8": {"nose": "fp32"}}}, "unknown stage"),
        ({"attachments": {"x": "graphs/AUDIO.fp32.onnx"}}, "named more than once"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    bundle_path: Path, change: dict[str, object], reason: str
) -> None:
    if "attachments" in change:
        change = {"attachments": {"x": {"file": "graphs/AUDIO.fp32.onnx", "sha256": "0" * 64, "size_bytes": 1}}}
    rewrite_manifest(bundle_path, **change)
    with pytest.raises(BundleError, match=reason):
        open_bundle(bundle_path)


@pytest.mark.parametrize("place", ["nothing", "file", "folder"])
def test_what_is_not_a_bundle_is_said_so(tmp_path: Path, place: str) -> None:
    path = tmp_path / "x.affect"
    if place == "file":
        path.write_text("hello")
    elif place == "folder":
        path.mkdir()
    with pytest.raises(BundleError, match=r"does not exist|is not a directory|is missing"):
        open_bundle(path)


def test_nothing_is_replaced_unasked(bundle_path: Path) -> None:
    with pytest.raises(BundleError, match="exists already"):
        write_bundle(bundle_path, draft())
    write_bundle(bundle_path, draft(name="newer"), overwrite=True)
    assert open_bundle(bundle_path).manifest.name == "newer"
    assert [p.name for p in bundle_path.parent.iterdir()] == ["tiny.affect"]


def test_a_folder_that_is_not_a_bundle_is_never_replaced(tmp_path: Path) -> None:
    precious = tmp_path / "photos"
    precious.mkdir()
    (precious / "manifest.json").write_text("{}")
    with pytest.raises(BundleError, match="is not a bundle, so it is not replaced"):
        write_bundle(precious, draft(), overwrite=True)
    assert (precious / "manifest.json").exists()


class Stopped(BaseException):
    """Stands for KeyboardInterrupt."""


@pytest.mark.parametrize("at", ["_put_manifest", "_sync"])
def test_an_interrupted_write_leaves_the_old_bundle_and_nothing_else(
    bundle_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    def stop(*_: object) -> None:
        raise Stopped

    before = open_bundle(bundle_path)
    monkeypatch.setattr(writer_module, at, stop)
    with pytest.raises(Stopped):
        write_bundle(bundle_path, draft(name="newer"), overwrite=True)
    with pytest.raises(Stopped):
        write_bundle(bundle_path.with_name("other.affect"), draft())
    assert open_bundle(bundle_path) == before
    assert [p.name for p in bundle_path.parent.iterdir()] == ["tiny.affect"]


def test_if_the_new_bundle_cannot_be_put_in_place_the_old_one_comes_back(
    bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, rename = open_bundle(bundle_path), Path.rename

    def fail_for_new(self: Path, target: Path) -> Path:
        if self.name.startswith(".new-"):
            raise OSError("no space left")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_for_new)
    with pytest.raises(OSError, match="no space"):
        write_bundle(bundle_path, draft(name="newer"), overwrite=True)
    assert open_bundle(bundle_path) == before
    assert [p.name for p in bundle_path.parent.iterdir()] == ["tiny.affect"]


def test_a_draft_that_no_reader_would_accept_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no fp32 graph"):
        write_bundle(tmp_path / "x.affect", draft(graphs=[GraphDraft("audio", "fp32", b"x", 20)]))
    with pytest.raises(ValueError, match="file"):
        write_bundle(tmp_path / "x.affect", draft(graphs=[GraphDraft("../audio", "fp32", b"x", 20)]))
    assert list(tmp_path.iterdir()) == []
