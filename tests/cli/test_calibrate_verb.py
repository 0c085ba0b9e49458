"""`affectrt calibrate` on a drawn clip: the bundle gains INT8, `run` could use it, wrong use is told."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from doubles.outlier_bundle import make_outlier_bundle
from doubles.residual_bundle import make_residual_bundle

from affectrt.benchmarks import peak
from affectrt.bundle import open_bundle
from affectrt.calibration.data import CalibrationData
from affectrt.cli.main import main
from affectrt.runtime.engines import open_engine
from affectrt.training.synthetic import make_clip, make_identity, write_clip


def test_a_bundle_gains_int8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_residual_bundle(tmp_path / "x.affect").path
    clip = make_clip(make_identity(0, 0), 0, seconds=1.0, size_px=48)
    write_clip(tmp_path / "media.mp4", clip.frames(), samples=clip.samples)
    given = ["calibrate", str(path), str(tmp_path / "media.mp4"), "--windows", "8", "--precision", "int8"]
    assert main(given) == 0
    told = capsys.readouterr()
    bundle = open_bundle(path)
    assert bundle.precisions() == ("fp32", "int8")
    assert told.out.splitlines() == [f"{path}   fp32, int8, fingerprint {bundle.fingerprint[:12]}"]
    assert "video int8 differs from fp32 by cpu" in told.err
    frames = np.zeros((2, 16, 16, 3), np.uint8)
    with open_engine(bundle, "video", "int8", threads=1) as engine:
        assert engine.provenance["precision"] == "int8"
        assert engine.infer({"frames": frames})["features"].shape == (2, 8)


def test_an_unknown_method_is_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.mp4").touch()
    path = make_residual_bundle(tmp_path / "x.affect").path
    assert main(["calibrate", str(path), str(tmp_path / "x.mp4"), "--method", "guess"]) == 2
    assert "minmax, percentile, entropy" in capsys.readouterr().err
    assert open_bundle(path).precisions() == ("fp32",)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four drawn people, a second and a half of each."""
    folder = tmp_path_factory.mktemp("people")
    paths = [folder / f"person{number}.mp4" for number in range(4)]
    for number, path in enumerate(paths):
        clip = make_clip(make_identity(0, number), number, seconds=1.5, size_px=48)
        write_clip(path, clip.frames(), samples=clip.samples)
    return paths


def test_a_selection_is_judged_timed_told_and_drawn(
    people: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peak, "measure_peak", cache(peak.measure_peak))  # it is the same machine both times
    path = make_outlier_bundle(tmp_path / "x.affect", outlier=1.0).path
    page = tmp_path / "page.html"
    given = ["calibrate", str(path), str(people[0]), "--windows", "16", "--threads", "1", "--rank"]
    given += ["--report", str(page)]
    given += [option for person in people[1:] for option in ("--evaluate", str(person))]
    # Random weights: what is measured is that all is measured, not that INT8 is as good.
    assert main([*given, "--max-loss", "0.5", "--max-upper-loss", "1"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    bundle = open_bundle(path)
    cpu, tensorrt = bundle.selection("cpu"), bundle.selection("tensorrt")
    assert cpu is not None and tensorrt is not None
    assert cpu.guard is None or cpu.guard.kind == "agreement"
    assert tensorrt.guard is not None and tensorrt.guard.videos == 3
    assert all(row.latency_ms and row.share_of_peak for row in cpu.candidates)
    assert {each.stage for each in cpu.sensitivities} == {"video"}
    assert "agreement with FP32 (CCC) on person1.mp4, person2.mp4, person3.mp4, 3 recordings" in told
    assert "not timed: only the device it runs on can" in told
    facts = CalibrationData.from_json(bundle.read(bundle.manifest.attachments["calibration"]))
    assert [file.name for file in facts.files] == ["person0.mp4"]
    assert facts.windows["video"] == 16
    html = page.read_text()
    assert "No truth is known here" in html and html.count("<svg") >= 4
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["page.html", "x.affect"]  # no record is left
    assert main([*given, "--target", "cpu", "--force"]) == 0
    forced = open_bundle(path).selection("cpu")
    assert forced is not None and forced.plan == {"video": "int8", "fusion": "fp32"}
    assert "The answers" in page.read_text()
    capsys.readouterr()
    assert main(["inspect", str(path)]) == 0
    assert "auto (cpu) video in int8, fusion in fp32" in " ".join(capsys.readouterr().out.split())
    assert main(["run", str(path), str(people[1]), str(tmp_path / "out.jsonl"), "--precision", "auto"]) == 0


def test_an_evaluation_of_what_ranges_come_from_is_refused(
    people: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_residual_bundle(tmp_path / "x.affect").path
    (tmp_path / "another_name.mp4").write_bytes(people[0].read_bytes())
    evaluate = ["--evaluate", str(tmp_path / "another_name.mp4"), "--evaluate", str(people[1])]
    assert main(["calibrate", str(path), str(people[0]), *evaluate]) == 2
    told = capsys.readouterr().err
    assert "person0.mp4 has the content of another_name.mp4" in told and "peak" not in told  # nothing is timed before
    assert open_bundle(path).precisions() == ("fp32",)


def test_without_anything_to_judge_on_nothing_is_selected(
    people: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_residual_bundle(tmp_path / "x.affect").path
    assert main(["calibrate", str(path), str(people[0])]) == 2
    assert "there is nothing to judge candidates on" in capsys.readouterr().err


def test_silence_and_black_frames_are_refused(
    people: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_residual_bundle(tmp_path / "x.affect").path
    black = np.zeros((40, 48, 48, 3), np.uint8)
    write_clip(tmp_path / "black.mp4", iter(black), samples=np.zeros(16_000 * 40 // 25, np.float32))
    evaluate = [option for person in people for option in ("--evaluate", str(person))]
    assert main(["calibrate", str(path), str(tmp_path / "black.mp4"), *evaluate]) == 2
    told = capsys.readouterr().err
    assert "the calibration media say too little" in told and "silent" in told and "of one colour" in told
    assert open_bundle(path).precisions() == ("fp32",)
