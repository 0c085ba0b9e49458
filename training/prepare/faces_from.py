"""Where the faces of a corpus come from, and which part of a frame they then are."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from affectrt.bundle.contract import Contract, FaceView
from affectrt.bundle.errors import MissingDependency, UsageError
from affectrt.runtime.assets import find_asset, installed

from ..prepared_record import FacesFrom
from .raw import RawCorpus

__all__ = ["FacesWish", "chosen_faces"]

FacesWish = Literal["auto", "given", "found", "whole"]


def chosen_faces(
    raw: RawCorpus, contract: Contract, wish: FacesWish, detector: Path | None
) -> tuple[FacesFrom, Contract, Path | None, str | None]:
    """Where from, the contract with what the face is in these crops, and the detector with its SHA-256.

    "auto": given crops where the corpus has some, else what a detector finds. A found face is what the contract says;
    a contract that takes whole frames gets faces that are turned upright by their five points, without margin.
    Raises `MissingDependency` where a detector is wanted and none is there.
    """
    if contract.video is None or wish == "whole":
        return "whole", contract, None, None
    given = any(video.crops is not None for video in raw.videos)
    if wish == "given" and not given:
        raise UsageError(
            f"--faces given: {raw.root} has no crops", expected="cropped_aligned/<trial>/00001.jpg", fix="--faces found"
        )
    if given and wish in {"auto", "given"}:
        return "given", contract, None, None
    view = contract.video.face
    if detector is None:
        if wish == "auto" and not installed("yunet"):
            raise MissingDependency(
                f"{raw.root} has no crops of faces, and there is no detector to find them",
                expected="a face detector, or --faces whole for pictures that are faces already",
                fix="affectrt assets pull yunet",
            )
        detector = find_asset("yunet", view.edition, strictly=view.edition is not None)
    digest = hashlib.sha256(detector.read_bytes()).hexdigest()
    if view.finder == "whole_frame":
        view = FaceView(finder="yunet", edition=digest, alignment="five_point")
    else:
        view = view.model_copy(update={"edition": digest})
    video = contract.video.model_copy(update={"face": view})
    return "found", contract.model_copy(update={"video": video}), detector, digest
