"""`affectrt calibrate` on a drawn clip: the bundle gains INT8, `run` could use it, wrong use is told."""

from pathlib import Path

import numpy as np
import pytest
from doubles.residual_bundle import make_residual_bundle

from affectrt.bundle import open_bundle
from affectrt.cli.main import main
from affectrt.runtime.engines import open_engine
from affectrt.training.synthetic import make_clip, make_identity, write_clip


def test_a_bundle_gains_int8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_residual_bundle(tmp_path / "x.affect").path
    clip = make_clip(make_identity(0, 0), 0, seconds=1.0, size_px=48)
    write_clip(tmp_path / "media.mp4", clip.frames(), samples=clip.samples)
    assert main(["calibrate", str(path), str(tmp_path / "media.mp4"), "--windows", "8"]) == 0
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
