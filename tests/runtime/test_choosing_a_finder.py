"""The contract names the finder and the detector's edition; a person may ask for another."""

from __future__ import annotations

from pathlib import Path

import pytest
from doubles.face_clips import yunet_path
from doubles.tiny_bundle import tiny_contract

from affectrt.bundle import Contract, EngineError, FaceView, MissingDependency, UsageError
from affectrt.runtime.assets import keep_asset
from affectrt.runtime.faces import WholeFrame
from affectrt.runtime.finders import YuNet, YuNetFinder, choose_finder


def contract_with(face: FaceView) -> Contract:
    contract = tiny_contract()
    assert contract.video is not None
    return contract.model_copy(update={"video": contract.video.model_copy(update={"face": face})})


def test_todays_bundles_see_the_whole_frame() -> None:
    assert isinstance(choose_finder(tiny_contract()), WholeFrame)
    assert isinstance(choose_finder(tiny_contract(video=False), "yunet"), WholeFrame)
    assert isinstance(choose_finder(contract_with(FaceView(finder="yunet")), "whole"), WholeFrame)


@pytest.mark.parametrize("faces", ["auto", "yunet"])
def test_without_the_detector_the_command_that_brings_it_is_named(
    faces: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFFECTRT_CACHE_DIR", str(tmp_path))
    with pytest.raises(MissingDependency) as caught:
        choose_finder(contract_with(FaceView(finder="yunet")), faces)
    assert str(caught.value.fix).startswith("affectrt assets pull yunet")


def test_another_edition_than_the_contracts_only_when_a_person_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFFECTRT_CACHE_DIR", str(tmp_path))
    here = keep_asset("yunet", yunet_path()).stem
    assert isinstance(choose_finder(contract_with(FaceView(finder="yunet", edition=here))), YuNetFinder)
    other = contract_with(FaceView(finder="yunet", edition="0" * 64))
    with pytest.raises(MissingDependency, match="of edition 0000"):
        choose_finder(other)
    assert isinstance(choose_finder(other, "yunet", 2), YuNetFinder)


def test_an_unknown_word_is_wrong_use() -> None:
    with pytest.raises(UsageError, match="--faces all"):
        choose_finder(tiny_contract(), "all")


def test_a_file_that_is_no_detector_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no model")
    for path, why in ((tmp_path / "x.onnx", "cannot use the face detector"), (tmp_path / "y.onnx", "is missing")):
        with pytest.raises(EngineError, match=why):
            YuNet(path)
